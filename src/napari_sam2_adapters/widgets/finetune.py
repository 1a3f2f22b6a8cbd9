"""The Fine-tune dock: from painted strokes to an adapter."""

from __future__ import annotations

from typing import Any

from napari.utils.notifications import show_info
from qtpy.QtCore import QEvent
from qtpy.QtGui import QCloseEvent, QShowEvent
from qtpy.QtWidgets import QDockWidget, QHBoxLayout

from napari_sam2_adapters.config import ClassInfo, Normalization
from napari_sam2_adapters.widgets.annotation.autosave import Autosave
from napari_sam2_adapters.widgets.annotation.restore import RestoreBanner
from napari_sam2_adapters.widgets.docks.closing import outermost
from napari_sam2_adapters.widgets.docks.dock import Dock, button, show_dock
from napari_sam2_adapters.widgets.docks.leaving import Leaving
from napari_sam2_adapters.widgets.docks.one_at_a_time import TRAININGS
from napari_sam2_adapters.widgets.docks.section import Section
from napari_sam2_adapters.widgets.docks.trained import TRAINED
from napari_sam2_adapters.widgets.docks.words import duration
from napari_sam2_adapters.widgets.fine_tuning.course import Course
from napari_sam2_adapters.widgets.fine_tuning.data_form import DataForm
from napari_sam2_adapters.widgets.fine_tuning.messages import (
    FineTuned,
    Learned,
    Previewed,
    Said,
    TrainingRequest,
    Update,
)
from napari_sam2_adapters.widgets.fine_tuning.requests import (
    classes_to_show,
    new_request,
    resumed_request,
)
from napari_sam2_adapters.widgets.fine_tuning.resume import OpenImage, ResumeBanner
from napari_sam2_adapters.widgets.fine_tuning.runs import SavedRun
from napari_sam2_adapters.widgets.fine_tuning.saving import ask_and_save
from napari_sam2_adapters.widgets.fine_tuning.seen import SeenPicture
from napari_sam2_adapters.widgets.fine_tuning.training import fine_tune
from napari_sam2_adapters.widgets.fine_tuning.training_form import TrainingForm

__all__ = ["FineTune"]

_START_TIP = "Train an adapter on the painted pixels."
_GETTING_READY = "getting ready …"
_PAUSED = "Paused; Continue goes on from here."


