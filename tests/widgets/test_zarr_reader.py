"""OME-Zarr opened in napari: images with their labels, exactly on each other at every level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from napari.layers import Image, Labels, Layer
from npe2 import PluginManager

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import read_image, write_array, write_labels
from napari_sam2_adapters.widgets.docks.layers import placement
from napari_sam2_adapters.widgets.zarr_reader import get_zarr_reader, read_ome_zarr

CLASSES = (ClassInfo(value=1, name="membrane", color="#ff0000"),)
TURNED = ((1, 0, 0), (0, 0.8, -0.6), (0, 0.6, 0.8))


def write_pair(folder: Path, axes: str, geometry: Geometry) -> tuple[Path, Any]:
    """An image of two channels with a pyramid, and labels in it that are 1 where it is bright."""
    shape = {"YX": (1100, 601), "ZYX": (5, 1100, 601), "TZYX": (2, 3, 600, 601)}[axes]
    values = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    image = np.stack([values, 255 - values], axis=len(shape) - 2)
    path = write_array(folder / "a.ome.zarr", image, axes=f"{axes[:-2]}CYX", geometry=geometry)
    labels = (values > 127).astype(np.uint8)
    write_labels(path / "labels" / "bright", labels, axes=axes, classes=CLASSES)
    return path, labels


def corners(layer: Layer, level: int) -> np.ndarray[Any, Any]:
    """World coordinates of the outer corners of a level's first, middle and last pixels; centres are whole numbers."""
    if not layer.multiscale:
        factors, shape = np.ones(layer.ndim), layer.data.shape
    else:
        factors, shape = layer.downsample_factors[level], layer.data[level].shape
    factors, shape = factors[: layer.ndim], shape[: layer.ndim]  # without colours
    # a pixel of a level covers `factors` pixels of the finest, which begin at the same edge
    edges = [
        (place + edge) * factors - 0.5
        for place in (np.zeros(layer.ndim), np.array(shape) // 2, np.array(shape) - 1)
        for edge in (0, 1)
    ]
    return np.array([layer.data_to_world(edge) for edge in edges])


@pytest.mark.parametrize(
    ("axes", "geometry"),
    [
        ("YX", Geometry((0.5, 0.25), "micrometer", (3, -4))),
        ("ZYX", Geometry((2, 0.5, 0.25), "micrometer", (1, 2, 3), TURNED)),
        ("TZYX", Geometry((2, 0.5, 0.25), "nanometer", None, None, 30, "second")),
    ],
)
def test_labels_lie_on_their_image_at_every_level(
    tmp_path: Path, axes: str, geometry: Geometry
) -> None:
    path, values = write_pair(tmp_path, axes, geometry)
    first, second, labels = layers_of(path)
    assert (type(first), type(labels)) == (Image, Labels)
    assert first.multiscale
    assert labels.multiscale
    n_levels = len(read_image(path).levels) + 1
    assert len(first.data) == len(labels.data) == n_levels >= 2
    for level in range(n_levels):
        assert labels.data[level].shape == first.data[level].shape == second.data[level].shape
        np.testing.assert_allclose(corners(labels, level), corners(first, level), atol=1e-9)
        # what is bright in the image is 1 in the labels, on the same pixels
        bright = np.asarray(first.data[level][:]) > 127
        np.testing.assert_array_equal(np.asarray(labels.data[level][:]), bright)
        place = placement(first, level=level)
        layer = Labels(np.asarray(labels.data[level][:]), **place)
        np.testing.assert_allclose(corners(layer, 0), corners(first, level), atol=1e-9)
    assert labels.units == first.units
    assert labels.axis_labels == first.axis_labels
    spatial = len(geometry.pixel_size)
    centre = first.data_to_world(np.zeros(first.ndim))[-spatial:]
    np.testing.assert_allclose(centre, geometry.origin or (0,) * spatial)
    np.testing.assert_allclose(
        np.asarray(first.data_to_world([*[0] * (first.ndim - 1), 8]))[-spatial:] - centre,
        geometry.affine()[:-1, spatial - 1] * 8,
        atol=1e-9,
    )
    np.testing.assert_array_equal(np.asarray(labels.data[0][:]), values)


def layers_of(path: Path) -> list[Layer]:
    """Layers as a viewer makes them."""
    from napari.components import ViewerModel

    viewer = ViewerModel()
    for data, keywords, kind in read_ome_zarr(str(path)):
        getattr(viewer, f"add_{kind}")(data, **keywords)
    return list(viewer.layers)


def test_dropping_an_image_opens_it_with_its_labels(make_napari_viewer_proxy, tmp_path) -> None:
    viewer = make_napari_viewer_proxy()
    geometry = Geometry((0.5, 0.25), "micrometer", (3, -4))
    path, values = write_pair(tmp_path, "YX", geometry)
    viewer.open(str(path), plugin="napari-sam2-adapters")
    assert [layer.name for layer in viewer.layers] == [
        "a.ome.zarr – channel 1",
        "a.ome.zarr – channel 2",
        "a.ome.zarr – bright",
    ]
    labels = viewer.layers[-1]
    np.testing.assert_allclose(labels.scale, (0.5, 0.25))
    np.testing.assert_allclose(labels.translate, (3, -4))
    np.testing.assert_allclose(labels.colormap.color_dict[1], (1, 0, 0, 1))
    assert labels.get_value((3, -4), world=True)[1] == values[0, 0]
    assert labels.get_value((3 + 0.74, -4 + 0.24), world=True)[1] == values[1, 1]


def test_colours_are_one_layer(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (3, 1100, 600), dtype=np.uint8)
    place = Geometry((0.5, 0.25), "micrometer", (3, -4))
    path = write_array(tmp_path / "a.ome.zarr", colour, axes="CYX", geometry=place)
    group = zarr.open_group(str(path), mode="r+")
    shown = [{"color": color} for color in ("FF0000", "00FF00", "0000FF")]
    group.attrs["omero"] = {"channels": shown}
    write_labels(path / "labels" / "bright", (colour[0] > 99).astype(int), axes="YX")
    image, labels = layers_of(path)
    assert isinstance(image, Image)
    assert image.rgb
    np.testing.assert_array_equal(np.asarray(image.data[0]), np.moveaxis(colour, 0, -1))
    for level in range(2):
        np.testing.assert_allclose(corners(labels, level), corners(image, level), atol=1e-9)


def test_labels_alone_and_zarrs_of_others(tmp_path: Path) -> None:
    PluginManager.instance().discover()
    alone = write_labels(tmp_path / "m.ome.zarr", np.eye(20, dtype=int), axes="YX", classes=CLASSES)
    assert get_zarr_reader(str(alone)) is read_ome_zarr
    ((data, keywords, kind),) = read_ome_zarr([str(alone)])
    assert kind == "labels"
    assert keywords["features"]["class"] == ["membrane"]
    np.testing.assert_array_equal(np.asarray(data[:]), np.eye(20))
    plain = zarr.create_array(str(tmp_path / "p.zarr"), shape=(4, 4), dtype="uint8")
    (tmp_path / "empty.zarr").mkdir()
    for name in (str(plain.store.root), str(tmp_path / "empty.zarr"), str(tmp_path / "no.zarr")):
        assert get_zarr_reader(name) is None
