from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from napari_sam2_adapters.inference.measure import join_tables, measure, write_csv
from napari_sam2_adapters.inference.measured_table import measured_table
from napari_sam2_adapters.inference.ruler import Ruler


@pytest.mark.parametrize(
    ("shape", "axes", "image_shape", "image_axes", "together"),
    [
        ((9, 8), "YX", (9, 8), "YX", "slices"),
        ((9, 8), "YX", (2, 9, 8), "CYX", "slices"),
        ((1, 9, 8), "ZYX", (1, 9, 8), "ZYX", "slices"),
        ((4, 9, 8), "ZYX", (4, 9, 8), "ZYX", "volumes"),
        ((2, 4, 9, 8), "TZYX", (2, 4, 9, 8, 3), "TZYXC", "volumes"),
        ((2, 9, 8), "TYX", None, None, "slices"),
    ],
)
def test_where_nothing_is_labelled_the_columns_are_those_of_other_images(
    tmp_path: Path, shape, axes, image_shape, image_axes, together
) -> None:
    ruler = Ruler(np.diag([*([0.5] * len(axes)), 1.0]), "um")
    rest = {
        "together": together,
        "image": None if image_shape is None else np.ones(image_shape, np.uint16),
        "image_axes": image_axes,
        "names": {1: "nucleus"},
    }
    nothing = np.zeros(shape, np.uint8)
    something = nothing.copy()
    something[..., 2:6, 2:6] = 1
    full = measured_table(something, axes, ruler, **rest)
    parts = [part.table for part in measure(something, axes, ruler, **rest)]
    assert all((full[name] == column).all() for name, column in join_tables(parts).items())
    empty = measured_table(nothing, axes, ruler, **rest)
    assert list(empty) == list(full)
    assert {len(column) for column in empty.values()} == {0}
    write_csv(tmp_path / "none.csv", empty)
    with (tmp_path / "none.csv").open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file)
        assert list(table) == []
        assert table.fieldnames == list(full)


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="have shape"):
        measured_table(np.zeros((5, 6), int), "YX", Ruler(np.eye(3)), image=np.zeros((4, 4)))
