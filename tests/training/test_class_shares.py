"""The estimate of how much each class covers, on numbers whose classes and shares are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from napari_sam2_adapters.training.class_shares import ClassShares


def strokes(n_labelled: int, size: int, share: float) -> tuple[Tensor, Tensor]:
    """Logits of a perfect reader of one number per pixel, for classes that are as common, and labels.

    Class 1 covers ``share`` of the pixels, and half of those that are labelled; numbers are drawn around -2 and 2.
    """
    generator = torch.Generator().manual_seed(0)
    truth = (torch.rand(1, size, size, generator=generator) < share).long()
    numbers = torch.randn(1, size, size, generator=generator) + 4 * truth - 2
    labels = torch.full_like(truth, -1)
    for index in (0, 1):
        places = (truth == index).nonzero()[:n_labelled]
        labels[tuple(places.T)] = index
    return torch.stack([-2 * numbers, 2 * numbers], dim=1), labels


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_the_shares_are_found_beside_strokes_that_are_half_and_half(share: float) -> None:
    fitted, labels = strokes(50, 200, share)
    shares = ClassShares(2)
    for _ in range(200):
        # What a network learns whose logits fit the strokes once they are corrected.
        logits = fitted - shares.correction().view(1, -1, 1, 1)
        shares.update(logits, labels, estimate=True)
    state = shares.state()
    every = state["labelled"] + state["unlabelled"]
    assert float(every[1] / every.sum()) == pytest.approx(share, rel=0.15)
    expected = [math.log(0.5 / (1 - share)), math.log(0.5 / share)]
    torch.testing.assert_close(shares.correction(), torch.tensor(expected), rtol=0, atol=0.15)


def test_dense_labels_and_guesses_correct_nothing() -> None:
    logits, labels = strokes(50, 40, 0.3)
    shares = ClassShares(2)
    for _ in range(3):
        shares.update(logits, labels.clamp(min=0), estimate=True)
        assert shares.correction().tolist() == [0, 0]
    shares = ClassShares(2)
    shares.update(logits, labels, estimate=False)
    assert shares.correction().tolist() == [0, 0]


def test_a_class_without_labels_is_left_alone_and_none_can_vanish() -> None:
    logits = torch.zeros(1, 3, 100, 100)
    logits[:, 0] = 50
    labels = torch.full((1, 100, 100), -1)
    labels[:, 0, :50] = 1
    shares = ClassShares(3)
    for _ in range(100):
        shares.update(logits, labels, estimate=True)
    assert shares.correction().tolist() == pytest.approx([0, math.log(100), 0])


def test_what_was_counted_is_put_back() -> None:
    logits, labels = strokes(50, 40, 0.3)
    one, other = ClassShares(2), ClassShares(2)
    one.update(logits, labels, estimate=True)
    saved = one.state()
    other.load(saved)
    assert torch.equal(one.correction(), other.correction())
    one.update(-logits, labels, estimate=True)
    assert not torch.equal(one.correction(), other.correction())
    one.load(saved)
    assert torch.equal(one.correction(), other.correction())
