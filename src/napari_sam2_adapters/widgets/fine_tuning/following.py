"""A training on its way to the dock: its records collected, its time and memory measured, and previews in between."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from numpy.typing import NDArray

from napari_sam2_adapters.config import Normalization
from napari_sam2_adapters.widgets.docks.jobs import Pulse
from napari_sam2_adapters.widgets.fine_tuning.messages import (
    Learned,
    Place,
    Previewed,
    Said,
    Update,
    Wish,
)

if TYPE_CHECKING:
    from napari_sam2_adapters.data.dataset import Dataset
    from napari_sam2_adapters.models.segmenter import Segmenter
    from napari_sam2_adapters.training.records import Record, StepRecord, ValidationRecord
    from napari_sam2_adapters.training.train import Trainer

__all__ = ["GUI_INTERVAL_S", "Report", "follow", "previewed"]

_log = logging.getLogger(__name__)

GUI_INTERVAL_S = 0.1
PREVIEW_INTERVAL_S = 2.0
_LONGEST_SHOWING_S = 2.0
"""A window that is busy for longer does not keep the training from its work."""
_PREVIEW_SHARE = 0.2
"""Most of the time that previews may take."""


def _memory_taken() -> int:
    """Memory of this process, or of the GPU where there is one, in bytes."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved())
    return int(psutil.Process().memory_info().rss)


@dataclass
class Report:
    """Collects records until the GUI can take them, and keeps the time without pauses and the most memory taken."""

    steps: list[StepRecord] = field(default_factory=list)
    checks: list[ValidationRecord] = field(default_factory=list)
    seconds: float = 0.0
    first_step: int = 0
    last_step: int = 0
    last_check: int = -1
    of_steps: int = 0
    memory_before: int = field(default_factory=_memory_taken)
    memory: int = 0

    def take(self, record: Record) -> Said | None:
        """Keep a record; a notice is given back to be shown at once."""
        from napari_sam2_adapters.training.records import StepRecord, ValidationRecord

        if isinstance(record, StepRecord):
            self.steps.append(record)
            self.last_step, self.of_steps = record.step, record.steps
        elif isinstance(record, ValidationRecord):
            self.checks.append(record)
            self.last_check = record.step
        else:
            return Said(record.message)
        return None

    def catch_up(self, history: Sequence[Record]) -> None:
        """Take the check that a stopped run has made as it settled, when nobody listened any more."""
        from napari_sam2_adapters.training.records import ValidationRecord

        for record in history:
            if isinstance(record, ValidationRecord) and record.step > self.last_check:
                self.take(record)

    def send(self) -> Learned:
        """Give what was collected, and start anew."""
        left, taken = None, self.last_step - self.first_step
        if taken:
            left = self.seconds / taken * (self.of_steps - self.last_step)
        self.memory = max(self.memory, _memory_taken() - self.memory_before)
        report = Learned(tuple(self.steps), tuple(self.checks), left)
        self.steps, self.checks = [], []
        return report


def follow(
    stop: threading.Event,
    trainer: Trainer,
    records: Generator[Record, None, None],
    dataset: Dataset,
    wish: Wish,
    report: Report,
) -> Generator[Update, None, None]:
    """Pass on what a run says, not too often, with previews of what is on show, until it ends or is stopped.

    Parameters
    ----------
    stop
        When set, it ends after the record in hand.
    trainer, records
        The training, and what it yields.
    dataset
        What it learns from.
    wish
        Where a preview is wanted.
    report
        Takes the records.
    """
    from napari_sam2_adapters.training.records import CALIBRATING

    gui, next_preview = Pulse(GUI_INTERVAL_S), Pulse(PREVIEW_INTERVAL_S)
    since = time.perf_counter()
    for record in records:
        said: list[Update | None] = [report.take(record)]
        if wish.place is not None and report.last_step and next_preview.due():
            started, place = time.perf_counter(), wish.place
            with trainer.current_weights() as segmenter:
                said.append(previewed(segmenter, dataset, place))
            taken = time.perf_counter() - started
            next_preview.wait(max(PREVIEW_INTERVAL_S, taken / _PREVIEW_SHARE))
        report.seconds += time.perf_counter() - since
        if gui.due():
            said.append(report.send())
        yield from (part for part in said if part is not None)
        if wish.shown is not None and any(isinstance(part, Previewed) for part in said):
            wish.shown.wait(_LONGEST_SHOWING_S)
        since = time.perf_counter()  # what passes at a yield is the user's pause
        if stop.is_set():
            if trainer.awaits_calibration:
                yield Said(CALIBRATING)
            return


def previewed(segmenter: Segmenter, dataset: Dataset, place: Place) -> Previewed | None:
    """What it has learnt, on a part of a plane; None where that cannot be read or computed.

    The plane on show may be one that nothing is learnt from, and is no reason to lose what is trained.
    """
    try:
        return Previewed(place, preview(segmenter, dataset, place))
    except (OSError, ValueError, RuntimeError) as error:
        _log.warning("There is no preview of plane %s: %s", place.plane, error)
        return None


def preview(
    segmenter: Segmenter, dataset: Dataset, place: Place
) -> NDArray[np.unsignedinteger[Any]]:
    """Label values of a part of a plane, segmented with the weights of the moment."""
    from napari_sam2_adapters.data.axes import read_plane
    from napari_sam2_adapters.data.normalize import normalize_plane
    from napari_sam2_adapters.inference.predict import predict

    pair = dataset.pairs[place.pair]
    plane = read_plane(pair.image, pair.axes, place.plane, place.rows, place.columns)
    image = normalize_plane(plane, dataset.limits(place.pair))
    unchanged = Normalization(mode="range", low=0, high=1)
    return predict(
        segmenter, image, axes="CYX", normalization=unchanged, on_notice=_log.info
    ).labels
