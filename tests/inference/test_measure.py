from __future__ import annotations

import csv
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_sam2_adapters.inference.measure import (
    join_tables,
    measure,
    total_by_label,
    write_csv,
)
from napari_sam2_adapters.inference.ruler import Ruler


def ruler(*scale: float, unit: str | None = "micrometer", shift: float = 0.0) -> Ruler:
    matrix = np.diag([*scale, 1.0])
    matrix[:-1, -1] = shift
    return Ruler(matrix, unit)


def only(labels, axes, rule, **settings):
    (record,) = measure(labels, axes, rule, **settings)
    return record.table


@pytest.fixture
def plane() -> np.ndarray:
    labels = np.zeros((10, 12), np.uint32)
    labels[2:5, 3:7] = 1_000_001
    labels[8, 8] = 1_000_003
    return labels


def test_areas_and_places_are_in_units_of_the_world(plane) -> None:
    names = {1_000_001: "nucleus"}
    table = only(plane, "YX", ruler(0.5, 0.5, shift=100), names=names)
    assert table["index"].tolist() == [1_000_001, 1_000_003]
    assert table["class"].tolist() == ["nucleus", ""]
    assert table["pixels"].tolist() == [12, 1]
    np.testing.assert_allclose(table["area_um2"], [3, 0.25])
    np.testing.assert_allclose(table["centroid_y_um"], [101.5, 104])
    np.testing.assert_allclose(table["centroid_x_um"], [102.25, 104])
    np.testing.assert_allclose(table["perimeter_um"][0], 5)
    np.testing.assert_allclose(table["equivalent_diameter_um"][0], np.sqrt(12 / np.pi))
    assert table["major_axis_um"][0] > table["minor_axis_um"][0] > 0


def test_without_a_unit_sizes_are_in_pixels_and_oblong_pixels_have_no_perimeter(plane) -> None:
    table = only(plane, "YX", ruler(1, 2, unit=None))
    np.testing.assert_allclose(table["area_px2"], [24, 2])
    assert not any("perimeter" in name for name in table)
    assert "area_deg2" not in table
    assert "area_degree2" in only(plane, "YX", ruler(1, 1, unit="degree"))


def test_a_turned_and_sheared_image_keeps_true_areas(plane) -> None:
    turn, shear = np.eye(3), np.eye(3)
    turn[:2, :2] = [[0.6, -0.8], [0.8, 0.6]]
    shear[0, 1] = 0.7
    matrix = turn @ shear @ np.diag([0.5, 2, 1])
    table = only(plane, "YX", Ruler(matrix, "um"))
    np.testing.assert_allclose(table["area_um2"], [12, 1])
    expected = (matrix @ [3, 4.5, 1])[:2]
    np.testing.assert_allclose([table["centroid_y_um"][0], table["centroid_x_um"][0]], expected)


def test_grey_values_of_each_channel(plane) -> None:
    image = np.zeros((2, 10, 12), np.float32)
    image[0, 2:5, 3:7] = 4
    image[1, 2:5, 3:7] = np.arange(12).reshape(3, 4)
    table = only(plane, "YX", ruler(1, 1), image=image, image_axes="CYX")
    assert table["intensity_mean_channel_0"].tolist() == [4, 0]
    assert table["intensity_mean_channel_1"][0] == 5.5
    assert (table["intensity_min_channel_1"][0], table["intensity_max_channel_1"][0]) == (0, 11)
    grey = only(plane, "YX", ruler(1, 1), image=image[1].astype(np.uint8))
    assert grey["intensity_mean"].tolist() == [5.5, 0]


def test_volumes_and_slices(plane) -> None:
    stack = np.stack([plane, np.zeros_like(plane), plane])
    records = list(measure(stack, "ZYX", ruler(2, 0.5, 0.5)))
    assert [record.done for record in records] == [1, 2, 3]
    assert list(records[1].table) == list(records[0].table)
    assert {len(column) for column in records[1].table.values()} == {0}
    joined = join_tables([record.table for record in records])
    assert joined["z"].tolist() == [0, 0, 2, 2]
    np.testing.assert_allclose(joined["centroid_z_um"], [0, 0, 4, 4])
    whole = only(stack, "ZYX", ruler(2, 0.5, 0.5), together="volumes")
    np.testing.assert_allclose(whole["volume_um3"], [12, 1])
    np.testing.assert_allclose(whole["centroid_z_um"], [2, 2])
    assert "z" not in whole


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
@pytest.mark.parametrize("first", [1, 100])
def test_a_volume_is_measured_in_little_memory(dtype, first) -> None:
    labels = np.full((40, 100, 100), first, dtype)
    labels[:, 50:] = first + 1
    labels[0] = 0
    only(labels, "ZYX", ruler(2, 0.5, 0.5), together="volumes")  # what is loaded does not count
    tracemalloc.start()
    try:
        table = only(labels, "ZYX", ruler(2, 0.5, 0.5), together="volumes")
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held < 4 * labels.size  # bytes for each voxel; it were 38
    np.testing.assert_array_equal(table["index"], [first, first + 1])
    np.testing.assert_allclose(table["centroid_z_um"], [40, 40])
    np.testing.assert_allclose(table["centroid_y_um"], [12.25, 37.25])
    np.testing.assert_allclose(table["centroid_x_um"], [24.75, 24.75])


