"""The dock as a person uses it, on the built-in backbone: a few steps on small crops."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Iterator

import dask.array as da
import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QFileDialog

from napari_sam2_adapters.config import TrainConfig
from napari_sam2_adapters.models.model_file import read_header
from napari_sam2_adapters.training.records import Record
from napari_sam2_adapters.training.trainer import Trainer
from napari_sam2_adapters.widgets.docks import jobs
from napari_sam2_adapters.widgets.docks.dock import frame_of
from napari_sam2_adapters.widgets.docks.results import OURS
from napari_sam2_adapters.widgets.docks.store import list_adapters
from napari_sam2_adapters.widgets.fine_tuning import following
from napari_sam2_adapters.widgets.finetune import FineTune

SMALL = TrainConfig(steps=6, validate_every=3, batch_size=2, crop_size_px=32)
WAIT_MS = 120_000


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def dock(viewer, qtbot):
    """A dock with settings for a few small steps."""
    made = FineTune(viewer)
    made.training.plain.settings = SMALL
    made.training.advanced_train.settings = SMALL
    made.training.adapter.setCurrentIndex(made.training.adapter.findData("lw"))
    yield made
    made.job.stop()
    qtbot.waitUntil(lambda: not made.job.running, timeout=WAIT_MS)
    made.close()
    made.deleteLater()


def ready(dock: FineTune) -> bool:
    return dock.start_button.isEnabled()


def run(dock: FineTune, qtbot) -> None:
    qtbot.waitUntil(lambda: ready(dock), timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.start_button.click()


def test_it_says_what_is_missing_until_nothing_is(dock, viewer, qtbot, two_halves) -> None:
    image, strokes = two_halves
    assert not ready(dock)
    assert "image layer" in dock.reason.text()
    viewer.add_image(image)
    assert "labels layer" in dock.reason.text()
    dock.data.rows[0].add_button.click()
    layer = viewer.layers[-1]
    qtbot.waitUntil(lambda: "Nothing is labelled" in dock.reason.text(), timeout=WAIT_MS)
    layer.data[strokes == 1] = 1
    layer.refresh()
    qtbot.waitUntil(lambda: "Only one class" in dock.reason.text(), timeout=WAIT_MS)
    layer.data[strokes == 2] = 2
    layer.refresh()
    qtbot.waitUntil(lambda: ready(dock), timeout=WAIT_MS)
    assert not dock.reason.text()


def test_strokes_become_an_adapter(dock, viewer, qtbot, two_halves) -> None:
    image, strokes = two_halves
    viewer.add_image(image, name="cells", scale=(2, 0.5, 0.5), units=["um"] * 3)
    viewer.add_labels(strokes, scale=(2, 0.5, 0.5), units=["um"] * 3)
    qtbot.waitUntil(lambda: dock.data.book.table.rowCount() == 2, timeout=WAIT_MS)
    dock.data.book.table.item(0, 1).setText("dark")
    dock.data.book.table.item(1, 1).setText("bright")
    run(dock, qtbot)
    result = dock.fine_tuned
    assert result.training["steps"] == SMALL.steps
    assert set(result.verdict.after) == {"dark", "bright"}
    assert dock.course.outcome.rowCount() == 3  # two classes and the mean
    assert "held-out pixels" in dock.status.text()
    assert len(dock.course.plot.loss_plot.listDataItems()[0].yData) == SMALL.steps
    assert result.path == (list_adapters()[0] if result.verdict.keep else None)


def test_a_class_that_is_named_while_it_is_learnt_has_its_name_in_the_adapter(
    dock, viewer, qtbot, two_halves, monkeypatch
) -> None:
    named = threading.Event()
    take_step = Trainer._take_step

    def held(trainer: Trainer) -> Iterator[Record]:
        named.wait(60)
        return take_step(trainer)

    monkeypatch.setattr(Trainer, "_take_step", held)
    image, strokes = two_halves
    viewer.add_image(image)
    viewer.add_labels(strokes)
    dock.training.advanced_train.settings = SMALL.model_copy(update={"held_out_fraction": 0})
    qtbot.waitUntil(lambda: ready(dock), timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.start_button.click()
        qtbot.waitUntil(lambda: "Learning" in dock.status.text(), timeout=WAIT_MS)
        dock.data.book.table.item(1, 1).setText("bright")
        named.set()
    assert [info.name for info in read_header(dock.fine_tuned.path).classes] == [
        "class 1",
        "bright",
    ]


def test_images_and_labels_that_are_removed_leave_the_memory(
    dock, viewer, qtbot, two_halves
) -> None:
    copies = [array.copy() for array in two_halves]
    held = [weakref.ref(array) for array in copies]
    viewer.add_image(copies[0], name="cells")
    viewer.add_labels(copies[1], name="strokes")
    copies.clear()
    run(dock, qtbot)
    assert dock.fine_tuned is not None
    viewer.layers.clear()

    def gone() -> bool:
        gc.collect()
        return all(array() is None for array in held)

    qtbot.waitUntil(gone, timeout=WAIT_MS)
    assert dock.save_button.isVisibleTo(dock)


def test_a_kept_adapter_says_where_it_comes_from(dock, viewer, qtbot, two_halves) -> None:
    image, strokes = two_halves
    viewer.add_image(image, name="cells", scale=(2, 0.5, 0.25), units=["um"] * 3)
    viewer.add_labels(strokes, scale=(2, 0.5, 0.25), units=["um"] * 3)
    dock.training.advanced_train.settings = SMALL.model_copy(update={"held_out_fraction": 0})
    run(dock, qtbot)
    header = read_header(dock.fine_tuned.path)
    assert header.pixel_size == (0.5, 0.25)
    assert header.unit == "micrometer"
    assert header.model.adapter == "lw"
    assert [info.value for info in header.classes] == [1, 2]
    assert header.training["image"] == "cells"


def test_stopping_keeps_what_was_learnt(dock, viewer, qtbot, two_halves, monkeypatch) -> None:
    asked: list[bool] = []
    take_step = Trainer._take_step

    def watched(trainer: Trainer) -> Iterator[Record]:
        asked.append(dock.job.stopping)
        return take_step(trainer)

    monkeypatch.setattr(Trainer, "_take_step", watched)
    image, strokes = two_halves
    viewer.add_image(image)
    viewer.add_labels(strokes)
    dock.training.plain.settings = SMALL.model_copy(update={"steps": 100_000})
    qtbot.waitUntil(lambda: ready(dock), timeout=WAIT_MS)
    dock.start_button.click()
    qtbot.waitUntil(lambda: dock.progress.value() >= 2, timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.stop_button.click()
        assert not dock.stop_button.isEnabled()
    assert sum(asked) <= 1  # at once: at most the step that was about to begin
    assert 2 <= dock.fine_tuned.training["steps"] < 100_000
    assert dock.fine_tuned.verdict.after  # scored, although the run was left
    assert ready(dock)


@pytest.fixture
def resting(monkeypatch) -> threading.Event:
    """Set as soon as the worker of a job that is paused waits; a step or a check may take long before."""
    rests, paced = threading.Event(), jobs._paced

    class Watched:
        def __init__(self, going: threading.Event) -> None:
            self._going = going

        def wait(self) -> None:
            if not self._going.is_set():
                rests.set()
            self._going.wait()

    monkeypatch.setattr(jobs, "_paced", lambda work, going: paced(work, Watched(going)))
    return rests


def test_it_can_be_paused(dock, viewer, qtbot, two_halves, resting) -> None:
    image, strokes = two_halves
    viewer.add_image(image)
    viewer.add_labels(strokes)
    dock.training.plain.settings = SMALL.model_copy(update={"steps": 100_000})
    qtbot.waitUntil(lambda: ready(dock), timeout=WAIT_MS)
    dock.start_button.click()
    qtbot.waitUntil(lambda: dock.progress.value() >= 1, timeout=WAIT_MS)
    dock.pause_button.click()
    assert dock.pause_button.text() == "Continue"
    assert dock.status.text().startswith("Paused")
    qtbot.waitUntil(resting.is_set, timeout=WAIT_MS)
    qtbot.wait(50)  # what was told before is on its way
    step = dock.progress.value()
    qtbot.wait(1000)
    assert dock.progress.value() == step
    assert dock.status.text().startswith("Paused")  # also after what was on its way
    dock.pause_button.click()
    assert dock.status.text() == "Going on …"
    qtbot.waitUntil(lambda: dock.progress.value() > step, timeout=WAIT_MS)


def test_it_can_be_paused_before_it_has_begun(dock, viewer, qtbot, two_halves) -> None:
    image, strokes = two_halves
    viewer.add_image(image)
    viewer.add_labels(strokes)
    dock.training.plain.settings = SMALL
    qtbot.waitUntil(lambda: ready(dock), timeout=WAIT_MS)
    dock.start_button.click()
    assert dock.progress.format() == "getting ready …"
    dock.pause_button.click()
    assert (dock.progress.format(), dock.status.text()[:6]) == ("not yet begun", "Paused")
    dock.pause_button.click()
    assert (dock.progress.format(), dock.status.text()) == ("getting ready …", "Going on …")


def test_the_preview_lies_on_the_slice_on_show(
    dock, viewer, qtbot, two_halves, monkeypatch
) -> None:
    monkeypatch.setattr(following, "_LONGEST_SHOWING_S", WAIT_MS)  # it need not be waited for
    image, strokes = two_halves
    viewer.add_image(image, scale=(2, 0.5, 0.5), translate=(1, 2, 3))
    theirs = viewer.add_labels(strokes, scale=(2, 0.5, 0.5), translate=(1, 2, 3))
    viewer.dims.set_point(0, 1 + 2 * 2)  # slice 2
    before = theirs.data.copy()
    run(dock, qtbot)
    qtbot.waitUntil(lambda: any(OURS in layer.metadata for layer in viewer.layers), timeout=WAIT_MS)
    own = next(layer for layer in viewer.layers if OURS in layer.metadata)
    assert own.metadata[OURS]["role"] == "preview"
    np.testing.assert_allclose(own.scale, (2, 0.5, 0.5))
    assert set(np.unique(own.data[2])) <= {1, 2}
    assert own.data[2].all()
    assert not own.data[:2].any()
    np.testing.assert_array_equal(theirs.data, before)
    assert viewer.layers.index(own) < viewer.layers.index(theirs)
    assert viewer.layers.selection.active == theirs


def test_a_run_that_is_stopped_before_its_first_step_offers_nothing(
    dock, viewer, qtbot, two_halves
) -> None:
    image, strokes = two_halves
    viewer.add_image(image)
    viewer.add_labels(strokes)
    qtbot.waitUntil(lambda: ready(dock), timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.start_button.click()
        dock.stop_button.click()
    assert "nothing was learnt" in dock.status.text()
    offered = (dock.save_button, dock.go_on_button, dock.segment_button)
    assert not any(push.isVisibleTo(dock) for push in offered)
    assert dock.training.start.box.findData("trained") < 0


@pytest.mark.parametrize("agree", [True, False])
def test_closing_the_dock_asks_and_loses_nothing(
    viewer, qtbot, two_halves, monkeypatch, adapters_home, agree
) -> None:
    from napari_sam2_adapters.widgets import finetune
    from napari_sam2_adapters.widgets.docks import leaving

    monkeypatch.setattr(leaving, "agreed", lambda *_, **__: agree)

    image, strokes = two_halves
    viewer.add_image(image)
    viewer.add_labels(strokes)
    frame, dock = viewer.window.add_plugin_dock_widget("napari-sam2-adapters", "Fine-tune")
    assert isinstance(dock, finetune.FineTune)
    settings = SMALL.model_copy(update={"steps": 100_000})
    dock.training.plain.settings = dock.training.advanced_train.settings = settings
    qtbot.waitUntil(lambda: ready(dock), timeout=WAIT_MS)
    dock.start_button.click()
    qtbot.waitUntil(lambda: dock.progress.value() >= 1, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=WAIT_MS)  # with our preview
    viewer.window.remove_dock_widget(frame)
    if not agree:
        step = dock.progress.value()
        qtbot.waitUntil(lambda: dock.progress.value() > step, timeout=WAIT_MS)
        assert dock.isVisibleTo(dock.window())
        assert list(viewer.window.dock_widgets) == ["Fine-tune (napari-sam2-adapters)"]
        monkeypatch.setattr(leaving, "agreed", lambda *_, **__: True)
        viewer.window.remove_dock_widget(frame_of(dock))
    qtbot.waitUntil(lambda: not dock.job.running, timeout=WAIT_MS)
    assert dock.fine_tuned.resumable
    assert list(adapters_home.glob("*")) == (
        [dock.fine_tuned.path] if dock.fine_tuned.verdict.keep else []
    )
    assert list((adapters_home.parent / "runs").glob("*/checkpoint.safetensors"))
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=WAIT_MS)
    assert not any(OURS in layer.metadata for layer in viewer.layers)
    dock.deleteLater()


def test_from_fine_tune_to_segment_in_one_click(viewer, qtbot) -> None:
    from napari_sam2_adapters.widgets.segment import Segment

    frame, dock = viewer.window.add_plugin_dock_widget("napari-sam2-adapters", "Fine-tune")
    for _ in range(2):
        dock.segment()
    assert len(frame.parentWidget().findChildren(Segment)) == 1


def test_the_adapter_goes_to_a_chosen_place(dock, viewer, qtbot, two_halves, tmp_path, monkeypatch):
    image, strokes = two_halves
    viewer.add_image(image)
    viewer.add_labels(strokes)
    dock.training.advanced_train.settings = SMALL.model_copy(update={"held_out_fraction": 0})
    run(dock, qtbot)
    chosen = tmp_path / "mine"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(chosen), ""))
    dock.save_button.click()
    header = read_header(tmp_path / "mine.adapter.safetensors")
    assert header.tensors_sha256 == read_header(dock.fine_tuned.path).tensors_sha256
    theirs = (
        tmp_path / "theirs.v2.adapter.safetensors"
    )  # the dialog asks about the name that was typed
    theirs.write_bytes(b"theirs")
    chosen = tmp_path / "theirs.v2"
    dock.save_button.click()
    assert "theirs.v2.adapter.safetensors" in notification_manager.records[-1].message
    assert theirs.read_bytes() == b"theirs"


@pytest.mark.parametrize("kind", ["rgb", "channels", "multiscale", "dask"])
def test_images_of_every_kind(dock, viewer, qtbot, two_halves, kind) -> None:
    image, strokes = two_halves
    labels = strokes[0] if kind == "rgb" else strokes
    if kind == "rgb":
        viewer.add_image(np.stack([image[0]] * 3, axis=-1), rgb=True)
    elif kind == "channels":
        viewer.add_image(np.stack([image, 255 - image], axis=1))
        labels = strokes[:, None]
    elif kind == "multiscale":
        fine = image.repeat(2, axis=1).repeat(2, axis=2)
        viewer.add_image([fine, fine[:, ::2, ::2]], multiscale=True)
    else:
        viewer.add_image(da.from_array(image, chunks=(1, 32, 32)))
    viewer.add_labels(labels)
    dock.training.plain.settings = SMALL.model_copy(update={"steps": 1})
    qtbot.waitUntil(lambda: ready(dock), timeout=WAIT_MS)
    run(dock, qtbot)
    channels = {"rgb": 3, "channels": 2}.get(kind, 1)
    assert dock.fine_tuned.segmenter.config.input_channels == channels


def test_the_only_fitting_labels_are_chosen(dock, viewer, two_halves) -> None:
    image, strokes = two_halves
    viewer.add_labels(np.zeros((5, 5), np.uint8), name="other")
    viewer.add_labels(strokes, name="dense", visible=False)
    viewer.add_labels(strokes, name="strokes")
    viewer.add_image(image)
    assert dock.data.rows[0].labels.layer.name == "strokes"


def test_a_backbone_that_is_not_here_is_named(dock, viewer, qtbot, two_halves, monkeypatch) -> None:
    image, strokes = two_halves
    viewer.add_image(image)
    viewer.add_labels(strokes)
    qtbot.waitUntil(lambda: dock.training.backbone.count() > 1, timeout=WAIT_MS)
    dock.training.backbone.setCurrentIndex(dock.training.backbone.findData("large"))
    qtbot.waitUntil(lambda: "not on this machine" in dock.reason.text(), timeout=WAIT_MS)
    assert not ready(dock)


def test_opening_does_not_wait_for_torch() -> None:
    import subprocess

    code = (
        "import sys; import napari_sam2_adapters.widgets.finetune, napari_sam2_adapters.widgets.segment;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
