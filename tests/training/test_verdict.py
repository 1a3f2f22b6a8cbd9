import json
import math

import pytest

from napari_sam2_adapters.config import TrainConfig
from napari_sam2_adapters.data.splitting import Split
from napari_sam2_adapters.training.records import (
    NoticeRecord,
    Record,
    StepRecord,
    ValidationRecord,
)
from napari_sam2_adapters.training.verdict import judge, training_summary


def check(step: int, cell: float, ground: float, *, best: bool = True) -> ValidationRecord:
    dice = {"cell": cell, "ground": ground}
    iou = {name: value / (2 - value) for name, value in dice.items()}
    there = [value for value in dice.values() if not math.isnan(value)]
    return ValidationRecord(step, dice, iou, sum(there) / len(there), 0.5, best, 0.25, 1234)


def steps(first: int, last: int) -> list[Record]:
    return [StepRecord(step, 50, 0.5, 1e-3, 0.5, 8.0) for step in range(first, last + 1)]


def test_better_is_kept_and_said_with_numbers() -> None:
    late = check(50, 0.65, 0.9, best=False)
    history = [check(0, 0.1, 0.5), *steps(1, 40), check(40, 0.7, 0.9), *steps(41, 50), late]
    verdict = judge(history)
    assert verdict.keep
    assert "from 0.300 to 0.800" in verdict.sentence
    assert "1,234 held-out pixels" in verdict.sentence
    assert "step 40" in verdict.sentence
    assert "weakest" not in verdict.sentence
    assert verdict.scores() == {
        "mean_dice": pytest.approx(0.8),
        "dice": {"cell": 0.7, "ground": 0.9},
        "iou": {"cell": pytest.approx(0.7 / 1.3), "ground": pytest.approx(0.9 / 1.1)},
        "mean_dice_before": pytest.approx(0.3),
        "step": 40,
        "pixels": 1234,
    }


def test_the_weakest_class_is_named() -> None:
    verdict = judge([check(0, 0.1, 0.5), *steps(1, 40), check(40, 0.4, 0.9)])
    assert "cell with 0.40" in verdict.sentence


def test_a_class_that_is_nowhere_is_neither_weak_nor_in_the_file() -> None:
    verdict = judge([check(0, math.nan, 0.5), *steps(1, 40), check(40, math.nan, 0.9)])
    assert verdict.keep
    assert "weakest" not in verdict.sentence
    assert verdict.scores()["dice"] == {"ground": 0.9}
    json.dumps(verdict.scores(), allow_nan=False)


def test_no_better_is_not_kept() -> None:
    verdict = judge([check(0, 0.6, 0.8), *steps(1, 50), check(50, 0.6, 0.8, best=False)])
    assert not verdict.keep
    assert "not kept" in verdict.sentence


def test_as_good_as_a_perfect_start_is_kept() -> None:
    """Else corrections on other slices could never be learnt."""
    verdict = judge([check(0, 1.0, 1.0), *steps(1, 50), check(50, 1.0, 1.0)])
    assert verdict.keep
    assert "As good as before: all of the same 1,234 held-out pixels" in verdict.sentence


def test_without_held_out_pixels_no_score_is_claimed() -> None:
    verdict = judge(steps(1, 50))
    assert verdict.keep
    assert "50 steps" in verdict.sentence
    assert "no honest score" in verdict.sentence
    assert math.isnan(verdict.mean_after)
    assert verdict.scores() == {}


@pytest.mark.parametrize("history", [[], [check(0, 0.1, 0.1)]], ids=["not scored", "scored"])
def test_nothing_learnt_is_not_kept(history: list[Record]) -> None:
    verdict = judge(history)
    assert not verdict.keep
    assert "before the first step" in verdict.sentence


def test_the_summary_counts_steps_and_the_time_of_steps_and_checks() -> None:
    config = TrainConfig(steps=50, patience=3)
    history = [NoticeRecord(0, "hear"), check(0, 0.1, 0.5), *steps(1, 3)]
    summary = training_summary(
        history, config, split=Split((), (), "1 of 3 images held out"), ended=""
    )
    assert (summary["steps"], summary["seconds"]) == (3, 1.8)
    assert summary["ended"] == "Stopped by the user."
    assert TrainConfig(**summary["settings"]) == config
    assert summary["split"] == "1 of 3 images held out"
    json.dumps(summary, allow_nan=False)
    ended = training_summary(
        history, config, split=Split((), (), "none"), ended="All 50 steps are done."
    )["ended"]
    assert ended == "All 50 steps are done."
