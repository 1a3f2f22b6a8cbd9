"""The work of the Batch folder dock, in worker threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass

from napari_sam2_adapters.batch.job import BatchJob, BatchOptions
from napari_sam2_adapters.batch.records import ItemRecord
from napari_sam2_adapters.widgets.docks.jobs import Pulse
from napari_sam2_adapters.widgets.docks.load_torch import load_torch

__all__ = ["BatchEnd", "BatchState", "list_batch", "segment_batch", "survey"]

_GUI_INTERVAL_S = 0.1


@dataclass(frozen=True)
class BatchState:
    """News of a batch.

    Attributes
    ----------
    records
        Of all images at first, then of those that changed since the last news.
    first
        Whether these are all images.
    share
        Done share of what this run has to do.
    seconds_left
        Time left, None until it can be told.
    """

    records: tuple[ItemRecord, ...]
    first: bool
    share: float
    seconds_left: float | None


@dataclass(frozen=True)
class BatchEnd:
    """How a batch ended."""

    stopped: bool
    seconds: float


def list_batch(job: BatchJob) -> tuple[ItemRecord, ...]:
    """The images of a job whose model is not chosen yet."""
    from napari_sam2_adapters.batch.plan import plan_items
    from napari_sam2_adapters.config import PredictConfig

    return tuple(ItemRecord(item, "pending") for item in plan_items(job, PredictConfig()))


def survey(job: BatchJob, options: BatchOptions) -> tuple[tuple[ItemRecord, ...], str]:
    """Where the images of a job stand, and why it must not be started, in a sentence, or nothing."""
    load_torch()
    from napari_sam2_adapters.batch.scheme import survey_batch

    found = survey_batch(job, options)
    return found.records, found.conflict


def segment_batch(
    stop: threading.Event, job: BatchJob, options: BatchOptions
) -> Generator[BatchState, None, BatchEnd]:
    """Run a batch, with news at most every tenth of a second; it ends after the tile in work when it is stopped."""
    from napari_sam2_adapters.batch.run import run_batch

    started, pulse = time.monotonic(), Pulse(_GUI_INTERVAL_S)
    records = run_batch(job, options)
    course = _Course()
    changed: dict[int, ItemRecord] = {}
    first = True
    try:
        for record in records:
            course.take(record)
            changed[record.item.index] = record
            begun = first and record.status == "running"
            if begun or (not first and pulse.due()):
                yield BatchState(tuple(changed.values()), first, course.share, course.seconds_left)
                changed, first = {}, False
            if stop.is_set():
                break
    finally:
        records.close()
    if changed:
        yield BatchState(tuple(changed.values()), first, course.share, None)
    return BatchEnd(stop.is_set(), time.monotonic() - started)


class _Course:
    """How far a run is, counted in images; the one at work counts by its tiles."""

    def __init__(self) -> None:
        self._todo: set[int] = set()
        self._finished: set[int] = set()
        self._at_work = 0.0
        self._started = 0.0

    def take(self, record: ItemRecord) -> None:
        """Count a record."""
        index = record.item.index
        if record.status == "pending":
            self._todo.add(index)
        elif record.status == "running":
            self._started = self._started or time.monotonic()
            self._at_work = record.tiles / record.all_tiles if record.all_tiles else 0.0
        elif index in self._todo:
            self._finished.add(index)
            self._at_work = 0.0

    @property
    def share(self) -> float:
        """Done share of what there was to do."""
        if not self._todo:
            return 1.0
        return (len(self._finished) + self._at_work) / len(self._todo)

    @property
    def seconds_left(self) -> float | None:
        """Time left, if it goes on as it went; None until a tile is done."""
        if not self.share:
            return None
        return (time.monotonic() - self._started) * (1 - self.share) / self.share
