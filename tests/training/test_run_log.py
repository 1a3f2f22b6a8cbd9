from __future__ import annotations

import json
from dataclasses import replace

from napari_sam2_adapters.training.records import StepRecord, ValidationRecord
from napari_sam2_adapters.training.run_log import RunLog


def check(step: int, dice: float, best: bool) -> ValidationRecord:
    return ValidationRecord(step, {"a": dice}, {"a": dice / 2}, dice, 0.1, best, 0.5, 99)


def filled() -> RunLog:
    log = RunLog()
    log.note("A notice.")
    log.take(check(0, 0.1, True))
    for step in (1, 2):
        log.take(StepRecord(step, 9, 0.4, 1e-3, 0.25, 16.0))
    log.take(check(2, 0.5, True))
    log.take(StepRecord(3, 9, 0.4, 1e-3, 0.25, 16.0))
    log.take(check(3, 0.4, False))
    log.marked_step = 3
    return log


def test_it_counts_what_it_takes() -> None:
    log = filled()
    assert (log.step, log.stale_checks, log.seconds) == (3, 1, 3 * 0.25 + 3 * 0.5)
    assert log.baseline == log.history[1]
    assert log.kept == log.history[4]


def test_a_calibration_is_kept_but_no_check_of_new_weights() -> None:
    log = filled()
    calibrated = replace(check(2, 0.6, True), class_bias={"a": 0.0})
    log.take(calibrated)
    assert log.kept == calibrated
    assert log.stale_checks == 1


def test_it_goes_on_from_what_it_packed() -> None:
    log, again = filled(), RunLog()
    progress, history = log.pack()
    again.restore(json.loads(json.dumps(progress)), history)
    assert vars(again) == vars(log)
