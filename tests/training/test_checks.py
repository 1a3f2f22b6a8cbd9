from __future__ import annotations

import pytest

from napari_sam2_adapters.config import TrainConfig
from napari_sam2_adapters.training.checks import check_interval
from napari_sam2_adapters.training.records import ValidationRecord
from napari_sam2_adapters.training.train import Trainer


@pytest.mark.parametrize(
    ("steps", "interval"), [(1, 1), (4, 1), (40, 8), (50, 10), (100, 20), (300, 50), (9_000, 50)]
)
def test_short_runs_are_checked_five_times_and_long_ones_every_fifty_steps(
    steps: int, interval: int
) -> None:
    assert check_interval(TrainConfig(steps=steps)) == interval


def test_what_is_set_holds() -> None:
    assert check_interval(TrainConfig(steps=40, validate_every=50)) == 50


def test_a_short_run_has_a_curve_and_can_be_resumed_for_longer(
    coins, quick, tiny_segmenter, tmp_path
) -> None:
    state = tmp_path / "state.safetensors"
    short = quick(steps=10, validate_every=None, batch_size=1)
    trainer = Trainer(tiny_segmenter(n_classes=2), coins(), short, checkpoint=state)
    list(trainer.run())
    checked = [r.step for r in trainer.history if isinstance(r, ValidationRecord)]
    assert checked == [0, 2, 4, 6, 8, 10]
    longer = short.model_copy(update={"steps": 12})
    again = Trainer(tiny_segmenter(n_classes=2), coins(), longer)
    again.resume(state)  # the same pixels are scored, however long the run is
    again_checked = [r.step for r in again.run() if isinstance(r, ValidationRecord)]
    assert again_checked == [12]
