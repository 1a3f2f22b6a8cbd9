from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2_adapters.config import ModelConfig, Normalization, default_classes
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.models.model_file import load_adapter, save_adapter
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.models.unet import UNet

Build = Callable[..., Segmenter]


def seeded_unet(channels: int = 1) -> UNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UNet(2, channels, (8, 16, 32))


def moved_unet(channels: int = 1) -> UNet:
    net = seeded_unet(channels)
    nn.init.ones_(net.logits.weight[0])
    return net.eval()


def photograph(side: int) -> Tensor:
    """The sample's first image (1, 1, side, side), between 0 and 1."""
    image = torch.from_numpy(load_sample("fluorescence").train_images[0].astype("float32"))
    return (image / image.max())[None, None, :side, :side]


@pytest.mark.parametrize("adapter", ["hp", "lw", "lora"])
@torch.no_grad()
def test_a_fresh_one_changes_nothing(segmenter_of: Build, adapter: str) -> None:
    image = photograph(96)
    beside, without = (segmenter_of("mobile", adapter, detail=d) for d in ("unet", "none"))
    assert isinstance(beside.detail, UNet)
    assert torch.equal(beside(image), without(image))


def test_it_learns_whole_at_the_rate_of_what_is_new(segmenter_of: Build) -> None:
    segmenter = segmenter_of("hiera", decoder="frozen", detail="unet")
    net = segmenter.detail
    assert net is not None
    nn.init.normal_(net.logits.weight)  # behind zeros nothing gets a gradient in the first step
    segmenter(photograph(64)).square().mean().backward()
    groups = segmenter.parameter_groups()
    new = {id(p) for p in groups["new"]}
    assert not groups["detail"]
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
        assert id(parameter) in new


@pytest.mark.parametrize("size", [(2, 2), (16, 16), (33, 70), (64, 8)])
@torch.no_grad()
def test_any_image_goes_through(
    segmenter_of: Build, disturbed: Build, size: tuple[int, int]
) -> None:
    for channels in (1, 5):
        segmenter = disturbed(segmenter_of("hiera", detail="unet", input_channels=channels))
        logits = segmenter(torch.rand(2, channels, *size))
        assert logits.shape == (2, 3, *size)
        assert logits.isfinite().all()


def test_tiles_agree_nearly_as_without(
    segmenter_of: Build, disturbed: Build, agreement_of_tiles: Callable[[Segmenter], float]
) -> None:
    """It normalises over a tile, so something hangs on where tiles lie; SAM's attention, too, sees whole tiles."""
    shares = {
        detail: agreement_of_tiles(disturbed(segmenter_of("mobile", detail=detail), 0.02))
        for detail in ("none", "unet")
    }
    assert shares["unet"] > 0.9
    assert shares["unet"] > shares["none"] - 0.05, shares


def test_it_closes_a_line_that_single_pixels_do_not_show() -> None:
    """A line with gaps of 3 px, whose pixels look like the ground: only its course tells where it goes on."""
    target = torch.zeros(1, 64, 64, dtype=torch.long)
    target[:, 10::18] = 1
    image = target[:, None].float()
    image[..., torch.arange(64) % 12 < 3] = 0
    net = seeded_unet()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(60):
        loss = F.cross_entropy(net(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    gaps = (target == 1) & (image[:, 0] == 0)
    assert gaps.sum() > 20
    predicted = net(image).argmax(1)
    assert (predicted[gaps] == 1).float().mean() > 0.95
    assert (predicted == target).float().mean() > 0.98


@torch.no_grad()
def test_folded_and_read_from_a_file_it_says_the_same(
    disturbed: Build, relative: Callable[[Tensor, Tensor], float], tmp_path: Path
) -> None:
    config = ModelConfig(adapter="lw", detail="unet")
    segmenter = disturbed(build_segmenter(config, default_classes([1, 2])))
    image = photograph(96)
    wanted = segmenter(image)
    assert relative(segmenter.folded()(image), wanted) <= 1e-5
    path = tmp_path / "a.adapter.safetensors"
    scaled = Normalization(mode="range", low=0, high=255)
    save_adapter(path, segmenter, normalization=scaled, tile_size_px=224, half=True)
    assert path.stat().st_size < 8e6
    loaded, header = load_adapter(path)
    assert header.model.detail == "unet"
    assert header.format_version == 2  # programs of before are to say that they are too old
    assert relative(loaded(image), wanted) <= 1e-2


@torch.no_grad()
def test_colours_are_told_apart() -> None:
    net = moved_unet(3)
    red, green = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    red[:, 0], green[:, 1] = 1, 1
    assert (net(red) - net(green))[:, 0].abs().max() > 0.01
