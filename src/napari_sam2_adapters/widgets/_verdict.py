"""Before and after on the same held-out pixels, and what follows from it in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sam2_adapters.training.records import ValidationRecord

__all__ = ["Verdict", "judge"]


@dataclass(frozen=True)
class Verdict:
    """Outcome of a training.

    Attributes
    ----------
    before, after
        Held-out Dice by class name before the first step and of the weights that are kept; empty without held-out pixels.
    mean_before, mean_after
        Means over the classes; NaN without held-out pixels.
    pixels
        Held-out pixels that were scored.
    step
        Step of the weights that are kept.
    keep
        Whether the adapter is worth keeping: better than before, or never scored.
    sentence
        All of it in words.
    """

    before: dict[str, float]
    after: dict[str, float]
    mean_before: float
    mean_after: float
    pixels: int
    step: int
    keep: bool
    sentence: str

    def scores(self) -> dict[str, Any]:
        """The scores for a model file, without what is not a number."""
        if not self.after:
            return {}
        return {
            "mean_dice": self.mean_after,
            "dice": {name: dice for name, dice in self.after.items() if not math.isnan(dice)},
            "mean_dice_before": self.mean_before,
            "pixels": self.pixels,
        }


def judge(
    baseline: ValidationRecord | None, best: ValidationRecord | None, last_step: int
) -> Verdict:
    """Compare the check before the first step with the best one.

    Parameters
    ----------
    baseline, best
        The checks; None when nothing was held out.
    last_step
        Steps that were taken.
    """
    if last_step == 0:
        return _plain(False, "Stopped before the first step: nothing was learnt.")
    if baseline is None or best is None:
        return _plain(
            True,
            f"Learnt for {last_step} steps. No labelled pixels were held out, so there is no honest score: "
            "look at the preview before you trust it.",
            step=last_step,
        )
    change = f"from {baseline.mean_dice:.2f} to {best.mean_dice:.2f}"
    pixels = f"the same {best.pixels:,} held-out pixels"
    weak = min(best.dice, key=lambda name: _or_one(best.dice[name]))
    keep = best.step > 0 and best.mean_dice > baseline.mean_dice
    if not keep:
        text = (
            f"No better than before: on {pixels} no later check beat the mean Dice of {baseline.mean_dice:.2f} "
            "at the start, so the adapter was not kept. Label more, or train for more steps."
        )
    else:
        text = f"Better: on {pixels} the mean Dice rose {change} (best at step {best.step})."
        if _or_one(best.dice[weak]) < 0.6:
            text += f" The weakest class is {weak} with {best.dice[weak]:.2f}: more strokes of it will help most."
    return Verdict(
        dict(baseline.dice),
        dict(best.dice),
        baseline.mean_dice,
        best.mean_dice,
        best.pixels,
        best.step,
        keep,
        text,
    )


def _plain(keep: bool, text: str, step: int = 0) -> Verdict:
    return Verdict({}, {}, math.nan, math.nan, 0, step, keep, text)


def _or_one(dice: float) -> float:
    """A class without a score is not the weakest."""
    return 1.0 if math.isnan(dice) else dice
