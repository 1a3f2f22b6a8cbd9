"""Counts by plane, and that they follow what is painted."""

import gc
import time
import weakref

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam2_adapters.widgets.annotation.counting import LabelCounter, count_plane, count_planes


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint32, bool])
def test_a_plane_is_counted_without_negative_values(dtype) -> None:
    plane = np.zeros((4, 5), dtype)
    plane[1:3] = 1
    expected = {0: 10, 1: 10}
    if np.dtype(dtype).kind == "i":
        plane[3] = -1
        expected = {0: 5, 1: 10}
    assert count_plane(plane) == expected


def test_large_values_and_large_planes_are_counted() -> None:
    plane = np.zeros((3000, 1000), np.uint32)
    plane[2000:, :10] = 2**31
    assert count_plane(plane) == {0: 2_990_000, 2**31: 10_000}


def test_planes_come_by_index() -> None:
    labels = np.zeros((2, 3, 4, 5), np.uint8)
    labels[1, 2] = 7
    found = dict(pair for part in count_planes(labels, [(0, 0), (1, 2)]) for pair in part)
    assert found == {(0, 0): {0: 20}, (1, 2): {7: 20}}


@pytest.fixture
def painted(qtbot):
    viewer = ViewerModel()
    layer = viewer.add_labels(np.zeros((3, 20, 30), np.uint8))
    counter = LabelCounter(viewer)
    with qtbot.waitSignal(counter.counted, timeout=60_000, check_params_cb=None):
        counter.follow(layer)
    qtbot.waitUntil(lambda: counter.complete, timeout=60_000)
    yield viewer, layer, counter
    counter.stop()


def test_paint_undo_and_new_data_are_counted(painted, qtbot) -> None:
    viewer, layer, counter = painted
    layer.brush_size, layer.selected_label = 4, 2
    with qtbot.waitSignal(counter.edited, timeout=60_000):
        layer.paint((1, 10, 10), 2)
    qtbot.waitUntil(lambda: counter.totals.get(2, 0) > 5, timeout=60_000)
    viewer.dims.set_point(0, 1)
    assert counter.on_show[2] == counter.totals[2]
    viewer.dims.set_point(0, 0)
    assert 2 not in counter.on_show
    layer.undo()
    qtbot.waitUntil(lambda: counter.totals == {0: 1800}, timeout=60_000)
    layer.data = np.ones((2, 5, 5), np.uint8)
    qtbot.waitUntil(lambda: counter.totals == {1: 50}, timeout=60_000)


def test_only_the_planes_that_were_painted_are_counted_again(painted, qtbot, monkeypatch) -> None:
    from napari_sam2_adapters.widgets.annotation import counting

    _, layer, counter = painted
    seen = []
    real = counting.count_planes

    def watched(labels, indices):
        seen.append(list(indices))
        yield from real(labels, seen[-1])

    monkeypatch.setattr(counting, "count_planes", watched)
    layer.data_setitem((np.array([2, 2]), np.array([3, 4]), np.array([5, 5])), 3)
    qtbot.waitUntil(lambda: counter.totals.get(3) == 2, timeout=60_000)
    assert seen == [[(2,)]]


class Slow:
    """Labels that take minutes to count; ``reached`` says how many planes were read."""

    shape, ndim, dtype = (10_000, 4, 4), 3, np.dtype(np.uint8)

    def __init__(self) -> None:
        self.reached = 0

    def __getitem__(self, index):
        self.reached += 1
        time.sleep(0.02)
        return np.zeros(self.shape, self.dtype)[index]


def test_counting_that_is_no_longer_wanted_ends_and_lets_go(qtbot, monkeypatch) -> None:
    from napari_sam2_adapters.widgets.annotation import counting

    workers, make = [], counting.create_worker

    def made(*arguments, **options):
        workers.append(make(*arguments, **options))
        return workers[-1]

    monkeypatch.setattr(counting, "create_worker", made)
    read = [Slow()]  # what the worker alone is given
    monkeypatch.setattr(counting, "plain_labels", lambda layer: read.pop() if read else layer.data)
    held, viewer = weakref.ref(read[0]), ViewerModel()
    layer = viewer.add_labels(np.zeros(Slow.shape, np.uint8))
    counter = LabelCounter(viewer)
    monkeypatch.setattr(counting, "plane_on_show", lambda viewer, layer: (0,))
    counter.follow(layer)
    qtbot.waitUntil(lambda: held().reached > 1, timeout=60_000)
    with qtbot.waitSignal(workers[0].finished, timeout=60_000):
        counter.stop()

    def gone() -> bool:
        gc.collect()
        return held() is None

    qtbot.waitUntil(gone, timeout=60_000)
