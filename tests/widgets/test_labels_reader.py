"""Labels saved here and dropped onto napari again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels
from napari.plugins import _npe2
from npe2 import PluginManager

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import read_image, write_array, write_labels
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.widgets.docks.layers import world_matrix
from napari_sam2_adapters.widgets.docks.results import class_colormap, class_features
from napari_sam2_adapters.widgets.labels_reader import get_labels_reader, read_label_files
from napari_sam2_adapters.widgets.loading.file_layers import image_layer

PLUGIN = "napari-sam2-adapters"
CLASSES = (
    ClassInfo(value=1, name="nucleus", color="#ff0000"),
    ClassInfo(value=2, name="border", color="#00ff7f"),
)
TURN = {"rotate": 30, "scale": (2, 0.5, 0.25), "translate": (1, 2, 3)}


@pytest.mark.parametrize(
    ("name", "unit", "place"),
    [
        ("a.npz", "um", {"scale": (2, 0.5, 0.25), "translate": (-3, 4, 50)}),
        ("a.npz", "nm", TURN),
        ("a.nii.gz", "mm", TURN),
    ],
)
def test_saved_and_dropped_again_it_lies_where_it_was(
    make_napari_viewer_proxy: Any, tmp_path: Path, name: str, unit: str, place: dict[str, Any]
) -> None:
    viewer = make_napari_viewer_proxy()
    values = load_sample("fluorescence").train_labels
    layer = Labels(
        values,
        units=[unit] * 3,
        axis_labels=("z", "y", "x"),
        colormap=class_colormap(CLASSES),
        features=class_features(CLASSES),
        **place,
    )
    (path,) = layer.save(str(tmp_path / name), plugin=PLUGIN)
    (found,) = viewer.open(path, plugin=PLUGIN)
    assert type(found) is Labels
    np.testing.assert_array_equal(np.asarray(found.data), values)
    np.testing.assert_allclose(world_matrix(found), world_matrix(layer), atol=1e-4)
    assert found.units == layer.units
    if name == "a.npz":  # NIfTI keeps no names
        known = [c for c in found.features["class"] if c in ("nucleus", "border")]
        assert known == ["nucleus", "border"]
        assert found.colormap.color_dict[2] == pytest.approx(layer.colormap.color_dict[2])


def test_what_is_not_ours_is_left_to_others(tmp_path: Path) -> None:
    np.savez(tmp_path / "theirs.npz", a=np.zeros((4, 4), np.uint8))
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 and no more")
    write_array(tmp_path / "probabilities.npz", np.zeros((4, 4), np.float32), axes="YX")
    write_array(tmp_path / "scan.nii.gz", np.zeros((3, 4, 4), np.int16), axes="ZYX")
    (tmp_path / "bad.nii.gz").write_bytes(b"\x1f\x8b and no more")
    ours = write_labels(tmp_path / "mask.nii.gz", np.eye(4, dtype=int), axes="YX")
    for path in tmp_path.iterdir():
        assert (get_labels_reader(str(path)) is not None) == (path == ours), path.name
    assert get_labels_reader([str(ours), str(tmp_path / "scan.nii.gz")]) is None
    assert get_labels_reader(str(tmp_path / "missing.npz")) is None


@pytest.mark.parametrize("ending", ["npz", "nii", "nii.gz"])
def test_what_is_damaged_is_left_to_others(tmp_path: Path, ending: str) -> None:
    path = write_labels(tmp_path / f"mask.{ending}", np.eye(9, dtype=np.uint8), axes="YX")
    content = path.read_bytes()
    for place in range(min(len(content), 348)):  # a NIfTI header has so many
        damaged = bytearray(content)
        damaged[place] ^= 255
        path.write_bytes(damaged)
        assert get_labels_reader(str(path)) in (None, read_label_files)


def test_nobody_is_asked_who_reads_tiff_and_pictures() -> None:
    """Two readers for one ending, and napari asks with a dialogue at each drop."""
    PluginManager.instance().discover()
    for name in ("a.tif", "a.tiff", "a.ome.tif", "a.png", "a.jpg", "a.npy", "a.nrrd", "a.nii"):
        assert PLUGIN not in _npe2.get_readers(name), name
    assert PLUGIN in _npe2.get_readers("a.npz")


@pytest.mark.parametrize("name", ["m.ome.tif", "m.tif"])
def test_by_napari_s_own_reader_a_mask_lies_on_its_image(
    make_napari_viewer_proxy: Any, tmp_path: Path, name: str
) -> None:
    """It reads neither places nor sizes, of both alike; the Load dock reads both."""
    viewer = make_napari_viewer_proxy()
    sample = load_sample("fluorescence")
    place = Geometry((2.0, 0.5, 0.25), "micrometer", (3.0, 4.0, 5.0))
    source = write_array(tmp_path / f"i{name[1:]}", sample.train_images, axes="ZYX", geometry=place)
    mask = write_labels(
        tmp_path / name, sample.train_labels, axes="ZYX", geometry=place, classes=CLASSES
    )
    image, labels = (*viewer.open(str(source)), *viewer.open(str(mask)))
    assert isinstance(image, Image)
    np.testing.assert_array_equal(np.asarray(labels.data), sample.train_labels)
    np.testing.assert_array_equal(labels.extent.world, image.extent.world)
    loaded = image_layer(read_image(source)).add_to(viewer)[0]
    np.testing.assert_allclose(loaded.scale, place.pixel_size)
    np.testing.assert_allclose(loaded.translate, place.origin)
    assert [str(unit) for unit in loaded.units] == ["micrometer"] * 3
