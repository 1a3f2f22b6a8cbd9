"""Where a run stands: its records, and what they add up to."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from napari_sam2_adapters.training.records import (
    NoticeRecord,
    Record,
    StepRecord,
    ValidationRecord,
    best_check,
    first_check,
    kept_check,
    pack_history,
    unpack_history,
)

__all__ = ["RunLog"]


class RunLog:
    """Takes the records of a run.

    Attributes
    ----------
    history
        Every record so far.
    step
        Steps taken.
    marked_step
        The step at which there was a check last, or a checkpoint where nothing is held out; −1 before.
    seconds
        Time that steps and checks took.
    stale_checks
        Checks since the best one.
    """

    def __init__(self) -> None:
        self.history: list[Record] = []
        self.step, self.marked_step = 0, -1
        self.seconds = 0.0
        self.stale_checks = 0

    @property
    def baseline(self) -> ValidationRecord | None:
        """The check before the first step."""
        return first_check(self.history)

    @property
    def kept(self) -> ValidationRecord | None:
        """The scores of the weights that are kept."""
        return kept_check(self.history)

    def take(self, record: StepRecord | ValidationRecord) -> None:
        """Put a record at the end, and count its time and its step or check."""
        self.history.append(record)
        self.seconds += record.seconds
        if isinstance(record, StepRecord):
            self.step = record.step
        elif record.class_bias is None:  # that of calibrated weights is of no new ones
            self.stale_checks = 0 if record.best else self.stale_checks + 1

    def note(self, message: str) -> NoticeRecord:
        """Put a sentence at the end, and give it."""
        notice = NoticeRecord(self.step, message)
        self.history.append(notice)
        return notice

    def pack(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Give what :meth:`restore` needs, as JSON and as tensors."""
        steps, others = pack_history(self.history)
        progress = {
            "step": self.step,
            "marked_step": self.marked_step,
            "seconds": self.seconds,
            "records": others,
        }
        return progress, {"steps": steps}

    def restore(self, progress: dict[str, Any], history: dict[str, Tensor]) -> None:
        """Put back what :meth:`pack` gave."""
        self.step, self.marked_step = progress["step"], progress["marked_step"]
        self.seconds = progress["seconds"]
        self.history = unpack_history(history["steps"], progress["records"])
        self.stale_checks = best_check(self.history)[1]
