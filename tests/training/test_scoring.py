from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_sam2_adapters.metrics import confusion_matrix
from napari_sam2_adapters.training.losses import Loss, build_loss
from napari_sam2_adapters.training.scoring import Scored, score_windows
from napari_sam2_adapters.training.windows import Window, labelled_windows


def test_the_score_is_that_of_the_whole_held_out_part(coins, tiny_segmenter) -> None:
    dataset, segmenter = coins(), tiny_segmenter(n_classes=2)
    windows = labelled_windows(dataset, 448)
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
    assert len(windows) == 1
    assert np.array_equal(scored.confusion, expected)
    target = torch.from_numpy(truth.astype(np.int64))[None]
    assert scored.loss == pytest.approx(loss(logits, target, 1.0).item(), rel=1e-5)
    assert scored.pixels == truth.size


@pytest.mark.parametrize("batch_size", [1, 3])
def test_windows_share_no_pixel_and_leave_none_out(coins, tiny_segmenter, batch_size: int) -> None:
    dataset = coins(0.4)
    windows = labelled_windows(dataset, 64)
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


def test_mean_dice_leaves_out_classes_that_are_not_true() -> None:
    scored = Scored(np.array([[8, 0, 2], [0, 10, 0], [0, 0, 0]]), 0.0)
    assert scored.dice[2] == 0
    assert scored.mean_dice == pytest.approx((16 / 18 + 1) / 2)


def test_scores_of_two_parts_are_those_of_the_whole(coins, tiny_segmenter) -> None:
    dataset, segmenter = coins(0.4), tiny_segmenter(n_classes=2)
    windows, loss = labelled_windows(dataset, 64), build_loss("paper", [1, 1])

    def score(some: list[Window]) -> Scored:
        return score_windows(segmenter, dataset, some, loss, batch_size=1, precision=nullcontext())

    whole, joined = score(windows), score(windows[:1]) + score(windows[1:])
    assert np.array_equal(joined.confusion, whole.confusion)
    assert joined.loss == pytest.approx(whole.loss)
    alone = score(windows) + score([])
    assert (alone.pixels, alone.loss) == (whole.pixels, pytest.approx(whole.loss))
    assert np.isnan((whole + Scored(whole.confusion)).loss)


def test_a_loss_that_does_not_fit_is_computed_by_the_cpu(coins, tiny_segmenter) -> None:
    dataset, segmenter = coins(0.4), tiny_segmenter(n_classes=2)
    windows, loss, calls = labelled_windows(dataset, 64), build_loss("paper", [1, 1]), []

    def full_at_first(logits: Tensor, truth: Tensor, progress: float) -> Tensor:
        calls.append(logits.device)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory (staged)")
        return loss(logits, truth, progress)

    def score(by: Loss) -> Scored:
        bias = np.tile(np.float32([0, 3]), (len(windows), 1))
        return score_windows(
            *(segmenter, dataset, windows, by),
            batch_size=4,
            precision=nullcontext(),
            class_bias=bias,
        )

    expected, found = score(loss), score(full_at_first)
    assert np.array_equal(found.confusion, expected.confusion)
    assert found.loss == pytest.approx(expected.loss)


@pytest.mark.parametrize(("fits", "passes"), [(3, [4, 2, 2]), (1, [4, 2, 1, 1, 2, 1, 1])])
def test_windows_that_do_not_fit_together_go_in_halves(
    coins, tiny_segmenter, fits: int, passes: list[int]
) -> None:
    dataset, segmenter = coins(0.4), tiny_segmenter(n_classes=2)
    windows = labelled_windows(dataset, 64)
    windows = [w for w in windows if w.region.rows.stop - w.region.rows.start == 64][:4]
    loss = build_loss("paper", [1, 1])

    def score() -> Scored:
        return score_windows(
            segmenter, dataset, windows, loss, batch_size=4, precision=nullcontext()
        )

    wanted, seen = score(), []

    def full(module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(len(inputs[0]))
        if len(inputs[0]) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory (staged)")

    segmenter.register_forward_pre_hook(full)
    got = score()
    assert seen == passes
    assert np.array_equal(got.confusion.sum(axis=1), wanted.confusion.sum(axis=1))
    # Logits of other batches are rounded otherwise, and this network is undecided nearly everywhere.
    assert np.abs(got.confusion - wanted.confusion).max() < 10
    assert got.loss == pytest.approx(wanted.loss, rel=1e-5)
    fits = 0
    with pytest.raises(MemoryError, match=r"window of 64×64 px .* Choose a smaller tile"):
        score()
