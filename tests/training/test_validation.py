from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.data.dataset import Pair, build_dataset
from napari_sam2_adapters.metrics import confusion_matrix
from napari_sam2_adapters.training.losses import build_loss
from napari_sam2_adapters.training.validation import (
    HeldOut,
    Scored,
    plan_windows,
    score_windows,
    split_length,
)


@pytest.mark.parametrize(
    ("low", "high", "length", "window"),
    [
        (0, 50, 50, 64),
        (10, 50, 50, 64),
        (0, 64, 64, 64),
        (0, 1000, 1000, 64),
        (700, 1000, 1000, 96),
    ],
)
def test_cores_tile_the_part_with_context(low: int, high: int, length: int, window: int) -> None:
    covered = np.zeros(length, int)
    for outer, core in split_length(low, high, length, window):
        assert 0 <= outer.start < outer.stop <= length
        assert outer.stop - outer.start == min(window, length)
        first, last = outer.start + core.start, outer.start + core.stop
        covered[first:last] += 1
        assert first - outer.start >= window // 8 or outer.start == 0
        assert outer.stop - last >= window // 8 or outer.stop == length
    assert (covered[low:high] == 1).all()
    assert covered.sum() == high - low


def test_the_score_is_that_of_the_whole_held_out_part(coins, tiny_segmenter) -> None:
    dataset, segmenter = coins(), tiny_segmenter(n_classes=2)
    windows, there = plan_windows(dataset, window_px=448, most_pixels=10**9, seed=0)
    loss = build_loss("paper", [1, 1])
    scored = score_windows(segmenter, dataset, windows, loss, batch_size=1, precision=nullcontext())
    (region,) = dataset.held_out
    image, _ = dataset.read(
        type(region)(region.pair, region.plane, slice(0, 192), slice(0, 192), "whole")
    )
    with torch.no_grad():
        logits = segmenter(torch.from_numpy(image)[None])[:, :, region.rows, region.columns]
    truth = dataset.read_labels(region)
    expected = confusion_matrix(truth, logits[0].argmax(0).numpy(), 2)
    assert there == 1
    assert np.array_equal(scored.confusion, expected)
    target = torch.from_numpy(truth.astype(np.int64))[None]
    assert scored.loss == pytest.approx(loss(logits, target, 1.0).item(), rel=1e-5)
    assert scored.pixels == truth.size


@pytest.mark.parametrize("batch_size", [1, 3])
def test_windows_share_no_pixel_and_leave_none_out(coins, tiny_segmenter, batch_size: int) -> None:
    dataset = coins(0.4)
    windows, _ = plan_windows(dataset, window_px=64, most_pixels=10**9, seed=0)
    assert len(windows) > 4
    scored = score_windows(
        tiny_segmenter(n_classes=2),
        dataset,
        windows,
        build_loss("ce_dice", [1, 1]),
        batch_size=batch_size,
        precision=nullcontext(),
    )
    assert (
        scored.confusion.sum(axis=1).tolist() == dataset.labelled_pixels(dataset.held_out).tolist()
    )


def test_no_scored_pixel_is_learnt_from(coins) -> None:
    dataset = coins()
    learnt = np.zeros((192, 192), bool)
    for region in dataset.train:
        learnt[region.rows, region.columns] = True
    windows, _ = plan_windows(dataset, window_px=64, most_pixels=10**9, seed=0)
    for window in windows:
        assert not learnt[window.region.rows, window.region.columns][window.core].any()


def stack_with_a_rare_class() -> Pair:
    labels = np.zeros((40, 64, 64), np.uint8)
    labels[::2, :32], labels[::2, 32:] = 1, 2
    labels[(4, 12, 20, 28), 50:60, 50:60] = 3
    return Pair(np.random.default_rng(0).random(labels.shape), labels, "ZYX", "stack")


def test_a_bounded_check_keeps_to_its_bound_and_sees_every_class() -> None:
    dataset = build_dataset([stack_with_a_rare_class()], held_out_fraction=0.5, crop_size_px=32)
    assert len(dataset.held_out) == 10
    windows, there = plan_windows(dataset, window_px=64, most_pixels=4 * 64 * 64, seed=3)
    assert (len(windows), there) == (4, 10)
    assert (sum(w.class_counts for w in windows) > 0).all()
    again, _ = plan_windows(dataset, window_px=64, most_pixels=4 * 64 * 64, seed=3)
    assert [w.region for w in again] == [w.region for w in windows]


def test_unlabelled_windows_cost_nothing() -> None:
    labels = np.zeros((1, 256, 1024), np.uint8)
    labels[0, 5:9, ::8], labels[0, 9:12, ::8] = 1, 2
    pair = Pair(np.random.default_rng(0).random(labels.shape), labels, "ZYX", "strokes")
    dataset = build_dataset([pair], crop_size_px=32)
    windows, _ = plan_windows(dataset, window_px=64, most_pixels=10**9, seed=0)
    assert windows
    assert all(w.region.rows.start < 12 for w in windows)


def test_a_check_says_so_when_it_leaves_windows_out(quick) -> None:
    dataset = build_dataset([stack_with_a_rare_class()], held_out_fraction=0.5, crop_size_px=32)
    predict = PredictConfig(tile_size_px=64)
    config = quick(batch_size=1, crop_size_px=32, validate_every=1)
    held_out = HeldOut(dataset, config, predict)
    assert "4 of 10 held-out windows" in (held_out.notice or "")
    assert HeldOut(dataset, quick(validate_every=100), predict).notice is None


def test_mean_dice_leaves_out_classes_that_are_not_true() -> None:
    scored = Scored(np.array([[8, 0, 2], [0, 10, 0], [0, 0, 0]]), 0.0)
    assert scored.dice[2] == 0
    assert scored.mean_dice == pytest.approx((16 / 18 + 1) / 2)


def test_checking_leaves_the_mode_as_it_was(coins, tiny_segmenter, quick) -> None:
    segmenter = tiny_segmenter(n_classes=2, adapter="lora").train()
    held_out = HeldOut(coins(), quick(), PredictConfig())
    loss = build_loss("ce_dice", [1, 1])
    records = [
        held_out.check(segmenter, loss, step=4, best=best, precision=nullcontext())
        for best in (None, 0.0, 1.0)
    ]
    assert segmenter.training
    assert len({record.mean_dice for record in records}) == 1
    assert [record.best for record in records] == [True, True, False]
    assert list(records[0].dice) == [info.name for info in segmenter.classes]
