"""What napari's Save makes of a Labels layer, read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels
from napari.utils.notifications import notification_manager

from napari_sam2_adapters.data.io import read_labels
from napari_sam2_adapters.widgets.labels_writer import write_labels_layer

PLUGIN = "napari-sam2-adapters"


def labels(shape: tuple[int, ...] = (3, 16, 20), **keywords: Any) -> Labels:
    data = np.random.default_rng(0).integers(0, 4, shape)
    return Labels(data, **keywords)


@pytest.mark.parametrize("ending", [".ome.tif", ".tif"])
def test_values_pixel_size_and_unit_come_back(tmp_path: Path, ending: str) -> None:
    layer = labels(scale=(2, 0.5, 0.25), units=["um"] * 3)
    (path,) = layer.save(str(tmp_path / f"a{ending}"), plugin=PLUGIN)
    found = read_labels(path)
    np.testing.assert_array_equal(found.array, layer.data)
    assert found.axes == "ZYX"
    assert found.unit == "micrometer"
    assert found.pixel_size == pytest.approx((2, 0.5, 0.25))


def test_different_units_become_one(tmp_path: Path) -> None:
    layer = labels(scale=(0.05, 4, 4), units=["um", "nm", "nm"])
    (path,) = layer.save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    found = read_labels(path)
    assert (found.pixel_size, found.unit) == (pytest.approx((50, 4, 4)), "nanometer")


def test_pixels_without_a_size_get_none(tmp_path: Path) -> None:
    (path,) = labels((8, 9)).save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    found = read_labels(path)
    assert (found.axes, found.pixel_size, found.unit) == ("YX", None, None)


def test_time_is_known_by_its_name(tmp_path: Path) -> None:
    layer = labels(axis_labels=("time", "y", "x"), scale=(60, 0.5, 0.5), units=["s", "um", "um"])
    (path,) = layer.save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    found = read_labels(path)
    assert found.axes == "TYX"
    assert found.pixel_size == pytest.approx((0.5, 0.5))


def test_of_a_pyramid_the_finest_level_is_written(tmp_path: Path) -> None:
    full = np.random.default_rng(0).integers(0, 4, (64, 64))
    layer = Labels([full, full[::2, ::2]], multiscale=True)
    (path,) = layer.save(str(tmp_path / "a.tif"), plugin=PLUGIN)
    np.testing.assert_array_equal(read_labels(path).array, full)


def test_what_the_file_cannot_hold_is_said(tmp_path: Path) -> None:
    labels(rotate=30).save(str(tmp_path / "a.tif"), plugin=PLUGIN)
    assert "cannot hold the rotation" in notification_manager.records[-1].message
    seen = len(notification_manager.records)
    labels(translate=(1, 2, 3), scale=(2, 1, 1)).save(str(tmp_path / "b.tif"), plugin=PLUGIN)
    assert len(notification_manager.records) == seen


def test_five_axes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 5 axes"):
        write_labels_layer(str(tmp_path / "a.tif"), np.zeros((1, 1, 1, 2, 2), int), {})
