from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import torch

from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.data.dataset import build_dataset
from napari_sam2_adapters.training.losses import build_loss
from napari_sam2_adapters.training.validation import HeldOut


def test_a_check_says_so_when_it_leaves_windows_out(quick, stack_with_a_rare_class) -> None:
    dataset = build_dataset([stack_with_a_rare_class], held_out_fraction=0.5, crop_size_px=32)
    predict = PredictConfig(tile_size_px=64)
    config = quick(batch_size=1, crop_size_px=32, validate_every=1)
    held_out = HeldOut(dataset, config, predict)
    assert "4 of 10 held-out windows" in (held_out.notice or "")
    assert HeldOut(dataset, quick(validate_every=100), predict).notice is None


def test_a_class_that_is_not_held_out_has_no_score(coins, tiny_segmenter, quick) -> None:
    """A stray pixel of it would tell 0, and be named as the weakest class."""
    segmenter = tiny_segmenter(n_classes=3)
    segmenter.class_bias.copy_(torch.tensor([0.0, 0.0, 99.0]))
    held_out = HeldOut(coins(), quick(), PredictConfig())
    loss = build_loss("ce_dice", [1, 1, 1])
    record = held_out.check(segmenter, loss, step=4, to_pass=None, precision=nullcontext())
    dice = [*record.dice.values()]
    assert dice[:2] == [0.0, 0.0]
    assert np.isnan(dice[2])
    assert np.isnan([*record.iou.values()][2])


def test_checking_leaves_the_mode_as_it_was(coins, tiny_segmenter, quick) -> None:
    segmenter = tiny_segmenter(n_classes=2, adapter="lora").train()
    held_out = HeldOut(coins(), quick(), PredictConfig())
    loss = build_loss("ce_dice", [1, 1])
    records = [
        held_out.check(segmenter, loss, step=4, to_pass=best, precision=nullcontext())
        for best in (None, 0.0, 1.0)
    ]
    assert segmenter.training
    assert len({record.mean_dice for record in records}) == 1
    assert [record.best for record in records] == [True, True, False]
    assert list(records[0].dice) == [info.name for info in segmenter.classes]