def test_labels_of_any_type_are_measured_by_what_is_above_zero() -> None:
    values = np.zeros((6, 7), np.int64)
    values[1:3, 1:4], values[4, 5], values[5] = 1, 100, -7
    wanted = only(values, "YX", ruler(1, 1))
    assert wanted["index"].tolist() == [1, 100]
    for dtype in (np.int8, np.int16, np.float32, ">i4"):
        found = only(values.astype(dtype), "YX", ruler(1, 1))
        assert all((found[name] == column).all() for name, column in wanted.items())
    large = np.where(values > 0, 2**62 + np.maximum(values, 0).astype(np.uint64), np.uint64(0))
    assert only(large, "YX", ruler(1, 1))["pixels"].tolist() == [6, 1]
    assert only(values > 0, "YX", ruler(1, 1))["pixels"].tolist() == [7]


def test_time_points_are_measured_apart(plane) -> None:
    series = np.stack([plane, plane])[:, None]
    records = list(measure(series, "TZYX", ruler(60, 1, 1, 1), together="volumes"))
    table = join_tables([record.table for record in records])
    assert table["t"].tolist() == [0, 0, 1, 1]
    assert table["centroid_t"].tolist() == [0, 0, 60, 60]


@pytest.mark.parametrize(
    ("unit", "name"),
    [("second", "sec"), ("ms", "msec"), ("µs", "usec"), ("h", "hour"), (None, ""), ("um", "")],
)
def test_places_in_time_end_in_a_unit_of_time(plane, unit, name) -> None:
    rule = replace(ruler(60, 1, 1), time_unit=unit)
    (block,) = measure(plane[None], "TYX", rule)
    assert f"centroid_t_{name}".rstrip("_") in block.table


def test_totals_of_a_stack_are_those_of_its_volume() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (5, 20, 20)).astype(np.uint8)
    image = rng.random((5, 20, 20))
    rule = ruler(2, 0.5, 0.25)
    names = {1: "a", 2: "b", 3: "c"}
    slices = [r.table for r in measure(labels, "ZYX", rule, image=image, names=names)]
    total = total_by_label(slices, ["area_um2"])
    whole = only(labels, "ZYX", rule, image=image, names=names, together="volumes")
    for name in ("index", "class", "pixels", "intensity_mean", "intensity_min", "intensity_max"):
        if name == "class":
            assert total[name].tolist() == whole[name].tolist()
        else:
            np.testing.assert_allclose(total[name], whole[name])
    np.testing.assert_allclose(total["centroid_z_um"], whole["centroid_z_um"])
    np.testing.assert_allclose(total["area_um2"] * 2, whole["volume_um3"])
    assert "eccentricity" not in total
    assert total_by_label([{}], []) == {}


def test_an_image_of_another_size_is_refused_in_a_sentence(plane) -> None:
    with pytest.raises(
        ValueError, match=r"labels have shape \(10, 12\), but the image has \(5, 6\)"
    ):
        next(measure(plane, "YX", ruler(1, 1), image=np.zeros((5, 6))))


def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path, plane) -> None:
    path = tmp_path / "cells.csv"
    table = only(plane, "YX", ruler(1, 1), names={1_000_001: 'nuc, "leus"\u00b5'})
    write_csv(path, table)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["index"] for row in rows] == ["1000001", "1000003"]
    assert rows[0]["class"] == 'nuc, "leus"\u00b5'
    assert float(rows[0]["area_um2"]) == 12
    with pytest.raises(FileExistsError):
        write_csv(path, {})
    write_csv(path, {"index": np.array([1])}, overwrite=True)
    assert path.read_bytes() == b"index\r\n1\r\n"
    assert list(tmp_path.iterdir()) == [path]
