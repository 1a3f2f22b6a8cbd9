"""What the tidying leaves when it is stopped."""

from __future__ import annotations

import threading

import numpy as np

from napari_sam2_adapters.config import default_classes
from napari_sam2_adapters.inference.rules import ClassRule, PostprocessConfig
from napari_sam2_adapters.widgets.docks.arrays import ResultArrays
from napari_sam2_adapters.widgets.segmenting.tidying import Tidied, TidyRequest, tidy

RULES = PostprocessConfig(rules=(ClassRule(value=1, smallest_px=4),))


def stopped_at_once(arrays: ResultArrays, axes: str) -> Tidied:
    stop = threading.Event()
    stop.set()
    work = tidy(stop, TidyRequest(arrays, axes, default_classes([1, 2]), RULES))
    try:
        while True:
            next(work)
    except StopIteration as end:
        return end.value


def test_slices_that_were_not_reached_stay_as_the_network_gave_them() -> None:
    labels = np.full((3, 8, 8), 2, np.uint8)
    labels[:, 4, 4] = 1  # a speck, which goes
    arrays = ResultArrays(labels, labels, frozenset({(0,), (2,)}))
    result = stopped_at_once(arrays, "ZYX")
    assert (result.done, result.total) == (1, 2)
    assert (result.arrays.shown[0] == 2).all()
    np.testing.assert_array_equal(result.arrays.shown[2], labels[2])
    assert labels[0, 4, 4] == 1  # to be tidied otherwise later
