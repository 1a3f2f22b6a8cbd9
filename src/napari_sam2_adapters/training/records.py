"""What training says of itself: one small frozen record per step, per held-out check and per incident."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "CALIBRATING",
    "NoticeRecord",
    "Record",
    "StepRecord",
    "ValidationRecord",
    "awaits_calibration",
    "best_check",
    "first_check",
    "kept_check",
    "pack_history",
    "unpack_history",
    "with_class_names",
]


@dataclass(frozen=True)
class StepRecord:
    """One optimiser step.

    Attributes
    ----------
    step, steps
        Its number, counted from 1, and the most that there will be.
    loss
        Of its batch, before the step.
    learning_rate
        The largest of the parameter groups.
    seconds
        Time it took, drawing the batch included.
    images_per_second
        Crops learnt from in a second.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    seconds: float
    images_per_second: float


@dataclass(frozen=True)
class ValidationRecord:
    """Scores of the averaged weights on the held-out pixels after ``step`` steps (0: before the first).

    Attributes
    ----------
    dice, iou
        By class name, 0 to 1; NaN for a class that no held-out label has.
    mean_dice
        Mean over the classes that the held-out labels contain; the best weights are chosen by it.
    loss
        Mean of the training loss over the batches of windows, each weighing as much as it has labelled pixels.
    best
        Whether these weights are kept from here on, as the best so far (`score_to_pass`).
    seconds
        Time that the check took.
    pixels
        Labelled held-out pixels that were scored, the same ones in every check.
    class_bias
        By class name, what a run that ended has put on the logits of its best weights (`calibration`); these scores are with it. None in
        every other check, as what follows.
    calibrated_pixels
        Labelled held-out pixels that the bias was found on, those of the checks among them.
    calibrated_dice, uncalibrated_dice
        Mean Dice over these, with the bias that other images told and without; by them it was decided.
    """

    step: int
    dice: dict[str, float]
    iou: dict[str, float]
    mean_dice: float
    loss: float
    best: bool
    seconds: float
    pixels: int
    class_bias: dict[str, float] | None = None
    calibrated_pixels: int | None = None
    calibrated_dice: float | None = None
    uncalibrated_dice: float | None = None


@dataclass(frozen=True)
class NoticeRecord:
    """Something the user should read, as a sentence: a smaller batch, or an early stop."""

    step: int
    message: str


Record = StepRecord | ValidationRecord | NoticeRecord

CALIBRATING = "Calibrating on held-out pixels …"
"""What is said while a run that ended is calibrated."""


def first_check(history: Sequence[Record]) -> ValidationRecord | None:
    """Give the check before the first step."""
    return next((record for record in history if isinstance(record, ValidationRecord)), None)


def best_check(history: Sequence[Record]) -> tuple[ValidationRecord | None, int]:
    """Give the best check and the number of checks after it, those of calibrated weights left out: they are of no other weights."""
    checks = (r for r in reversed(history) if isinstance(r, ValidationRecord))
    for later, check in enumerate(check for check in checks if check.class_bias is None):
        if check.best:
            return check, later
    return None, 0


def kept_check(history: Sequence[Record]) -> ValidationRecord | None:
    """Give the scores of the weights that are kept: of the last that were calibrated, unless a later check was better without that."""
    best = best_check(history)[0]
    calibrated = next((r for r in reversed(history) if _is_calibrated(r)), None)
    if not isinstance(calibrated, ValidationRecord) or best is None:
        return best
    # More pixels than those of a check have decided that its own weights are better calibrated.
    other = best.step != calibrated.step
    return best if other and best.mean_dice > calibrated.mean_dice else calibrated


def awaits_calibration(history: Sequence[Record]) -> bool:
    """Whether better weights than those of the start were learnt since the last calibration."""
    best = best_check(history)[0]
    if best is None or best.step == 0:
        return False
    since = list(history)[history.index(best) + 1 :]
    return not any(_is_calibrated(record) for record in since)


def _is_calibrated(record: Record) -> bool:
    return isinstance(record, ValidationRecord) and record.class_bias is not None


def score_to_pass(history: Sequence[Record], step: int, *, strokes: bool) -> float | None:
    """Mean Dice that a check after ``step`` steps must pass for its weights to be kept; None: any does.

    It is that of the best check. What a few strokes held out say is rough, though, and a network that has hardly learnt often fits them by
    drawing classes too large: with strokes, a best check counts no more once the run is over twice as long, and the one before the first step is to
    be passed. Where that one was right on every pixel, as that of an adapter which is trained further often is on strokes, no check can be better:
    one that is as good passes, for what was labelled since would never be learnt otherwise.
    """
    best, first = best_check(history)[0], first_check(history)
    if best is None or first is None:
        return None
    forgotten = strokes and 0 < 2 * best.step < step
    if best.step and not forgotten:
        return best.mean_dice
    return min(first.mean_dice, math.nextafter(1, 0))


def with_class_names(history: Sequence[Record], names: Mapping[str, str]) -> list[Record]:
    """Give the same records with classes under new names, by old ones; what is not among them keeps its name."""

    def renamed(scores: Mapping[str, float]) -> dict[str, float]:
        return {names.get(name, name): score for name, score in scores.items()}

    return [
        replace(
            record,
            dice=renamed(record.dice),
            iou=renamed(record.iou),
            class_bias=None if record.class_bias is None else renamed(record.class_bias),
        )
        if isinstance(record, ValidationRecord)
        else record
        for record in history
    ]


def pack_history(history: Sequence[Record]) -> tuple[Tensor, list[dict[str, Any]]]:
    """Split a history into a float64 table ``(steps, 6)`` of the steps and JSON-ready other records."""
    rows: list[tuple[float, ...]] = []
    others: list[dict[str, Any]] = []
    for record in history:
        if isinstance(record, StepRecord):
            rows.append(astuple(record))
        else:
            kind = "check" if isinstance(record, ValidationRecord) else "notice"
            others.append({"after": len(rows), "kind": kind, "record": asdict(record)})
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), 6), others


def unpack_history(table: Tensor, others: Sequence[Mapping[str, Any]]) -> list[Record]:
    """Join again what :func:`pack_history` split."""
    steps: list[Record] = [
        StepRecord(int(step), int(steps), *values) for step, steps, *values in table.tolist()
    ]
    history: list[Record] = []
    taken = 0
    for other in others:
        history += steps[taken : other["after"]]
        taken = other["after"]
        kind = ValidationRecord if other["kind"] == "check" else NoticeRecord
        history.append(kind(**other["record"]))
    return history + steps[taken:]
