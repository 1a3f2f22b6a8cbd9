"""A training lives through all that a person does to the viewer meanwhile, and can be gone on with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import zarr
from napari.layers import Labels
from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_sam2_adapters.config import TrainConfig
from napari_sam2_adapters.models.model_file import read_header
from napari_sam2_adapters.widgets.annotation.snapshots import autosave_folder, list_snapshots
from napari_sam2_adapters.widgets.docks import closing
from napari_sam2_adapters.widgets.docks.results import OURS
from napari_sam2_adapters.widgets.docks.store import list_adapters
from napari_sam2_adapters.widgets.finetune import FineTune

LONG = TrainConfig(steps=100_000, validate_every=2, batch_size=1, crop_size_px=32)
WAIT_MS = 120_000


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def open_dock(viewer, qtbot):
    """Factory of docks with settings for small steps."""
    docks: list[FineTune] = []

    def make(train: TrainConfig = LONG) -> FineTune:
        dock = FineTune(viewer)
        dock.training.plain.settings = dock.training.advanced_train.settings = train
        dock.training.adapter.setCurrentIndex(dock.training.adapter.findData("lora"))
        docks.append(dock)
        return dock

    yield make
    for dock in docks:
        dock.job.stop()
        qtbot.waitUntil(lambda d=dock: not d.job.running, timeout=WAIT_MS)
        dock.close()
        dock.deleteLater()


def grow(dock: FineTune, qtbot, by: int = 1) -> None:
    """Wait until it has learnt some more."""
    step = dock.progress.value()
    qtbot.waitUntil(lambda: dock.progress.value() >= step + by, timeout=WAIT_MS)


def counted(dock: FineTune, layer: Labels, qtbot) -> None:
    """Wait until it knows what is painted in the layer now."""
    values, numbers = np.unique(layer.data, return_counts=True)
    there = dict(zip(values.tolist(), numbers.tolist(), strict=True))
    qtbot.waitUntil(lambda: dock.data.totals == there, timeout=WAIT_MS)


def previews(viewer) -> list:
    return [layer for layer in viewer.layers if OURS in layer.metadata]


def test_nothing_that_happens_to_the_layers_stops_it(open_dock, viewer, qtbot, two_halves) -> None:
    image, strokes = two_halves
    cells = viewer.add_image(image, name="cells")
    painted = viewer.add_labels(strokes, name="strokes")
    dock = open_dock()
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    dock.start_button.click()
    grow(dock, qtbot)
    other = open_dock()
    assert "Another Fine-tune dock is training" in other.reason.text()
    assert not other.start_button.isEnabled()
    assert "stop that first" in dock.start_button.toolTip()
    assert list_snapshots(autosave_folder())  # saved before it began

    qtbot.waitUntil(lambda: len(previews(viewer)) == 1, timeout=WAIT_MS)
    cells.name, painted.name = "renamed", "also renamed"
    viewer.layers.move(0, 3)
    painted.data[2, :9, :9] = 1
    painted.refresh()
    grow(dock, qtbot)
    viewer.layers.remove(previews(viewer)[0])
    cells.data = image[:, :40]
    viewer.layers.remove(painted)
    grow(dock, qtbot, by=3)
    assert previews(viewer) == []  # what the user has deleted stays deleted
    viewer.layers.clear()
    grow(dock, qtbot)
    dock.stop_button.click()
    qtbot.waitUntil(lambda: not dock.job.running, timeout=WAIT_MS)
    assert dock.fine_tuned.verdict.after
    assert "Another" not in other.reason.text()

    qtbot.waitUntil(lambda: dock.resume.run is not None, timeout=WAIT_MS)
    assert not dock.resume.resume_button.isEnabled()
    for said in (dock.resume.resume_button.toolTip(), dock.resume.text.text()):
        assert "open the image it learnt from: cells" in said
    viewer.add_image(image, name="cells")
    assert dock.resume.resume_button.isEnabled()
    assert "open the image" not in dock.resume.text.text()
    step = dock.resume.run.step
    dock.resume.resume_button.click()
    qtbot.waitUntil(lambda: dock.progress.value() > step, timeout=WAIT_MS)
    assert len(dock.course.plot.loss_plot.listDataItems()[0].yData) > step
    assert dock.resume.isHidden()


def test_strokes_are_saved_once_when_other_labels_are_chosen(open_dock, viewer, qtbot) -> None:
    viewer.add_image(np.zeros((20, 30), np.uint8), name="cells")
    first, second = (viewer.add_labels(np.zeros((20, 30), np.uint8), name=name) for name in "AB")
    dock = open_dock()
    labels = dock.data.rows[0].labels
    labels.layer = first
    first.data_setitem((np.arange(15), np.arange(15)), 1)
    labels.layer = second
    with qtbot.waitSignal(dock.autosave.done, timeout=WAIT_MS):
        dock.autosave.save()
    saved = {copy.name: copy.pixels for copy in list_snapshots(autosave_folder())}
    assert saved["A"] == 15
    assert [layer.name for layer in dock.data.to_save()] == ["B"]


def test_it_goes_on_with_the_strokes_added_since(open_dock, viewer, qtbot, two_halves) -> None:
    image, strokes = two_halves
    viewer.add_image(image, name="cells")
    painted = viewer.add_labels(strokes, name="strokes")
    dock = open_dock(LONG.model_copy(update={"steps": 4}))
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    assert dock.go_on_button.isHidden()
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.start_button.click()
    first = dock.fine_tuned
    painted.data[2] = strokes[0]
    painted.refresh()
    counted(dock, painted, qtbot)
    qtbot.waitUntil(dock.go_on_button.isEnabled, timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.go_on_button.click()
    second = dock.fine_tuned
    assert second.split.held_out == first.split.held_out
    assert len(second.split.train) == len(first.split.train) + 1
    assert second.verdict.before == pytest.approx(first.verdict.after, abs=1e-6)
    assert second.training["went_on_from"].startswith("cells-lora")
    assert "just trained" in dock.training.start.box.currentText()

    start = dock.training.start
    known = start.known.classes
    clash = (known[0].model_copy(update={"name": known[1].name}),)
    assert "would both be called" in start.problem(clash, None)
    assert not start.problem(known, None)

    painted.data[0, 30:40, 30:40] = 7
    painted.refresh()
    qtbot.waitUntil(lambda: "does not know class 7 (7)" in dock.reason.text(), timeout=WAIT_MS)
    start.box.setCurrentIndex(start.box.findData("fresh"))
    start.box.activated.emit(start.box.currentIndex())
    assert not dock.reason.text()
    assert dock.training.adapter.isEnabled()


def test_what_is_no_better_is_not_kept_unless_asked(
    open_dock, viewer, qtbot, two_halves, tmp_path, monkeypatch
) -> None:
    image, strokes = two_halves
    viewer.add_image(image, name="cells")
    painted = viewer.add_labels(strokes, name="strokes")
    dock = open_dock(LONG.model_copy(update={"steps": 30, "validate_every": 5, "batch_size": 2}))
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.start_button.click()
    assert dock.fine_tuned.verdict.keep
    kept = list_adapters()
    assert kept == [dock.fine_tuned.path]

    painted.data[2, 10:50, 10:20] = 2  # what is added says the contrary
    painted.data[2, 10:50, 70:80] = 1
    painted.refresh()
    wrong = LONG.model_copy(update={"steps": 2, "learning_rate": 1.0})
    dock.training.plain.settings = dock.training.advanced_train.settings = wrong
    counted(dock, painted, qtbot)
    qtbot.waitUntil(dock.go_on_button.isEnabled, timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.go_on_button.click()
    assert dock.status.text().startswith("No better than before")
    assert "Save as … keeps what it learnt last all the same" in dock.status.text()
    verdict = dock.fine_tuned.verdict
    assert list_adapters() == kept
    assert not dock.segment_button.isVisibleTo(dock)
    chosen = tmp_path / "all the same.adapter.safetensors"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(chosen), ""))
    dock.save_button.click()
    refused, start = read_header(chosen), read_header(kept[0])
    assert refused.tensors_sha256 != start.tensors_sha256  # what was learnt, not the start anew
    assert not refused.scores
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.go_on_button.click()
    # … and the next run begins where the last good one ended
    assert dock.fine_tuned.verdict.baseline.mean_dice == verdict.baseline.mean_dice


class ByHand(QCloseEvent):
    """A close event as the window's cross makes it."""

    def spontaneous(self) -> bool:
        return True


