"""What a training has brought: before and after on the same held-out pixels, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_sam2_adapters.config import TrainConfig
from napari_sam2_adapters.data.packed_split import DIVISION, pack_split
from napari_sam2_adapters.data.splitting import Split
from napari_sam2_adapters.training.records import (
    Record,
    StepRecord,
    ValidationRecord,
    first_check,
    kept_check,
)
from napari_sam2_adapters.wording import counted

__all__ = ["Verdict", "judge", "training_summary"]

_WEAK_DICE = 0.6


@dataclass(frozen=True)
class Verdict:
    """Outcome of a training.

    Attributes
    ----------
    baseline, best
        The check before the first step and that of the weights that are kept; None without held-out pixels.
    keep
        Whether the adapter is worth keeping: better than before, as good as a perfect start, or never scored.
    sentence
        All of it in words.
    """

    baseline: ValidationRecord | None
    best: ValidationRecord | None
    keep: bool
    sentence: str

    @property
    def before(self) -> dict[str, float]:
        """Held-out Dice by class name before the first step; empty without held-out pixels."""
        return {} if self.baseline is None else self.baseline.dice

    @property
    def after(self) -> dict[str, float]:
        """Held-out Dice by class name of the weights that are kept; empty without held-out pixels."""
        return {} if self.best is None else self.best.dice

    @property
    def mean_before(self) -> float:
        """Mean Dice before the first step; NaN without held-out pixels."""
        return math.nan if self.baseline is None else self.baseline.mean_dice

    @property
    def mean_after(self) -> float:
        """Mean Dice of the weights that are kept; NaN without held-out pixels."""
        return math.nan if self.best is None else self.best.mean_dice

    def scores(self) -> dict[str, Any]:
        """The entry ``scores`` of a model file, without what is not a number; empty without held-out pixels."""
        if self.baseline is None or self.best is None:
            return {}
        return {
            "mean_dice": self.best.mean_dice,
            "dice": _known(self.best.dice),
            "iou": _known(self.best.iou),
            "mean_dice_before": self.baseline.mean_dice,
            "step": self.best.step,
            "pixels": self.best.pixels,
        } | self._calibration()

    def _calibration(self) -> dict[str, Any]:
        if self.best is None or not self.best.class_bias:
            return {}
        return {
            "class_bias": self.best.class_bias,
            "calibrated_pixels": self.best.calibrated_pixels,
            "calibrated_dice": self.best.calibrated_dice,
            "uncalibrated_dice": self.best.uncalibrated_dice,
        }


def judge(history: Sequence[Record]) -> Verdict:
    """Compare the check before the first step with the best one.

    Parameters
    ----------
    history
        Every record of a run, as `Trainer.history`.
    """
    steps = _steps(history)
    baseline, best = first_check(history), kept_check(history)
    if not steps:
        return Verdict(baseline, best, False, "Stopped before the first step: nothing was learnt.")
    if baseline is None or best is None:
        return Verdict(
            None,
            None,
            True,
            f"Learnt for {counted(len(steps), 'step')}. No labelled pixels were held out, so there is no honest score: "
            "look at what it segments before you trust it.",
        )
    pixels = f"the same {best.pixels:,} held-out pixels"
    if best.step == 0:
        return Verdict(
            baseline,
            best,
            False,
            f"No better than before: on {pixels} no later check beat the mean Dice of {baseline.mean_dice:.3f} "
            "at the start, so the adapter was not kept. Label more, or train for more steps.",
        )
    sentence = (
        f"Better: on {pixels} the mean Dice rose from {baseline.mean_dice:.3f} to {best.mean_dice:.3f} "
        f"(best at step {best.step})."
    )
    if best.mean_dice == baseline.mean_dice == 1:
        sentence = (
            f"As good as before: all of {pixels} were right at the start and are at step {best.step}, so they cannot tell "
            "what else was learnt: look at what it segments."
        )
    if best.calibrated_dice is not None and best.uncalibrated_dice is not None:
        where = "" if best.calibrated_pixels == best.pixels else f" on {best.calibrated_pixels:,}"
        sentence += (
            " Classes that were drawn too large or too small were corrected at the end (Calibrate): "
            f"{best.uncalibrated_dice:.3f} to {best.calibrated_dice:.3f}{where}."
        )
    weakest, dice = min(_known(best.dice).items(), key=lambda item: item[1])
    if dice < _WEAK_DICE:
        sentence += (
            f" The weakest class is {weakest} with {dice:.2f}: labelling more of it will help most."
        )
    return Verdict(baseline, best, True, sentence)


def training_summary(
    history: Sequence[Record], config: TrainConfig, *, split: Split, ended: str
) -> dict[str, Any]:
    """The entry ``training`` of a model file, as plain numbers and words.

    Parameters
    ----------
    history
        Every record of a run, as `Trainer.history`.
    split
        What was learnt from and what was held out, as `Dataset.split`.
    ended
        Why the run ended, as `Trainer.stop_reason`; empty when the user stopped it.
    """
    spent = [
        record.seconds for record in history if isinstance(record, StepRecord | ValidationRecord)
    ]
    return {
        "settings": config.model_dump(mode="json", exclude_none=True),
        "steps": len(_steps(history)),
        "seconds": round(sum(spent), 1),
        "split": split.description,
        DIVISION: pack_split(split),
        "ended": ended or "Stopped by the user.",
    }


def _steps(history: Sequence[Record]) -> list[StepRecord]:
    return [record for record in history if isinstance(record, StepRecord)]


def _known(scores: Mapping[str, float]) -> dict[str, float]:
    """Without the classes that are nowhere: JSON has no NaN."""
    return {name: score for name, score in scores.items() if not math.isnan(score)}
