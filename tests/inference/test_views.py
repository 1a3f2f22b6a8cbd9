from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from napari_sam2_adapters.inference.views import over_views

KINDS = pytest.mark.parametrize("views", ["flips_and_turns", "tilts_and_zooms"])


def smooth(height: int, width: int) -> Tensor:
    """Two images of one channel, 0.2 to 0.8, with nothing finer than some ten pixels and nothing symmetric."""
    rows = torch.arange(height).view(-1, 1) / height
    columns = torch.arange(width).view(1, -1) / width
    first = 0.5 + 0.3 * torch.sin(3 * rows + 5 * columns**2)
    second = 0.5 + 0.3 * torch.cos(4 * rows**2 - 2 * columns)
    return torch.stack([first, second]).unsqueeze(1)


def pointwise(image: Tensor) -> Tensor:
    """Logits whose softmax is the grey value and what it lacks to one."""
    return torch.cat([image, 1 - image], dim=1).log()


@KINDS
@pytest.mark.parametrize("shape", [(64, 64), (48, 90), (90, 48)])
def test_every_view_comes_back_to_where_it_was_seen(views, shape):
    image = smooth(*shape)
    found = over_views(pointwise, image, views).exp()
    assert found.shape == (2, 2, *shape)
    torch.testing.assert_close(found.sum(1), torch.ones(2, *shape), rtol=0, atol=1e-5)
    inner = (slice(None), 0, slice(6, -6), slice(6, -6))
    torch.testing.assert_close(found[inner], image[inner], rtol=0, atol=4e-3)
    torch.testing.assert_close(found[:, 0], image[:, 0], rtol=0, atol=0.03)  # edges are mirrored


def test_views_lie_where_they_are_seen_also_in_bfloat16():
    """The pass itself may be in it; its eight bits cannot say where a pixel of a large tile lies."""
    image = smooth(448, 448)
    exact = over_views(pointwise, image, "tilts_and_zooms")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = over_views(pointwise, image, "tilts_and_zooms")
    assert torch.equal(found, exact)


def test_one_view_is_the_networks_own_word():
    image = smooth(20, 30)
    assert torch.equal(over_views(pointwise, image, "none"), pointwise(image))


@pytest.mark.parametrize("views", ["none", "flips_and_turns", "tilts_and_zooms"])
def test_each_view_differs_from_the_others(views):
    seen = []

    def remember(image: Tensor) -> Tensor:
        seen.append(image)
        return pointwise(image)

    over_views(remember, smooth(40, 40), views)
    assert len(seen) == {"none": 1, "flips_and_turns": 8, "tilts_and_zooms": 5}[views]
    for one, other in pairwise(seen):
        assert one.shape != other.shape or not torch.allclose(one, other, atol=0.02)


def test_a_tilt_shows_the_whole_tile():
    """Marks in the corners are seen in each view, once at least."""
    image = torch.full((1, 1, 60, 100), 0.1)
    for row in (slice(0, 6), slice(-6, None)):
        for column in (slice(0, 6), slice(-6, None)):
            image[..., row, column] = 0.9
    corners = []

    def count(view: Tensor) -> Tensor:
        height, width = view.shape[2:]
        halves = (slice(0, height // 2), slice(height // 2, None))
        sides = (slice(0, width // 2), slice(width // 2, None))
        corners.append([float(view[..., r, c].max()) for r in halves for c in sides])
        return pointwise(view)

    over_views(count, image, "tilts_and_zooms")
    assert len(corners) == 5
    assert min(map(min, corners)) > 0.7


def test_tilts_keep_left_and_right_apart():
    """A network that tells the left half from the right one is not turned round, as flips would turn it."""

    def left(view: Tensor) -> Tensor:
        is_left = (torch.arange(view.shape[3]) < view.shape[3] / 2).expand(view.shape)
        return torch.cat([6.0 * is_left, 6.0 * ~is_left], dim=1)

    image = torch.zeros(1, 1, 64, 64)
    tilted = over_views(left, image, "tilts_and_zooms").exp()[0, 0]
    assert tilted[:, :20].min() > 0.9
    assert tilted[:, -20:].max() < 0.1
    turned = over_views(left, image, "flips_and_turns").exp()[0, 0]
    torch.testing.assert_close(turned, torch.full((64, 64), 0.5))


@KINDS
def test_a_class_that_no_view_sees_has_a_finite_logit(views):
    def sure(view: Tensor) -> Tensor:
        return torch.cat([torch.full_like(view, 200.0), torch.full_like(view, -200.0)], dim=1)

    found = over_views(sure, torch.zeros(1, 1, 32, 32), views)
    assert found.isfinite().all()
    assert found[:, 0].abs().max() < 1e-5
    assert found[:, 1].max() < math.log(1e-30)
