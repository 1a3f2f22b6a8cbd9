"""The Batch folder dock: an adapter on many images, with a report, to be stopped and continued at any time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import QFileSystemWatcher, QTimer
from qtpy.QtWidgets import QSizePolicy

from napari_sam2_adapters.batch.job import BatchJob
from napari_sam2_adapters.batch.plan import REPORT_HTML
from napari_sam2_adapters.batch.records import ItemRecord
from napari_sam2_adapters.config import advise_on_views
from napari_sam2_adapters.widgets.batches.batch_form import BatchForm
from napari_sam2_adapters.widgets.batches.batch_table import BatchTable, result_of
from napari_sam2_adapters.widgets.batches.batch_work import (
    BatchEnd,
    BatchState,
    list_batch,
    segment_batch,
    survey,
)
from napari_sam2_adapters.widgets.batches.busy_folder import BusyFolder
from napari_sam2_adapters.widgets.docks.dock import Dock, button
from napari_sam2_adapters.widgets.docks.jobs import Question
from napari_sam2_adapters.widgets.docks.log import open_path, show_failure
from napari_sam2_adapters.widgets.docks.words import duration
from napari_sam2_adapters.widgets.loading.batch_result import read_result
from napari_sam2_adapters.widgets.loading.file_layers import FileLayer, find_loaded

__all__ = ["BatchFolder"]

_QUIET_MS = 300
"""The folder is looked at when nothing was typed for this long."""
_STEPS = 1000
_MOST_WATCHED = 200
"""Folders; a system has handles for some thousands of them, for all its programs."""


class BatchFolder(Dock):
    """Dock that segments the images of a folder.

    Parameters
    ----------
    napari_viewer
        The napari viewer.
    """

    closing_title = "A batch is running"
    closing_question = (
        "A batch is at work. Stop it and close napari? The next start goes on where it ended."
    )

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.form = BatchForm(self.device)
        self.table = BatchTable()
        self.start_button = button("Start", "", self.start, "play")
        self.cancel_button = button(
            "Cancel", "Stop after the tile in work; what is done stays.", self.job.stop, "stop"
        )
        self.open_button = button(
            "Open folder",
            "Show the results and report.csv in the file manager.",
            self.open_folder,
            "folder",
        )
        self.conflict = ""
        self.busy = BusyFolder(self)
        self._finished: set[tuple[str, ...]] = set()
        self._survey = Question(self)
        self._opening = Question(self)
        self._quiet = QTimer(self)
        self._quiet.setSingleShot(True)
        self._quiet.setInterval(_QUIET_MS)
        self._watcher = QFileSystemWatcher(self)
        self._lay_out()
        self._connect()
        self.look()

    def missing(self) -> str:
        """What stands in the way of a start, in words; empty when nothing does."""
        if self.form.folder.path is None:
            return "Choose a folder of images."
        if self._quiet.isActive() or self._survey.waiting:
            return "Looking at the images …"
        if not self.table.records.records:
            return "There is no image to segment."
        conflict = self.busy.reason or self.conflict
        return self.form.adapter.missing() or conflict or self._nothing_left()

    def _nothing_left(self) -> str:
        counts = self.table.records.counts()
        if counts["pending"]:
            return ""
        if self._page_is_missing():
            return ""
        if not counts["failed"]:
            return f"All {counts['done']} images are done."
        again = (
            ""
            if self.form.options.settings.retry_failed
            else " Tick “Retry failed” to try those again."
        )
        return f"Nothing is left to do: {counts['done']} done, {counts['failed']} failed.{again}"

    def _page_is_missing(self) -> bool:
        """Whether the HTML report is all that is left to do."""
        results = self.form.results
        wanted = self.form.extras.settings.html_report
        return wanted and results is not None and not (results / REPORT_HTML).exists()

    def look(self) -> None:
        """Look at the folder anew, in a moment."""
        if not self.job.running:
            self._quiet.start()
            self.refresh()

    def start(self) -> None:
        """Segment what is to be done."""
        job = self.form.job()
        if self.job.running or job is None or self.missing():
            return
        header, predict = self.form.adapter.header, job.predict
        if header is not None and predict is not None:
            advice = advise_on_views(header.training, predict.test_time_augmentation)
            if advice:
                show_warning(advice)
        self.progress.setRange(0, 0)
        self.status.setText("Loading the network …")
        self._finished.clear()
        self.scroll.ensureWidgetVisible(self.table)  # where there is something to see from now on
        self.busy.stop()  # its own run is no other one
        self.job.start(segment_batch, job, self.form.options.settings)

    def open_folder(self) -> None:
        """Show the folder of the results in the file manager."""
        if self.form.results is not None:
            open_path(self.form.results)

    def open_result(self, record: ItemRecord) -> None:
        """Open an image with its labels, or bring forward the layers that show them; of one that failed, say why."""
        if record.status == "failed":
            self.status.setText(result_of(record))
            show_warning(result_of(record))
            return
        shown = find_loaded(self.viewer, record.item.source)
        labels = record.item.outputs.get("labels") if record.status == "done" else None
        result = None if labels is None else find_loaded(self.viewer, labels)
        if shown is not None and (labels is None or result is not None):
            self.viewer.layers.selection = {layer for layer in (shown, result) if layer is not None}
            self.viewer.reset_view()
            return
        self._opening.ask(read_result, record, None if shown is None else shown.ndim)

    def taken_out(self) -> None:
        """Stop the work, and look at no folder any more."""
        super().taken_out()
        self.busy.stop()

    def refresh(self) -> None:
        """Enable what can be used now, and say why the rest cannot."""
        running = self.job.running
        missing = "" if running else self.missing()
        counts = self.table.records.counts()
        begun = counts["done"] and counts["pending"]
        self.start_button.setText("Continue" if begun and not running else "Start")
        self.start_button.setEnabled(not running and not missing)
        self.start_button.setToolTip(missing or f"Segment {counts['pending']} images.")
        self.cancel_button.setEnabled(running and not self.job.stopping)
        self.open_button.setEnabled(self.form.results is not None and self.form.results.is_dir())
        self.reason.setText(missing)
        self.reason.setVisible(bool(missing))
        self.progress.setVisible(running)
        self.form.setEnabled(not running)
        if self.job.stopping:
            self.status.setText("Stopping after the tile in work …")

    def _lay_out(self) -> None:
        self.form.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.column.addWidget(self.form)
        self.column.addWidget(self.table, stretch=1)
        for push in (self.start_button, self.cancel_button, self.open_button):
            self.buttons.addWidget(push)

    def _connect(self) -> None:
        self.form.changed.connect(self.look)
        self._quiet.timeout.connect(self._ask)
        self._watcher.directoryChanged.connect(lambda _: self.look())
        self.busy.changed.connect(self.look)  # what the other run has done is done
        self._survey.answered.connect(self._take_survey)
        self._survey.failed.connect(self._miss_survey)
        self._opening.answered.connect(self._take_result)
        self._opening.failed.connect(show_failure)
        self.table.chosen.connect(self.open_result)
        self.table.looked_at.connect(self._say_result)
        self.job.updated.connect(self._take_state)
        self.job.ended.connect(self._take_end)
        self.job.failed.connect(self._take_failure)
        self.job.state_changed.connect(self.refresh)

    def _ask(self) -> None:
        job = self.form.job()
        self.busy.watch(None if job is None or self.job.running else job.output)
        if job is None:
            self._show((), "")
        elif self.form.adapter.header is None:
            self._survey.ask(_listed, job)
        else:
            self._survey.ask(survey, job, self.form.options.settings)
        self.refresh()

    def _take_survey(self, found: tuple[tuple[ItemRecord, ...], str]) -> None:
        if not self.job.running:
            records, conflict = found
            # what the run has just done was not done earlier for who saw it happen
            fresh = (
                replace(record, earlier=False) if _key(record) in self._finished else record
                for record in records
            )
            self._show(tuple(fresh), conflict)

    def _miss_survey(self, reason: str) -> None:
        self._show((), "")
        self.form.found.setText(reason)
        self.refresh()

    def _show(self, records: tuple[ItemRecord, ...], conflict: str) -> None:
        self.table.records.show_all(records)
        self._watch(records)
        self.conflict = conflict
        self.form.found.setText(_summary(records) if records else "")
        self.refresh()

    def _watch(self, records: tuple[ItemRecord, ...]) -> None:
        """Hear of images that come and go in the folders that they are in."""
        folders = {record.item.source.parent for record in records}
        if self.form.folder.path is not None:
            folders.add(self.form.folder.path)
        wanted = {str(folder) for folder in sorted(folders)[:_MOST_WATCHED] if folder.is_dir()}
        watched = set(self._watcher.directories())
        if watched - wanted:
            self._watcher.removePaths(sorted(watched - wanted))
        if wanted - watched:
            self._watcher.addPaths(sorted(wanted - watched))

    def _say_result(self, record: ItemRecord | None) -> None:
        """Say all of what came of the image that is chosen, for which its cell is too narrow."""
        if record is not None and result_of(record) and not self.job.running:
            self.status.setText(result_of(record))

    def _take_state(self, state: BatchState) -> None:
        if state.first:
            self.table.records.show_all(state.records)
        plan = None
        for record in state.records:
            self.table.take(record)
            plan = record.plan or plan
            if record.status in ("done", "failed") and not record.earlier:
                self._finished.add(_key(record))
        self.progress.setRange(0, _STEPS)
        self.progress.setValue(round(_STEPS * state.share))
        self.form.found.setText(_summary(self.table.records.records))
        if self.job.stopping:
            return
        counts = self.table.records.counts()
        left = "" if state.seconds_left is None else f", {duration(state.seconds_left)} left"
        failed = f", {counts['failed']} failed" if counts["failed"] else ""
        total = len(self.table.records.records)
        said = f"{counts['done']} of {total} images done{failed}{left}."
        if plan is not None:
            self.status.setToolTip(plan.sentence)
        self.status.setText(f"{plan.sentence} {said}" if plan and not counts["done"] else said)

    def _take_end(self, end: BatchEnd) -> None:
        counts = self.table.records.counts()
        total = len(self.table.records.records)
        failed = f", {counts['failed']} failed" if counts["failed"] else ""
        what = "Cancelled" if end.stopped else "Finished"
        on = " Continue goes on from here." if end.stopped else ""
        self.status.setText(
            f"{what} after {duration(end.seconds)}: {counts['done']} of {total} images done{failed}.{on}"
        )
        self.look()

    def _take_failure(self, reason: str) -> None:
        self.status.setText(reason)
        self.look()

    def _take_result(self, layers: tuple[FileLayer, ...]) -> None:
        """Add layers, each in a turn of its own so that the window lives in between."""
        if not layers:
            return
        layers[0].add_to(self.viewer)
        if len(layers) > 1:
            QTimer.singleShot(0, partial(self._take_result, layers[1:]))
        elif layers[0].kind == "image":
            show_info("This image has no result yet.")


def _summary(records: tuple[ItemRecord, ...] | list[ItemRecord]) -> str:
    """How many images there are, and how many of them are done or have failed."""
    parts = [f"{len(records)} image{'' if len(records) == 1 else 's'}"]
    for status in ("done", "failed"):
        number = sum(record.status == status for record in records)
        if number:
            parts.append(f"{number} {status}")
    return ", ".join(parts) + "."


def _key(record: ItemRecord) -> tuple[str, ...]:
    """What an image and its results are known by in another look at the folder."""
    return (record.item.image, *map(str, record.item.outputs.values()))


def _listed(job: BatchJob) -> tuple[tuple[ItemRecord, ...], str]:
    return list_batch(job), ""
