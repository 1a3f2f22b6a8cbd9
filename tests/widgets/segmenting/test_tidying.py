"""What the tidying leaves when it is stopped, and when it is asked for something else."""

from __future__ import annotations

import threading

import numpy as np

from napari_sam2_adapters.config import default_classes
from napari_sam2_adapters.inference.rules import ClassRule, PostprocessConfig
from napari_sam2_adapters.widgets.docks.arrays import ResultArrays
from napari_sam2_adapters.widgets.segmenting.tidying import Tidied, TidyRequest, tidy

RULES = PostprocessConfig(rules=(ClassRule(value=1, smallest_px=4),))


def tidied(
    arrays: ResultArrays,
    axes: str,
    rules: PostprocessConfig = RULES,
    *,
    stop: threading.Event | None = None,
) -> Tidied:
    request = TidyRequest(arrays, axes, default_classes([1, 2]), rules)
    work = tidy(stop or threading.Event(), request)
    try:
        while True:
            next(work)
    except StopIteration as end:
        return end.value


def test_slices_that_were_not_reached_stay_as_the_network_gave_them() -> None:
    labels = np.full((3, 8, 8), 2, np.uint8)
    labels[:, 4, 4] = 1  # a speck, which goes
    arrays = ResultArrays(labels, labels, frozenset({(0,), (2,)}))
    stop = threading.Event()
    stop.set()
    result = tidied(arrays, "ZYX", stop=stop)
    assert (result.done, result.total) == (1, 2)
    assert (result.arrays.shown[0] == 2).all()
    np.testing.assert_array_equal(result.arrays.shown[2], labels[2])
    assert labels[0, 4, 4] == 1  # to be tidied otherwise later


def test_objects_that_are_wanted_no_more_go_while_the_rest_is_tidied() -> None:
    labels = np.full((8, 8), 2, np.uint8)
    labels[4, 4] = 1
    numbered = PostprocessConfig(rules=(ClassRule(value=2, objects=True),))
    first = tidied(ResultArrays(labels, labels, frozenset({()})), "YX", numbered)
    assert first.arrays.object_classes == {1: 2}
    second = tidied(first.arrays, "YX")
    assert (second.arrays.objects, second.arrays.object_classes) == (None, {})
    assert (second.arrays.shown == 2).all()
