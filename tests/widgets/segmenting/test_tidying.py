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
    only_new: bool = False,
) -> Tidied:
    request = TidyRequest(arrays, axes, default_classes([1, 2]), rules, only_new)
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


def stopped() -> threading.Event:
    """Stops after the first block."""
    stop = threading.Event()
    stop.set()
    return stop


def specks() -> ResultArrays:
    """Three slices of class 2 with a speck of class 1 each, all segmented."""
    labels = np.full((3, 8, 8), 2, np.uint8)
    labels[:, 4, 4] = 1
    return ResultArrays(labels, labels, frozenset({(0,), (1,), (2,)}))


def test_the_next_run_tidies_the_slices_that_a_stopped_tidying_did_not_reach() -> None:
    first = tidied(specks(), "ZYX", stop=stopped())
    assert first.arrays.untidied == {(1,), (2,)}
    second = tidied(first.arrays, "ZYX", only_new=True)
    assert second.total == 2
    assert (second.arrays.shown == 2).all()
    assert second.arrays.untidied == frozenset()


def test_a_volume_that_was_not_reached_is_tidied_with_all_its_slices() -> None:
    labels = np.full((2, 2, 8, 8), 2, np.uint8)
    labels[:, :, 4, 4] = 1
    planes = frozenset((t, z) for t in range(2) for z in range(2))
    deep = PostprocessConfig(rules=(ClassRule(value=1, smallest_px=4),), together="volumes")
    first = tidied(ResultArrays(labels, labels, planes), "TZYX", deep, stop=stopped())
    assert first.arrays.untidied == {(1, 0), (1, 1)}
    second = tidied(first.arrays, "TZYX", deep, only_new=True)
    assert (second.done, second.total) == (1, 1)
    assert (second.arrays.shown == 2).all()


def test_objects_that_a_stopped_numbering_did_not_reach_keep_numbers_of_their_own() -> None:
    earlier = PostprocessConfig(rules=(ClassRule(value=1, objects=True),))
    both = PostprocessConfig(
        rules=(ClassRule(value=1, objects=True), ClassRule(value=2, objects=True))
    )
    first = tidied(specks(), "ZYX", earlier)
    assert first.arrays.object_classes == {1: 1, 2: 1, 3: 1}
    second = tidied(first.arrays, "ZYX", both, stop=stopped()).arrays
    assert second.object_classes == {1: 1, 2: 2, 4: 1, 5: 1}
    assert [second.objects[z, 4, 4] for z in range(3)] == [1, 4, 5]
    assert second.objects[1, 0, 0] == 0
    third = tidied(second, "ZYX", both, only_new=True).arrays
    assert sorted(np.unique(third.objects)) == sorted(third.object_classes)
    assert sorted(third.object_classes.values()) == [1, 1, 1, 2, 2, 2]