class Open(QObject):
    """Keeps a window open that is closed, for the fixture that made it, and calls ``closed()`` instead."""

    def __init__(self, window: QWidget, closed: Callable[[], None]) -> None:
        super().__init__(window)
        self._closed = closed
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        if event.type() != QEvent.Type.Close:
            return False
        event.ignore()
        self._closed()
        return True


def test_a_window_closed_at_work_asks_and_saves(
    make_napari_viewer_proxy, qtbot, two_halves, adapters_home, monkeypatch
) -> None:
    image, strokes = two_halves
    viewer = make_napari_viewer_proxy(show=True)
    viewer.add_image(image, name="cells")
    viewer.add_labels(strokes, name="strokes")
    frame, dock = viewer.window.add_plugin_dock_widget("napari-sam2-adapters", "Fine-tune")
    dock.training.plain.settings = dock.training.advanced_train.settings = LONG
    dock.training.adapter.setCurrentIndex(dock.training.adapter.findData("lora"))
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    dock.start_button.click()
    grow(dock, qtbot)
    asked, closed = [], []
    window = dock.window()
    kept = Open(window, lambda: closed.append(dock.fine_tuned))
    for agree in (False, True):
        monkeypatch.setattr(
            closing, "agreed", lambda *a, agree=agree, **_: asked.append(a[2]) or agree
        )
        # asked by its guard: Qt would not take an event of ours for one by hand
        assert dock._guard.eventFilter(window, ByHand())
        if not agree:
            grow(dock, qtbot)
            assert closed == []
    qtbot.waitUntil(lambda: bool(closed), timeout=WAIT_MS)
    assert len(asked) == 2
    assert "keep the best so far, and close napari?" in asked[0]
    assert closed[0].resumable  # it closed when the result was there
    assert list((adapters_home.parent / "runs").glob("*/checkpoint.safetensors"))
    window.removeEventFilter(kept)
    viewer.window.remove_dock_widget(frame)
    dock.deleteLater()
    kept.deleteLater()


def test_time_and_depth_with_labels_on_disk(open_dock, viewer, qtbot, two_halves, tmp_path) -> None:
    image, strokes = two_halves
    on_disk = zarr.create_array(
        tmp_path / "strokes.zarr", shape=(2, 3, 64, 96), chunks=(1, 1, 64, 96), dtype="uint8"
    )
    on_disk[1] = strokes
    viewer.add_image(np.stack([image, image]), name="movie", axis_labels=("t", "z", "y", "x"))
    layer = viewer.add_labels(on_disk, name="strokes")
    dock = open_dock(LONG.model_copy(update={"steps": 2}))
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    assert dock.data.pairs[0].axes == "TZYX"
    layer.brush_size, layer.selected_label = 5, 2
    painted = np.count_nonzero(strokes == 2)
    layer.paint((0, 2, 30, 75), 2)
    qtbot.waitUntil(lambda: dock.data.totals[2] > painted, timeout=WAIT_MS)
    assert on_disk[0, 2].any()  # painted into the file, not into a copy
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.start_button.click()
    assert dock.fine_tuned.training["steps"] == 2
    assert layer.data is on_disk
