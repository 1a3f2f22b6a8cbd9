from __future__ import annotations

import json
import math

import pytest

from napari_sam2_adapters.training.records import (
    NoticeRecord,
    StepRecord,
    ValidationRecord,
    best_check,
    first_check,
    pack_history,
    score_to_pass,
    unpack_history,
)

JUST_BELOW_1 = math.nextafter(1, 0)


def check(step: int, dice: float, best: bool) -> ValidationRecord:
    return ValidationRecord(step, {"a": dice}, {"a": dice / 2}, dice, 0.1, best, 0.5, 99)


def step(number: int) -> StepRecord:
    return StepRecord(number, 3, 1 / 3, 1e-3 / 7, 0.1, 40.0)


HISTORY = [
    NoticeRecord(0, "A notice."),
    check(0, 0.1, True),
    step(1),
    step(2),
    check(2, 0.7, True),
    step(3),
    check(3, 0.6, False),
]


def test_a_history_survives_packing_exactly() -> None:
    table, others = pack_history(HISTORY)
    assert table.shape == (3, 6)
    assert unpack_history(table, json.loads(json.dumps(others))) == HISTORY
    ends_with_step = HISTORY[:4]
    assert unpack_history(*pack_history(ends_with_step)) == ends_with_step
    assert unpack_history(*pack_history([])) == []


def test_a_class_that_is_not_there_survives_packing() -> None:
    table, others = pack_history([check(0, math.nan, True)])
    record = unpack_history(table, json.loads(json.dumps(others)))[0]
    assert isinstance(record, ValidationRecord)
    assert math.isnan(record.dice["a"])


def test_first_and_best() -> None:
    assert first_check(HISTORY) == HISTORY[1]
    assert best_check(HISTORY) == (HISTORY[4], 1)
    assert first_check(HISTORY[2:4]) is None
    assert best_check([]) == (None, 0)


@pytest.mark.parametrize(
    ("history", "after", "dense", "strokes"),
    [
        ([], 0, None, None),
        (HISTORY[:2], 50, 0.1, 0.1),  # what was there before is not forgotten
        (HISTORY, 4, 0.7, 0.7),
        (
            HISTORY,
            5,
            0.7,
            0.1,
        ),  # over twice as long as at the best check: only the first one counts
        ([*HISTORY, check(5, 0.4, True)], 6, 0.4, 0.4),
        # nothing can be better than a start that was right everywhere: what is as good as that is kept
        ([check(0, 1.0, True)], 4, JUST_BELOW_1, JUST_BELOW_1),
        ([check(0, 1.0, True), check(4, 1.0, True)], 8, 1.0, 1.0),
        ([check(0, 1.0, True), check(4, 1.0, True)], 9, 1.0, JUST_BELOW_1),
    ],
)
def test_early_luck_on_strokes_is_forgotten(history, after: int, dense, strokes) -> None:
    assert score_to_pass(history, after, strokes=False) == dense
    assert score_to_pass(history, after, strokes=True) == strokes
