"""A training lives through all that a person does to the viewer meanwhile, and can be gone on with."""

from __future__ import annotations

import pytest

from napari_sam2_adapters.config import TrainConfig
from napari_sam2_adapters.widgets.annotation.snapshots import autosave_folder, list_snapshots
from napari_sam2_adapters.widgets.docks.results import OURS
from napari_sam2_adapters.widgets.finetune import FineTune

LONG = TrainConfig(steps=100_000, validate_every=2, batch_size=1, crop_size_px=32)
WAIT_MS = 60_000


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
    assert "open the image it learnt from: cells" in dock.resume.resume_button.toolTip()
    viewer.add_image(image, name="cells")
    assert dock.resume.resume_button.isEnabled()
    step = dock.resume.run.step
    dock.resume.resume_button.click()
    qtbot.waitUntil(lambda: dock.progress.value() > step, timeout=WAIT_MS)
    assert len(dock.course.plot.loss_plot.listDataItems()[0].yData) > step
    assert dock.resume.isHidden()


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
    qtbot.wait(500)
    qtbot.waitUntil(dock.go_on_button.isEnabled, timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.go_on_button.click()
    second = dock.fine_tuned
    assert second.split.held_out == first.split.held_out
    assert len(second.split.train) == len(first.split.train) + 1
    assert second.verdict.before == pytest.approx(first.verdict.after, abs=1e-6)
    assert second.training["went_on_from"].startswith("cells-lora")
    assert "just trained" in dock.training.start.box.currentText()

    painted.data[0, 30:40, 30:40] = 7
    painted.refresh()
    qtbot.waitUntil(lambda: "does not know class 7 (7)" in dock.reason.text(), timeout=WAIT_MS)
    dock.training.start.choose_fresh()
    assert not dock.reason.text()
    assert dock.training.adapter.isEnabled()
