from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude
from skimage.feature import hessian_matrix, hessian_matrix_eigvals
from torch import Tensor, nn

from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.models.detail import REACH_PX, SCALES_PX, DetailHead, pixel_features
from napari_sam2_adapters.models.segmenter import Segmenter

Build = Callable[..., Segmenter]
FAMILIES = ("hiera", "mobile")


def moved_head(channels: int = 1) -> DetailHead:
    """A head whose every tensor was drawn."""
    head = DetailHead(2, channels)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return head.eval()


def photograph(side: int) -> Tensor:
    """The sample's first image (1, 1, side, side), between 0 and 1."""
    image = load_sample("fluorescence").train_images[0].astype(np.float32)
    return torch.from_numpy(image / image.max())[None, None, :side, :side]


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_fresh_head_changes_nothing(segmenter_of: Build, family: str) -> None:
    image = photograph(96)
    with_head, without = (segmenter_of(family, detail=detail) for detail in ("pixels", "none"))
    assert with_head.detail is not None
    assert without.detail is None
    assert torch.equal(with_head(image), without(image))


@pytest.mark.parametrize("family", FAMILIES)
def test_it_learns_whole_and_leaves_the_rest_alone(segmenter_of: Build, family: str) -> None:
    segmenter = segmenter_of(family, decoder="frozen", detail="pixels")
    head = segmenter.detail
    assert head is not None
    nn.init.normal_(head.logits.weight)  # behind zeros nothing gets a gradient in the first step
    segmenter(photograph(64)).square().mean().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    group = {id(p) for p in segmenter.parameter_groups()["detail"]}
    assert {id(p) for p in head.parameters()} == group
    names = {
        name.removeprefix("detail.")
        for name in segmenter.trained_parameters()
        if name.startswith("detail.")
    }
    assert names == set(dict(head.named_parameters()))


@pytest.mark.parametrize(("adapter", "has"), [("hp", True), ("lw", False), ("lora", False)])
def test_unless_told_otherwise_the_most_accurate_adapter_has_it(
    segmenter_of: Build, adapter: str, has: bool
) -> None:
    assert (segmenter_of("hiera", adapter).detail is not None) == has
    assert segmenter_of("hiera", adapter, detail="none").detail is None
    assert segmenter_of("hiera", adapter, detail="pixels").detail is not None


def test_it_draws_lines_of_one_pixel() -> None:
    """What no bilinear picture of stride 4 can hold: lines 1 px wide and 4 px apart, beside an even half."""
    image = torch.zeros(1, 1, 64, 64)
    image[..., ::4, :32] = 1
    target = (image[:, 0] > 0).long()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = DetailHead(2, 1)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(80):
        loss = F.cross_entropy(head(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (head(image).argmax(1) == target).float().mean() > 0.99
    coarse = F.interpolate(F.avg_pool2d(target[:, None].float(), 4), (64, 64), mode="bilinear")
    assert ((coarse > 0.5) == target[:, None]).float().mean() < 0.9


@torch.no_grad()
def test_a_pixel_sees_no_further_than_it_says() -> None:
    head, image = moved_head(), torch.zeros(1, 1, 160, 160)
    before = head(image)
    for row, column in ((80, 80), (81, 80), (80, 83), (78, 79)):
        touched = image.clone()
        touched[..., row, column] = 1
        rows, columns = (head(touched) != before)[0].any(0).nonzero().T
        assert (rows - row).abs().max() <= REACH_PX
        assert (columns - column).abs().max() <= REACH_PX
        assert len(rows) > 1


@torch.no_grad()
def test_its_part_of_a_tile_is_its_part_of_the_whole() -> None:
    """Apart from a rim of its reach, which sees the edge of the tile in place of the image."""
    head, image = moved_head(), photograph(256)
    whole, tile = head(image), head(image[..., 64:192, 64:192])
    rim = REACH_PX
    wanted = whole[..., 64 + rim : 192 - rim, 64 + rim : 192 - rim]
    torch.testing.assert_close(tile[..., rim:-rim, rim:-rim], wanted, rtol=1e-4, atol=1e-5)
    assert wanted.std() > 0


@torch.no_grad()
def test_its_features_are_those_of_a_forest() -> None:
    """Each follows what SciPy and scikit-image compute at full resolution, also where the head computes it at a lower one."""
    image = photograph(256)
    plane = image[0, 0].double().numpy()
    found = pixel_features(image)[0].double().numpy()
    assert found.shape == (1 + 4 * len(SCALES_PX), 256, 256)
    finer, inside = plane, (slice(48, -48), slice(48, -48))

    def agreement(index: int, wanted: NDArray[np.floating]) -> float:
        return float(np.corrcoef(found[index][inside].ravel(), wanted[inside].ravel())[0, 1])

    for scale, sigma in enumerate(SCALES_PX):
        smoothed = gaussian_filter(plane, sigma)
        larger, smaller = hessian_matrix_eigvals(
            hessian_matrix(plane, sigma, use_gaussian_derivatives=True)
        )
        gradient = gaussian_gradient_magnitude(plane, sigma)
        for place, wanted in enumerate((finer - smoothed, gradient, larger, smaller)):
            assert agreement(1 + 4 * scale + place, wanted) > 0.95, (sigma, place)
        finer = smoothed
    assert agreement(0, finer) > 0.99


@torch.no_grad()
def test_its_features_are_computed_in_full_precision() -> None:
    image = photograph(128)
    with torch.autocast("cpu", torch.bfloat16):
        found = pixel_features(image)
    assert torch.equal(found, pixel_features(image))


@torch.no_grad()
def test_colours_are_told_apart() -> None:
    """Two colours of one brightness give different logits."""
    head = moved_head(3)
    red, green = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    red[:, 0], green[:, 1] = 1, 1
    assert (head(red) - head(green)).abs().min() > 0.01


def test_tiled_is_whole_with_a_head_that_has_learnt(
    segmenter_of: Build, disturbed: Build, agreement_of_tiles: Callable[[Segmenter], float]
) -> None:
    shares = {
        detail: agreement_of_tiles(disturbed(segmenter_of("mobile", detail=detail), 0.02))
        for detail in ("none", "pixels")
    }
    # Tiles never agree wholly, since the decoder's attention sees the whole tile; the head must not make it worse.
    assert shares["pixels"] > 0.9
    assert shares["pixels"] > shares["none"] - 0.02, shares


@pytest.mark.parametrize("adapter", ["hp", "lw", "lora"])
@torch.no_grad()
def test_folded_it_says_the_same(
    segmenter_of: Build, disturbed: Build, relative: Callable[[Tensor, Tensor], float], adapter: str
) -> None:
    segmenter, image = disturbed(segmenter_of("mobile", adapter, detail="pixels")), photograph(96)
    wanted = segmenter(image)
    folded = segmenter.folded()
    assert relative(folded(image), wanted) <= 1e-5
    assert torch.equal(segmenter(image), wanted)
    assert not folded.trained_parameters()


@pytest.mark.parametrize(
    "settings", [{"input_scale": 2.0}, {"input_scale": 0.5}, {"input_channels": 5}]
)
@pytest.mark.parametrize("size", [(2, 2), (33, 70), (49, 31)])
@torch.no_grad()
def test_any_image_goes_through(
    segmenter_of: Build, disturbed: Build, settings: dict[str, Any], size: tuple[int, int]
) -> None:
    segmenter = disturbed(segmenter_of("hiera", detail="pixels", **settings))
    logits = segmenter(torch.rand(2, segmenter.config.input_channels, *size))
    assert logits.shape == (2, 3, *size)
    assert logits.isfinite().all()