class FineTune(Dock):
    """Dock that trains an adapter from image layers and labels layers.

    Parameters
    ----------
    napari_viewer
        The napari viewer.
    """

    closing_title = "Training is running"
    closing_question = (
        "An adapter is being trained. Stop it, keep the best so far, and close napari?"
    )

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.data = DataForm(napari_viewer)
        self.training = TrainingForm()
        self.course = Course(napari_viewer, self.data)
        self.seen = SeenPicture()
        self.autosave = Autosave(self.data.to_save, self)
        self.restore = RestoreBanner(napari_viewer)
        self.resume = ResumeBanner(napari_viewer)
        self.fine_tuned: FineTuned | None = None
        self._leaving = Leaving(
            self,
            napari_viewer,
            self.job,
            title=self.closing_title,
            question="An adapter is being trained. Stop it, keep the best so far, and close the dock?",
            answer="Stop and close",
            save=self.autosave.end,
            release=self._release,
        )
        self._make_buttons()
        self._lay_out()
        self._connect()
        TRAININGS.add(self.job)
        self.restore.look()
        self.refresh()
        self._look_at_image()

    def missing(self) -> str:
        """What stands in the way of a start, in words; empty when nothing does."""
        if TRAININGS.in_the_way_of(self.job):
            return "Another Fine-tune dock is training; stop that one or wait for it."
        channels = self.data.rows[0].channels
        reasons = (self.data.missing(), self.training.missing(self.data.classes, channels))
        return reasons[0] or reasons[1]

    def start(self) -> None:
        """Train with what is chosen."""
        request = new_request(self.data, self.training)
        self.autosave.touch()
        self.autosave.save()
        images = [
            (row.image.layer, row.image.picture(), row.image.channel_axis) for row in self.data.rows
        ]
        classes = classes_to_show(request.classes, self.training.start.known)
        self._begin(request, images, classes)

    def resume_run(self, run: SavedRun) -> None:
        """Finish a run that was stopped or killed."""
        if self.job.running or TRAININGS.in_the_way_of(self.job):
            show_info("A training is at work; stop it or wait for it before another is resumed.")
            return
        images = self.resume.images(run)
        self.resume.hide()
        self._begin(resumed_request(run, images), images, run.card.classes, run.card.names)

    def go_on(self) -> None:
        """Train further from the adapter just trained, with the strokes of now."""
        self.training.start.choose_trained()
        self.start_button.click()

    def save(self) -> None:
        """Ask for a place and save the adapter there."""
        if self.fine_tuned is not None:
            ask_and_save(self, self.fine_tuned)

    def segment(self) -> None:
        """Bring the Segment dock to the front, opened if need be, with the adapter just trained."""
        dock = show_dock(self.viewer, "Segment")
        if self.fine_tuned is not None and self.fine_tuned.path is not None:
            dock.open_model(self.fine_tuned.path)

    def open_saved(self) -> None:
        """List the saved copies of labels."""
        self.restore.open_menu(self.saved_button)

    def refresh(self) -> None:
        """Enable what can be used now, and say why the rest cannot."""
        running = self.job.running
        missing = "" if running else self.missing()
        ready = not running and not missing
        self.start_button.setEnabled(ready)
        self.start_button.setToolTip(
            "This dock is training; stop that first." if running else missing or _START_TIP
        )
        self.reason.setText(missing)
        self.reason.setVisible(bool(missing))
        self.data.lock(running)
        self.training.setEnabled(not running)
        self.pause_button.setEnabled(running and not self.job.stopping)
        self.pause_button.setText("Continue" if self.job.paused else "Pause")
        self.stop_button.setEnabled(running and not self.job.stopping)
        trained = None if running else self.fine_tuned
        self.save_button.setVisible(trained is not None and trained.to_save is not None)
        self.go_on_button.setVisible(trained is not None)
        self.go_on_button.setEnabled(ready)
        self.segment_button.setVisible(trained is not None and bool(trained.path))
        self.progress.setVisible(running)
        if running and not self.progress.value():
            self.progress.setFormat("not yet begun" if self.job.paused else _GETTING_READY)
        if self.job.stopping:
            self.status.setText("Stopping after this step …")
        elif running and self.job.paused:
            self.status.setText(_PAUSED)
        elif running and self.status.text() == _PAUSED:
            self.status.setText("Going on …")
        if not running:
            self.training.show_plan()

    def taken_out(self) -> None:
        """Leave, when napari has taken the dock out of its window."""
        self._leaving.taken_out()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 (Qt's name)
        """Know the window that the dock is in."""
        super().showEvent(event)
        self._leaving.watch(outermost(self))

    def event(self, event: QEvent) -> bool:
        """Know the name under which napari has the dock."""
        if event.type() == QEvent.Type.ParentChange and isinstance(self.parent(), QDockWidget):
            self._leaving.name = self.parent().windowTitle()
        return bool(super().event(event))

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 (Qt's name)
        """Clean up when the dock is closed on its own."""
        self._leaving.go()
        super().closeEvent(event)

    def _begin(
        self,
        request: TrainingRequest,
        images: list[OpenImage],
        classes: tuple[ClassInfo, ...],
        names: tuple[ClassInfo, ...] = (),
    ) -> None:
        self.fine_tuned = None
        self.course.begin(images, classes, request.train.steps, names)
        self.progress.setRange(0, request.train.steps)
        self.progress.setValue(0)
        self.progress.setFormat(_GETTING_READY)
        self.job.start(fine_tune, request, self.course.wish)

    def _release(self) -> None:
        """Follow the viewer no more, give its keys back, and save what is not yet saved."""
        self.autosave.end()
        self.autosave.stop()
        self.seen.stop()
        if self._leaving.window_there:  # a window that closes takes its layers along
            self.course.remove_previews()
        self.data.stop_following()
        self.resume.stop()

    def _make_buttons(self) -> None:
        self.start_button = button("Fine-tune", _START_TIP, self.start, "play")
        self.pause_button = button("Pause", "Pause, or continue.", self.job.toggle_pause)
        self.stop_button = button(
            "Stop", "End now, keep the best weights; it can be resumed.", self.job.stop, "stop"
        )
        self.segment_button = button(
            "Segment with it", "Open the Segment dock with this adapter.", self.segment, "layers"
        )
        self.go_on_button = button(
            "Go on", "Train this adapter further, with the strokes added since.", self.go_on
        )
        self.save_button = button("Save as …", "Save the adapter to a file.", self.save, "export")
        self.saved_button = button(
            "Saved labels …",
            "Copies of the labels, saved every minute and before each run: put one back as a new layer.",
            self.open_saved,
        )

    def _lay_out(self) -> None:
        for push in (self.start_button, self.pause_button, self.stop_button):
            self.buttons.addWidget(push)
        self.data.buttons.addWidget(self.saved_button)
        self.column.addWidget(self.restore)
        self.column.addWidget(self.resume)
        self.column.addWidget(Section("Learn from", self.data, self.seen))
        self.column.addWidget(Section("Train", self.training, self.device))
        self.column.addWidget(self.course)
        after = QHBoxLayout()
        for push in (self.segment_button, self.go_on_button, self.save_button):
            after.addWidget(push)
        self.column.addLayout(after)
        self.column.addStretch()

    def _connect(self) -> None:
        self.data.changed.connect(self.refresh)
        self.data.changed.connect(self._look_at_image)
        self.data.edited.connect(self.autosave.touch)
        self.autosave.done.connect(self.data.touched.take_saved)
        self.seen.judged.connect(self.data.judged)
        self.restore.restored.connect(self.data.take_restored)
        self.training.changed.connect(self.refresh)
        self.resume.wanted.connect(self.resume_run)
        # what is new while it learns comes at the bottom
        bar = self.scroll.verticalScrollBar()
        bar.rangeChanged.connect(lambda low, high: self.job.running and bar.setValue(high))
        self.machine_known.connect(self.training.take_machine)
        self.machine_known.connect(self._look_ahead)
        self.job.updated.connect(self._take_update)
        self.job.ended.connect(self._take_result)
        self.job.failed.connect(self.status.setText)
        TRAININGS.changed.connect(self.refresh)

    def _look_ahead(self, _: object) -> None:
        """When the machine is known, or the work has ended: measured speeds, and runs to resume."""
        self.training.plan.look()
        if not self.job.running:
            self.resume.look()

    def _look_at_image(self) -> None:
        """Show what the network sees of the plane on show."""
        known = self.training.start.known
        normalization = None if known is None else known.start.normalization
        self.seen.look(self.data.place_on_show(), normalization or Normalization())

    def _take_update(self, update: Update) -> None:
        self.course.look()
        if isinstance(update, Said):
            self._say(update.message)
        elif isinstance(update, Learned):
            self._take_progress(update)
        elif isinstance(update, Previewed):
            self.course.take_preview(update, below=self.data.layers)

    def _take_progress(self, learned: Learned) -> None:
        self.course.take_progress(learned)
        if not learned.steps:
            return
        last = learned.steps[-1]
        self.progress.setValue(last.step)
        left = "" if learned.seconds_left is None else f", {duration(learned.seconds_left)} left"
        self.progress.setFormat(f"step {last.step} of {last.steps}{left}")
        self._say(f"Loss {last.loss:.3f}{self.course.outcome.mean_sentence()}.")

    def _say(self, news: str) -> None:
        """Say how it goes, unless it is about to stop or to pause after the step in work."""
        if not (self.job.stopping or self.job.paused):
            self.status.setText(news)

    def _take_result(self, result: FineTuned) -> None:
        if result.training["steps"]:  # else there is nothing to save, to go on from or to compare
            self.fine_tuned = result
            self.training.start.offer_trained(result)
            self.course.take_result(result)
        kept = ""
        if result.path:
            kept = f" Kept as {result.path.name}: Segment has it now."
            TRAINED.finished.emit(result.path)
        elif result.to_save is not None:
            kept = " Save as … keeps what it learnt last all the same."
        self.status.setText(result.verdict.sentence + kept)
