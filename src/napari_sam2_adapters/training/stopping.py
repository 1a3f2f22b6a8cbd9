"""How far a run is, and why it ends."""

from __future__ import annotations

from napari_sam2_adapters.config import TrainConfig
from napari_sam2_adapters.wording import counted

__all__ = ["progress_of_step", "reason_to_stop"]


def progress_of_step(
    config: TrainConfig, step: int, seconds: float, before_first_step: float = 0.0
) -> float:
    """Share of training done in the step after ``step`` others, above 0 and at most 1.

    It goes by time too where there is a budget, so that the learning rate is low when the time is up.

    Parameters
    ----------
    seconds
        Time spent so far.
    before_first_step
        What of it the check before the first step took: that is no progress, and would shorten the warm-up.
    """
    by_steps = (step + 1) / (config.steps + 1)
    if config.time_budget_s is None or config.time_budget_s <= before_first_step:
        return by_steps
    by_time = (seconds - before_first_step) / (config.time_budget_s - before_first_step)
    return min(1.0, max(by_steps, by_time))


def reason_to_stop(
    config: TrainConfig, *, step: int, seconds: float, stale_checks: int, diverged: bool
) -> str | None:
    """Why a run ends here, as a sentence; None while it goes on.

    Parameters
    ----------
    step, seconds
        Steps taken and time spent on steps and checks.
    stale_checks
        Checks since the best one.
    diverged
        Whether the step after ``step`` gave a loss or a gradient that is not finite.
    """
    if diverged:
        return (
            f"The loss became NaN or infinite in step {step + 1}, so training stopped; the best weights from "
            "before are kept. Lower the learning rate, or look for wrong values in the images."
        )
    if step >= config.steps:
        return (
            f"{f'All {config.steps:,} steps are' if config.steps > 1 else 'The one step is'} done."
        )
    if config.time_budget_s is not None and seconds >= config.time_budget_s:
        return f"The time budget of {config.time_budget_s:g} s is used up after {counted(step, 'step')}."
    if config.patience is not None and stale_checks >= config.patience:
        return (
            f"The held-out score has not risen in {counted(config.patience, 'check')}, so training stopped after "
            f"{counted(step, 'step')}."
        )
    return None
