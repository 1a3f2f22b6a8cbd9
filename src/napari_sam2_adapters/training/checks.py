"""How often a run is checked on what is held out."""

from __future__ import annotations

from napari_sam2_adapters.config import TrainConfig

__all__ = ["FEWEST_CHECKS", "LONGEST_INTERVAL", "check_interval"]

LONGEST_INTERVAL = 50
"""Most steps between two checks where the settings do not say how many."""
FEWEST_CHECKS = 5
"""Checks after the one before the first step, in a run that has as many steps and whose settings do not say more."""


def check_interval(config: TrainConfig) -> int:
    """Steps between two checks: as the settings say, or every 50 and at least five times in a run.

    From 50 steps on that is never more often than every ten.
    """
    if config.validate_every is not None:
        return config.validate_every
    return min(LONGEST_INTERVAL, max(1, config.steps // FEWEST_CHECKS))
