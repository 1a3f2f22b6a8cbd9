from __future__ import annotations

import pytest

from napari_sam2_adapters.config import TrainConfig
from napari_sam2_adapters.training.stopping import progress_of_step, reason_to_stop


def reason(config: TrainConfig, **state: object) -> str | None:
    start = {"step": 5, "seconds": 3.0, "stale_checks": 1, "diverged": False}
    return reason_to_stop(config, **(start | state))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({}, None),
        ({"step": 10}, "All 10 steps"),
        ({"seconds": 60.0}, "time budget of 60 s"),
        ({"stale_checks": 2}, "not risen in 2 checks"),
        ({"diverged": True}, "NaN or infinite in step 6"),
    ],
)
def test_each_reason_has_its_sentence(state: dict[str, object], said: str | None) -> None:
    found = reason(TrainConfig(steps=10, time_budget_s=60, patience=2), **state)
    if said is None:
        assert found is None
    else:
        assert said in (found or "")


def test_without_budget_and_patience_only_steps_count() -> None:
    assert reason(TrainConfig(steps=10), seconds=1e9, stale_checks=1000) is None


def test_progress_goes_by_steps_or_by_time() -> None:
    config = TrainConfig(steps=99, time_budget_s=10)
    assert progress_of_step(config, 0, 0.0) == pytest.approx(0.01)
    assert progress_of_step(config, 98, 0.0) == pytest.approx(0.99)
    assert progress_of_step(config, 9, 5.0) == pytest.approx(0.5)
    assert progress_of_step(config, 9, 50.0) == 1
    assert progress_of_step(TrainConfig(steps=99), 9, 1e9) == pytest.approx(0.1)


def test_a_long_check_before_the_first_step_takes_nothing_from_the_warm_up() -> None:
    config = TrainConfig(steps=99, time_budget_s=10)
    assert progress_of_step(config, 0, 4.0, 4.0) == pytest.approx(0.01)
    assert progress_of_step(config, 0, 7.0, 4.0) == pytest.approx(0.5)
    assert progress_of_step(config, 0, 10.0, 4.0) == 1
    assert progress_of_step(config, 0, 12.0, 12.0) == pytest.approx(0.01)
