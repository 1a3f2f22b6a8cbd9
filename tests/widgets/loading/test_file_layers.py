"""Labels as they are written for an image, opened beside it: both lie on the same place in the world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
from napari.layers import Image, Labels, Layer

from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.io import read_image, read_labels, write_array, write_labels
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.widgets.docks.layers import placement
from napari_sam2_adapters.widgets.loading.file_layers import (
    image_layer,
    labels_layer,
    spread_over,
)
from napari_sam2_adapters.widgets.loading.loading import LoadRequest, layers_of, load_layers

# shear and oblique slices: napari says that it cuts them across its axes
pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")

VALUES = load_sample("fluorescence").train_images[:3, :40, :50]
OBLIQUE = np.array([[-0.4, 0.1, 0.3, 9], [0.1, 0.5, -0.2, -8], [0.2, 0.05, 2, 7], [0, 0, 0, 1.0]])
"""From (i, j, k) to right, front, head, with shear."""


def _nifti(path: Path) -> Path:
    image = nibabel.Nifti1Image(VALUES.T, OBLIQUE)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path / "i.nii.gz")
    return path / "i.nii.gz"


def _nrrd(path: Path) -> Path:
    image = SimpleITK.GetImageFromArray(VALUES)
    image.SetSpacing((0.25, 0.5, 2))
    image.SetOrigin((5, -6, 7))
    image.SetDirection((0.8, 0, 0.6, 0, 1, 0, -0.6, 0, 0.8))
    SimpleITK.WriteImage(image, str(path / "i.nrrd"))
    return path / "i.nrrd"


def _ome(path: Path) -> Path:
    about = {
        "axes": "ZYX",
        "PhysicalSizeX": 250.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 2.0,
        "PhysicalSizeZUnit": "µm",
    }
    tifffile.imwrite(path / "i.ome.tif", VALUES, metadata=about)
    return path / "i.ome.tif"


def _imagej(path: Path) -> Path:
    tifffile.imwrite(
        path / "i.tif",
        VALUES,
        imagej=True,
        resolution=(4, 2),
        metadata={"axes": "ZYX", "spacing": 2.0, "unit": "um"},
    )
    return path / "i.tif"


def _turned_zarr(path: Path) -> Path:
    turned = ((1, 0, 0), (0, 0.8, -0.6), (0, 0.6, 0.8))
    place = Geometry((2, 0.5, 0.25), "micrometer", (1, 2, 3), turned)
    return write_array(path / "i.ome.zarr", VALUES, axes="ZYX", geometry=place)


def _times(path: Path) -> Path:
    place = Geometry((0.5, 0.25), "micrometer", (3, -4), None, 30, "second")
    return write_array(path / "i.ome.tif", VALUES, axes="TYX", geometry=place)


def _plane(path: Path) -> Path:
    place = Geometry((0.5, 0.25), "nanometer", (3, -4), ((0.8, -0.6), (0.6, 0.8)))
    return write_array(path / "i.npz", VALUES[0], axes="YX", geometry=place)


def corners(layer: Layer) -> np.ndarray[Any, Any]:
    """World coordinates of the outer corners of the first and the last pixel, in micrometres and seconds."""
    last = np.array((layer.data[0] if layer.multiscale else layer.data).shape[: layer.ndim]) - 1.0
    edges = [place + edge for place in (np.zeros(layer.ndim), last) for edge in (-0.5, 0.5)]
    factors = [
        1.0 if str(unit) == "pixel" else (1 * unit).to_base_units().magnitude * 1e6
        for unit in layer.units
    ]
    return np.array([layer.data_to_world(edge) for edge in edges]) * factors


@pytest.mark.parametrize("masks_as", ["tif", "ome.tif", "ome.zarr", "npz", "nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize("make", [_nifti, _nrrd, _ome, _imagej, _turned_zarr, _times, _plane])
def test_labels_of_a_file_lie_on_it(
    tmp_path: Path, make: Callable[[Path], Path], masks_as: str
) -> None:
    source = make(tmp_path)
    image = read_image(source)
    mask = np.asarray(image.array[:]) > 60
    written = write_labels(
        tmp_path / f"m.{masks_as}", mask, axes=image.axes, geometry=image.geometry, source=source
    )
    labels = read_labels(written)
    image_shown, labels_shown = image_layer(image), labels_layer(labels)
    there = Image(image_shown.data, **image_shown.keywords)
    here = Labels(labels_shown.data, **labels_shown.keywords)
    assert image.geometry is not None
    np.testing.assert_array_equal(np.asarray(labels.array[:]).reshape(mask.shape), mask)
    found, wanted = corners(here), corners(there)
    kept = found.shape[1] == wanted.shape[1]
    if masks_as in ("nrrd", "mha", "nii.gz"):
        lengths = slice(-2, None) if not kept else slice(None)  # a plane has become a volume
        if "T" in image.axes and masks_as != "nii.gz":
            lengths = slice(-2, None)  # NRRD and MetaImage say nothing of time
        np.testing.assert_allclose(found[:, lengths], wanted[:, lengths], rtol=1e-5, atol=1e-4)
    else:
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
        assert here.units == there.units
    # what a dock makes on the image lies there, too
    np.testing.assert_allclose(corners(Labels(mask, **placement(there))), wanted, atol=1e-9)


@pytest.mark.parametrize("turned", [False, True])
def test_a_geometry_holds_for_axes_in_any_order(tmp_path: Path, turned: bool) -> None:
    """It is in the order Z, Y, X, whatever that of the file is."""
    direction = ((1, 0, 0), (0, 0.8, -0.6), (0, 0.6, 0.8)) if turned else None
    place = Geometry((5, 2, 0.5), "micrometer", (50, 20, 10), direction)
    shown = [
        image_layer(ImageFile(array, axes, tmp_path, geometry=place))
        for array, axes in ((VALUES, "ZYX"), (np.moveaxis(VALUES, 0, -1), "YXZ"))
    ]
    usual, other = (Image(one.data, **one.keywords) for one in shown)
    np.testing.assert_allclose(np.roll(corners(other), 1, axis=1), corners(usual))


def test_the_world_of_a_turned_nifti_is_nibabel_s(tmp_path: Path) -> None:
    """In the order Z, Y, X, and with X and Y pointing the other way: left and back."""
    shown = image_layer(read_image(_nifti(tmp_path)))
    layer = Image(shown.data, **shown.keywords)
    for k, j, i in ((0, 0, 0), (2, 7, 11), (1, 39, 49)):
        right, front, head, _ = OBLIQUE @ (i, j, k, 1)
        np.testing.assert_allclose(
            layer.data_to_world((k, j, i)), (head, -front, -right), atol=1e-4
        )
    assert [str(unit) for unit in layer.units] == ["millimeter"] * 3


def test_labels_of_a_tiff_pyramid_lie_on_each_of_its_levels(tmp_path: Path) -> None:
    fine = np.random.default_rng(0).integers(0, 255, (401, 602), dtype=np.uint8)
    about = {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
    with tifffile.TiffWriter(tmp_path / "i.ome.tif") as file:
        file.write(fine, subifds=2, tile=(64, 64), metadata=about)
        for step in (2, 4):
            file.write(fine[::step, ::step], subfiletype=1, tile=(64, 64))
    image = read_image(tmp_path / "i.ome.tif")
    path = write_labels(tmp_path / "m.ome.tif", fine > 99, axes="YX", geometry=image.geometry)
    shown, drawn = image_layer(image), labels_layer(read_labels(path))
    there = Image(shown.data, **shown.keywords)
    here = Labels(drawn.data, **drawn.keywords)
    assert len(there.data) == 3
    np.testing.assert_array_equal(corners(here), corners(there))
    for level, coarse in enumerate(there.data):
        whole = there.downsample_factors[level] * coarse.shape
        np.testing.assert_allclose(whole, fine.shape)
        overlay = Labels(np.asarray(coarse) > 99, **placement(there, level=level))
        outer = [overlay.data_to_world(np.array(edge) - 0.5) for edge in ((0, 0), coarse.shape)]
        np.testing.assert_allclose(outer, [[-0.25, -0.125], [200.25, 150.375]], atol=1e-9)


def test_the_name_of_a_single_channel_stands_in_the_name_of_the_layer(tmp_path: Path) -> None:
    path = tmp_path / "i.ome.tif"
    tifffile.imwrite(path, VALUES[0], metadata={"axes": "YX", "Channel": {"Name": "DAPI"}})
    assert image_layer(read_image(path)).keywords["name"] == "i.ome.tif – DAPI"
    tifffile.imwrite(path, VALUES[0], metadata={"axes": "YX"})
    assert image_layer(read_image(path)).keywords["name"] == "i.ome.tif"


@pytest.mark.parametrize("axes", ["ZCYX", "TCZYX", "YXC"])
@pytest.mark.parametrize("turned", [False, True])
def test_labels_lie_on_an_image_whose_channels_are_between_or_behind(
    axes: str, turned: bool
) -> None:
    lengths = {"T": 2, "C": 3, "Z": 4, "Y": 20, "X": 30}
    spatial = len(axes.strip("TC").replace("C", ""))
    direction = tuple(map(tuple, np.eye(spatial)[::-1].tolist())) if turned else None
    place = Geometry((2.0, 0.5, 0.25)[-spatial:], "micrometer", (7, 8, 9)[-spatial:], direction)
    shape = tuple(lengths[axis] for axis in axes)
    image = ImageFile(np.zeros(shape, np.uint8), axes, Path("i.tif"), geometry=place)
    plain = axes.replace("C", "")
    labels = np.arange(np.prod([lengths[axis] for axis in plain]), dtype=np.uint16)
    labels = labels.reshape([lengths[axis] for axis in plain])
    file = ImageFile(labels, plain, Path("m.tif"), geometry=place)
    layers = layers_of(image, "axis", file, Path("m.tif"))
    there = Image(layers[0].data, **layers[0].keywords)
    here = Labels(layers[1].data, **layers[1].keywords)
    assert here.axis_labels == there.axis_labels
    assert here.units == there.units
    np.testing.assert_allclose(corners(here)[[0, -1]], corners(there)[[0, -1]])
    rng = np.random.default_rng(0)
    for at in rng.integers(0, shape, (20, len(axes))):
        own = tuple(n for n, axis in zip(at, axes, strict=True) if axis != "C")
        found = np.round(here.world_to_data(there.data_to_world(at))).astype(int)
        assert np.delete(found, axes.index("C")).tolist() == list(own)
        assert found[axes.index("C")] == 0
        assert here.data[tuple(found)] == labels[own]


def test_a_pyramid_of_labels_lies_beside_channels_too() -> None:
    whole = np.ones((4, 2, 64, 64), np.uint8)
    image = ImageFile(da.from_array(whole), "ZCYX", Path("i"))
    levels = [da.from_array(whole[:, 0, ::step, ::step]) for step in (1, 2)]
    labels = ImageFile(levels[0], "ZYX", Path("m"), levels=(levels[1],))
    shown = spread_over(labels_layer(labels), image)
    layer = Labels(shown.data, **shown.keywords)
    assert [level.shape for level in layer.data] == [(4, 1, 64, 64), (4, 1, 32, 32)]
    assert layer.get_value((0, 0, 9, 9))[1] == 1


@pytest.mark.parametrize("mirrored", [False, True])
def test_labels_that_lie_elsewhere_by_their_header_are_told(tmp_path: Path, mirrored: bool) -> None:
    labels = np.ones((6, 24, 20), np.uint8)
    place = Geometry((3.0, 2.0, 2.0), "millimeter", (5.0, -7.0, 11.0))
    other = replace(place, direction=((1, 0, 0), (0, 1, 0), (0, 0, -1))) if mirrored else place
    image, mask = tmp_path / "a.nii.gz", tmp_path / "mask.nrrd"
    write_array(image, labels * 50.0, axes="ZYX", geometry=place)
    write_labels(mask, labels, axes="ZYX", geometry=other)
    (layers,) = load_layers(LoadRequest((image,), None, lambda file: file, "axis", mask))
    assert ("By its header mask.nrrd is mirrored" in layers[1].notice) is mirrored
