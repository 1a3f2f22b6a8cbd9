"""The loss of unlabelled pixels against its formula, and what it does to strokes on a picture."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor

from napari_sam2_adapters.training.gated_crf import gated_crf_loss


@pytest.fixture
def crops() -> tuple[Tensor, Tensor, Tensor]:
    """Logits of three classes, images of two channels, and labels of a third of the pixels."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 3, 13, 9, generator=generator)
    images = torch.rand(2, 2, 13, 9, generator=generator)
    target = torch.randint(3, (2, 13, 9), generator=generator)
    return logits, images, torch.where(torch.rand(2, 13, 9, generator=generator) < 0.3, target, -1)


def by_the_formula(logits: Tensor, images: Tensor, target: Tensor) -> float:
    middle, spread = images.mean((2, 3), keepdim=True), images.std((2, 3), False, keepdim=True)
    values, p = (images - middle) / spread, logits.softmax(1)
    n, _, height, width = p.shape
    near = {
        (d * down, d * right): math.exp(-((d * down) ** 2 + (d * right) ** 2) / 72)
        for d in (1, 2, 4)
        for down, right in itertools.product((-1, 0, 1), repeat=2)
        if down or right
    }
    total = 0.0
    for b, y, x in itertools.product(range(n), range(height), range(width)):
        for (down, right), g in near.items():
            v, u = y + down, x + right
            if not (0 <= v < height and 0 <= u < width) or (target[b, [y, v], [x, u]] >= 0).all():
                continue
            unlike = (values[b, :, y, x] - values[b, :, v, u]).square().mean()
            total += g * float(torch.exp(-2 * unlike) * (1 - p[b, :, y, x] @ p[b, :, v, u]))
    return total / (n * height * width * sum(near.values()))


def test_it_is_its_formula(crops) -> None:
    logits, images, target = crops
    expected = by_the_formula(logits.double(), images.double(), target)
    assert expected > 0.05
    assert float(gated_crf_loss(logits, images, target)) == pytest.approx(expected, rel=1e-5)


def test_dense_labels_cost_nothing_and_move_nothing(crops) -> None:
    logits, images, _ = crops
    logits.requires_grad_()
    loss = gated_crf_loss(logits, images, torch.zeros(2, 13, 9, dtype=torch.int64))
    loss.backward()
    assert float(loss.detach()) == 0
    assert float(logits.grad.abs().max()) == 0


def test_brightness_and_contrast_of_a_crop_do_not_matter(crops) -> None:
    logits, images, target = crops
    factor = torch.tensor([[0.01, 300.0], [5.0, 0.2]]).view(2, 2, 1, 1)
    torch.testing.assert_close(
        gated_crf_loss(logits, images * factor + 7, target),
        gated_crf_loss(logits, images, target),
        rtol=1e-3,
        atol=0,
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (33, 7)])
def test_small_and_constant_crops_have_a_finite_gradient(shape: tuple[int, int]) -> None:
    logits = torch.randn(1, 2, *shape, requires_grad=True)
    loss = gated_crf_loss(logits, torch.full((1, 3, *shape), 0.5), torch.full((1, *shape), -1))
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    assert (float(loss.detach()) == 0) == (shape == (1, 1))  # a single pixel has no neighbour


def test_strokes_spread_to_what_looks_alike_on_a_picture() -> None:
    """Two strokes on coins and two between them: what is learnt of them alone says nothing about other pixels."""
    image = torch.from_numpy(data.coins()[60:220, 20:180] / 255).float()[None, None]
    truth = (F.avg_pool2d(image, 9, 1, 4)[:, 0] > 0.45).long()
    target = torch.full_like(truth, -1)
    target[:, 20::40] = truth[:, 20::40]
    right = []
    for weight in (0.0, 3.0):
        logits = torch.zeros(1, 2, 160, 160, requires_grad=True)
        optimizer = torch.optim.Adam([logits], lr=0.3)
        for _ in range(60):
            optimizer.zero_grad()
            loss = F.cross_entropy(logits, target, ignore_index=-1)
            (loss + weight * gated_crf_loss(logits, image, target)).backward()
            optimizer.step()
        right.append(float((logits[0].argmax(0) == truth[0])[target[0] < 0].float().mean()))
    # 0.66 and 0.91 when this was written.
    assert right[0] < 0.7
    assert right[1] > 0.85
