"""The Fine-tune dock: from painted strokes to an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.utils.notifications import show_info
from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout

from napari_sam2_adapters.widgets import _layers
from napari_sam2_adapters.widgets._data_form import DataForm
from napari_sam2_adapters.widgets._dock import Dock, button, frame_of, section
from napari_sam2_adapters.widgets._outcome import OutcomeTable
from napari_sam2_adapters.widgets._plot import LearningPlot
from napari_sam2_adapters.widgets._preview import PreviewLayer
from napari_sam2_adapters.widgets._store import SUFFIX, new_adapter_path
from napari_sam2_adapters.widgets._training import (
    FineTuned,
    Learned,
    Previewed,
    Said,
    TrainingRequest,
    Wish,
    fine_tune,
    save_fine_tuned,
)
from napari_sam2_adapters.widgets._training_form import TrainingForm
from napari_sam2_adapters.widgets._words import duration
from napari_sam2_adapters.widgets.segment import Segment

__all__ = ["FineTune"]


class FineTune(Dock):
    """Dock that trains an adapter from an image layer and a labels layer.

    Parameters
    ----------
    napari_viewer
        The napari viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.data = DataForm(napari_viewer)
        self.training = TrainingForm()
        self.start_button = button(
            "Fine-tune", "Train an adapter on the painted pixels.", self.start
        )
        self.pause_button = button("Pause", "Pause, or go on.", self.job.toggle_pause)
        self.stop_button = button(
            "Stop", "End now and keep the best weights so far.", self.job.stop
        )
        self.preview = QCheckBox("Show what it has learnt on the current slice")
        self.preview.setChecked(True)
        self.plot = LearningPlot(napari_viewer)
        self.outcome = OutcomeTable()
        self.save_button = button("Save adapter as …", "Save the adapter to a file.", self.save)
        self.segment_button = button(
            "Segment with it", "Open the Segment dock with this adapter.", self.segment
        )
        self.fine_tuned: FineTuned | None = None
        self._wish = Wish()
        self._previewed: PreviewLayer | None = None
        self._lay_out()
        self._connect()
        self.refresh()

    def missing(self) -> str:
        """What stands in the way of a start, in words; empty when nothing does."""
        return self.data.missing() or self.training.missing()

    def start(self) -> None:
        """Train with what is chosen."""
        picture, classes = self.data.image.picture(), self.data.table.classes
        train = self.training.train.model_copy(update={"zero_is": self.data.zero_is})
        size, unit = _layers.pixel_size(picture)
        request = TrainingRequest(
            pair=self.data.pair,
            classes=classes,
            model=self.training.model,
            train=train,
            title=f"{picture.name}-{self.training.model.adapter}",
            pixel_size=size,
            unit=unit,
        )
        self._previewed = PreviewLayer(
            self.viewer, self.data.image.layer, picture, self.data.image.channel_axis, classes
        )
        self.plot.clear(classes, train.steps)
        self.plot.show()
        self.outcome.clear_scores(classes)
        self.fine_tuned = None
        self.progress.setRange(0, train.steps)
        self.progress.setValue(0)
        self._wish = Wish()
        self._look()
        self.job.start(fine_tune, request, self._wish)

    def save(self) -> None:
        """Ask for a place and save the adapter there."""
        if self.fine_tuned is None:
            return
        suggestion = self.fine_tuned.path or new_adapter_path(self.fine_tuned.request.title)
        chosen, _ = QFileDialog.getSaveFileName(
            self, "Save adapter", str(suggestion), f"Adapters (*{SUFFIX})"
        )
        if not chosen:
            return
        path = Path(chosen)
        if not path.name.endswith(SUFFIX):
            path = path.with_name(path.name.split(".")[0] + SUFFIX)
        save_fine_tuned(self.fine_tuned, path, overwrite=True)  # the dialog has asked
        show_info(f"Saved {path.name}.")

    def segment(self) -> None:
        """Bring the Segment dock to the front, opened if need be; it chooses the newest adapter itself."""
        opened = frame_of(self).parentWidget().findChildren(Segment)
        if not opened:
            _, dock = self.viewer.window.add_plugin_dock_widget("napari-sam2-adapters", "Segment")
            opened = [dock]
        frame = frame_of(opened[0])
        frame.show()
        frame.raise_()

    def refresh(self) -> None:
        """Enable what can be used now, and say why the rest cannot."""
        running = self.job.running
        missing = "" if running else self.missing()
        self.start_button.setEnabled(not running and not missing)
        self.start_button.setToolTip(missing or "Train an adapter on the painted pixels.")
        self.reason.setText(missing)
        self.reason.setVisible(bool(missing))
        self.data.setEnabled(not running)
        self.training.setEnabled(not running)
        self.pause_button.setEnabled(running and not self.job.stopping)
        self.pause_button.setText("Go on" if self.job.paused else "Pause")
        self.stop_button.setEnabled(running and not self.job.stopping)
        self.save_button.setVisible(self.fine_tuned is not None)
        self.segment_button.setVisible(self.fine_tuned is not None and bool(self.fine_tuned.path))
        self.progress.setVisible(running)
        if self.job.stopping:
            self.status.setText("Stopping after this step …")

    def _lay_out(self) -> None:
        for push in (self.start_button, self.pause_button, self.stop_button):
            self.buttons.addWidget(push)
        self.column.addWidget(section("Learn from", self.data))
        self.column.addWidget(section("Train", self.training, self.device))
        self.column.addWidget(self.preview)
        self.column.addWidget(self.plot)
        self.column.addWidget(self.outcome)
        after = QHBoxLayout()
        after.addWidget(self.segment_button)
        after.addWidget(self.save_button)
        self.column.addLayout(after)
        self.column.addStretch()
        self.plot.hide()

    def _connect(self) -> None:
        self.data.changed.connect(self.refresh)
        self.training.changed.connect(self.refresh)
        # what is new while it learns comes at the bottom
        bar = self.scroll.verticalScrollBar()
        bar.rangeChanged.connect(lambda low, high: self.plot.isVisible() and bar.setValue(high))
        self.machine_known.connect(self.training.take_machine)
        self.job.updated.connect(self._take_update)
        self.job.ended.connect(self._take_result)
        self.job.failed.connect(self.status.setText)
        self.job.state_changed.connect(self.refresh)
        self.preview.toggled.connect(lambda _: self._look())

    def _look(self) -> None:
        """Tell the worker what is on show; done with each report, so it follows slider and camera."""
        if self._previewed is not None:
            wanted = self.preview.isChecked()
            self._wish.place = self._previewed.place_on_show() if wanted else None

    def _take_update(self, update: Said | Learned | Previewed) -> None:
        self._look()
        if isinstance(update, Said):
            self.status.setText(update.message)
        elif isinstance(update, Learned):
            self._take_progress(update)
        elif self._previewed is not None and self.preview.isChecked():
            self._previewed.show(update, below=self.data.labels.layer)

    def _take_progress(self, learned: Learned) -> None:
        for check in learned.checks:
            self.plot.add_check(check.step, check.dice)
            self.outcome.show_check(check)
        if not learned.steps:
            return
        last = learned.steps[-1]
        self.plot.add_loss(
            [step.step for step in learned.steps], [step.loss for step in learned.steps]
        )
        self.progress.setValue(last.step)
        left = "" if learned.seconds_left is None else f", {duration(learned.seconds_left)} left"
        self.progress.setFormat(f"step {last.step} of {last.steps}{left}")
        if not self.job.stopping:
            score = self.outcome.mean_sentence()
            self.status.setText(f"Loss {last.loss:.3f}{score}.")

    def _take_result(self, result: FineTuned) -> None:
        self.fine_tuned = result
        self.outcome.show_verdict(result.verdict)
        kept = f" Kept as {result.path.name}: Segment has it now." if result.path else ""
        self.status.setText(result.verdict.sentence + kept)
