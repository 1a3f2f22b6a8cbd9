import math

from napari_sam2_adapters.training.records import ValidationRecord
from napari_sam2_adapters.widgets._verdict import judge


def check(step: int, cell: float, ground: float) -> ValidationRecord:
    dice = {"cell": cell, "ground": ground}
    mean = (cell + ground) / 2
    return ValidationRecord(step, dice, dice, mean, 0.5, True, 0.1, 1234)


def test_better_is_kept_and_said_with_numbers() -> None:
    verdict = judge(check(0, 0.1, 0.5), check(40, 0.7, 0.9), 50)
    assert verdict.keep
    assert "from 0.30 to 0.80" in verdict.sentence
    assert "1,234 held-out pixels" in verdict.sentence
    assert "step 40" in verdict.sentence
    assert verdict.scores()["dice"] == {"cell": 0.7, "ground": 0.9}


def test_the_weakest_class_is_named() -> None:
    verdict = judge(check(0, 0.1, 0.5), check(40, 0.4, 0.9), 50)
    assert "cell with 0.40" in verdict.sentence


def test_no_better_is_not_kept() -> None:
    start = check(0, 0.6, 0.8)
    verdict = judge(start, start, 50)
    assert not verdict.keep
    assert "not kept" in verdict.sentence


def test_without_held_out_pixels_no_score_is_claimed() -> None:
    verdict = judge(None, None, 50)
    assert verdict.keep
    assert "no honest score" in verdict.sentence
    assert math.isnan(verdict.mean_after)
    assert verdict.scores() == {}


def test_nothing_learnt_is_not_kept() -> None:
    assert not judge(check(0, 0.1, 0.1), check(0, 0.1, 0.1), 0).keep
