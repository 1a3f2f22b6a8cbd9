"""Rows that are put together from those of slices."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_sam2_adapters.inference.measure import Table
from napari_sam2_adapters.inference.ruler import Ruler
from napari_sam2_adapters.widgets.segmenting.measuring import MeasureRequest, measure_layer


def totals(labels: np.ndarray, axes: str) -> Table:
    ruler = Ruler(np.diag([3.0, 2.0, 0.5, 0.5, 1][-labels.ndim - 1 :]), "micrometer")
    names = {1: "cell", 2: "nucleus"}
    work = measure_layer(
        threading.Event(), MeasureRequest(labels, axes, ruler, "totals", names=names)
    )
    try:
        while True:
            next(work)
    except StopIteration as end:
        return end.value.table


@pytest.mark.parametrize("axes", ["TZYX", "ZTYX"])
def test_totals_of_a_series_are_those_of_each_time(axes: str) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (2, 4, 6, 7)).astype(np.uint8)
    labels[1][labels[1] == 2] = 0  # gone at the second time
    given = labels if axes == "TZYX" else labels.swapaxes(0, 1)
    table = totals(given, axes)
    assert table["index"].tolist() == [1, 2, 1]
    assert table["class"].tolist() == ["cell", "nucleus", "cell"]
    assert table["t"].tolist() == [0, 0, 1]
    pixels = [(labels[t] == value).sum() for value, t in ((1, 0), (2, 0), (1, 1))]
    assert table["pixels"].tolist() == pixels
    voxel = 0.5 * 0.5 * (2 if axes == "TZYX" else 3)
    np.testing.assert_allclose(table["volume_um3"], np.array(pixels) * voxel)
    assert "area_um2" not in table


def test_totals_of_a_stack_have_a_row_per_label() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (4, 6, 7)).astype(np.uint8)
    table = totals(labels, "ZYX")
    assert table["index"].tolist() == [1, 2]
    assert table["pixels"].tolist() == [(labels == 1).sum(), (labels == 2).sum()]
    assert "t" not in table
    assert totals(np.zeros((4, 6, 7), np.uint8), "ZYX") == {}
