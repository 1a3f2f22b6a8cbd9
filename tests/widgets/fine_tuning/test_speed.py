from __future__ import annotations

from pathlib import Path

import pytest

from napari_sam2_adapters.config import ModelConfig, TrainConfig
from napari_sam2_adapters.widgets.fine_tuning.speed import (
    Outlook,
    plan_sentence,
    read_speeds,
    remember_speed,
)

DEVICE = "CPU, 2 cores, 8.0 of 16.0 GB free"


@pytest.fixture
def outlook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outlook:
    """After a run with the defaults of both settings classes."""
    monkeypatch.setenv("SAM2_ADAPTERS_DATA", str(tmp_path))
    remember_speed(DEVICE, ModelConfig(), TrainConfig(), seconds=60, steps=100, memory=10**9)
    return Outlook(DEVICE, 8 * 10**9, read_speeds())


@pytest.mark.parametrize(
    ("model", "train", "said"),
    [
        ({}, {}, "as the last such run took here"),
        ({"detail": "pixels"}, {}, "as the last such run took here"),  # what auto stands for
        ({"detail": "unet"}, {}, "not yet measured here"),
        ({"detail": "none"}, {}, "not yet measured here"),
        ({}, {"recompute": True}, "Roughly"),
        ({}, {"batch_size": 8}, "Roughly"),
    ],
)
def test_what_makes_steps_slow_is_no_run_of_the_same_kind(
    outlook: Outlook, model: dict[str, str], train: dict[str, object], said: str
) -> None:
    assert said in plan_sentence(outlook, ModelConfig(**model), TrainConfig(**train))
