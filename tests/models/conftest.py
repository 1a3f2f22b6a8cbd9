"""Parts of both families, small or shipped, and the same network with and without what is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from napari_sam2_adapters.config import (
    ModelConfig,
    Normalization,
    PredictConfig,
    default_classes,
)
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.inference.predict import predict
from napari_sam2_adapters.models.backbone import HieraBackbone, HieraShape
from napari_sam2_adapters.models.backbone_files import find_weights
from napari_sam2_adapters.models.checkpoints import build_segmenter, load_backbone
from napari_sam2_adapters.models.decoder import SamHeads
from napari_sam2_adapters.models.mobile import MobileBackbone
from napari_sam2_adapters.models.model_file import save_adapter
from napari_sam2_adapters.models.segmenter import Segmenter, assemble

SMALL_HIERA = HieraShape(
    embed_dim=16,
    num_heads=1,
    stages=(1, 1, 2, 1),
    # Even up to the last stage: the block that pools halves the window of the stage before it.
    window_spec=(8, 4, 14, 7),
    global_att_blocks=(3,),
    window_pos_embed_bkg_spatial_size=(7, 7),
)


def load_parts(family: str) -> tuple[HieraBackbone | MobileBackbone, SamHeads]:
    if family == "mobile":
        backbone, heads, _ = load_backbone("mobile", find_weights("mobile"))
        return backbone.eval(), heads.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        hiera, heads = HieraBackbone(SMALL_HIERA), SamHeads(sam2=True)
        for zeros in (hiera.trunk.pos_embed, hiera.trunk.pos_embed_window, hiera.no_mem_embed):
            nn.init.normal_(zeros, std=0.1)
    return hiera.eval(), heads.eval()


def build(family: str, adapter: str = "lw", n_classes: int = 3, **settings: Any) -> Segmenter:
    config = ModelConfig(
        backbone="mobile" if family == "mobile" else "tiny", adapter=adapter, **settings
    )
    backbone, heads = load_parts(family)
    return assemble(backbone, heads, config, default_classes(list(range(1, n_classes + 1))))


@torch.no_grad()
def disturb(segmenter: Segmenter, size: float = 0.05) -> Segmenter:
    """Move every trained tensor, so that nothing is left at its start."""
    generator = torch.Generator().manual_seed(11)
    for parameter in segmenter.trained_parameters().values():
        parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=size)
    return segmenter


@pytest.fixture
def parts() -> Callable[[str], tuple[HieraBackbone | MobileBackbone, SamHeads]]:
    """Pretrained parts before anything was added: ``parts("hiera")`` or ``parts("mobile")``."""
    return load_parts


@pytest.fixture
def segmenter_of() -> Callable[..., Segmenter]:
    """Factory: ``segmenter_of("hiera" | "mobile", adapter="hp", n_classes=3, **ModelConfig fields)``."""
    return build


@pytest.fixture
def disturbed() -> Callable[..., Segmenter]:
    """Add noise to all that is trained in a segmenter: ``disturbed(segmenter, size=0.05)``."""
    return disturb


@pytest.fixture
def relative() -> Callable[[torch.Tensor, torch.Tensor], float]:
    """Largest difference as a share of the largest wanted value."""
    return lambda got, wanted: float((got - wanted).abs().max() / wanted.abs().max())


@pytest.fixture(scope="session")
def official_tiny() -> dict[str, torch.Tensor]:
    """The state of SAM2.1 tiny as the official file holds it, with random weights."""
    from sam2.build_sam import build_sam2

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model: nn.Module = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu")
        return {
            name: torch.randn_like(tensor) * 0.02 for name, tensor in model.state_dict().items()
        }


@pytest.fixture
def hollow_tiny(official_tiny: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same names and shapes, each tensor one number repeated without memory: a file of 0.2 MB."""
    return {
        name: tensor.reshape(-1)[:1].clone().expand(tensor.numel()).view(tensor.shape)
        for name, tensor in official_tiny.items()
    }


@pytest.fixture(scope="session")
def trained_mobile() -> Segmenter:
    """A network on mobile whose every trained tensor was moved: two channels, classes 0, 3 and 7."""
    config = ModelConfig(adapter="lw", input_channels=2, decoder="frozen")
    return disturb(build_segmenter(config, default_classes([0, 3, 7])), 0.02)


@pytest.fixture(scope="session")
def saved_mobile(trained_mobile: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its model file."""
    path = tmp_path_factory.mktemp("saved") / "cells.adapter.safetensors"
    normalization = Normalization(mode="range", low=0, high=4095)
    save_adapter(path, trained_mobile, normalization=normalization, tile_size_px=224)
    return path


def draw_deformable(dtype: torch.dtype, reach: float, device: str = "cpu") -> list[Tensor]:
    """Image 7×5 with 6 channels, shifts with a standard deviation of ``reach`` px, mask, weight and bias."""
    g = torch.Generator().manual_seed(0)
    shapes = [(2, 6, 7, 5), (2, 18, 7, 5), (2, 9, 7, 5), (4, 6, 3, 3), (4,)]
    tensors = [torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes]
    tensors[1] *= reach
    tensors[2] = 2 * tensors[2].sigmoid()
    return [t.to(device, dtype).requires_grad_() for t in tensors]


@pytest.fixture
def deformable_inputs() -> Callable[..., list[Tensor]]:
    """What a deformable convolution takes, by dtype, reach of the shifts in px, and device."""
    return draw_deformable


@pytest.fixture
def equals_torchvision() -> Callable[[Callable[..., Tensor], float], None]:
    """Holds values and gradients of a deformable convolution to torchvision's, for shifts of some reach."""

    def check(convolution: Callable[..., Tensor], reach: float) -> None:
        ours, theirs = (draw_deformable(torch.float64, reach) for _ in range(2))
        got = convolution(*ours)
        x, offsets, mask, weight, bias = theirs
        wanted = deform_conv2d(x, offsets, weight, bias, padding=1, mask=mask)
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10)

        towards = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1)).double()
        got.backward(towards)
        wanted.backward(towards)
        names = ("x", "offsets", "mask", "weight", "bias")
        for name, a, b in zip(names, ours, theirs, strict=True):
            assert a.grad is not None
            assert b.grad is not None
            assert b.grad.abs().max() > 0, name
            torch.testing.assert_close(
                a.grad, b.grad, rtol=0, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
            )

    return check


@pytest.fixture
def agreement_of_tiles() -> Callable[[Segmenter], float]:
    """Share of the pixels of the sample's first image (256 px) that get the same class in one tile as in tiles of 192 px."""

    def share(segmenter: Segmenter) -> float:
        image = load_sample("fluorescence").train_images[0]
        whole, tiled = (
            predict(
                segmenter,
                image,
                normalization=Normalization(mode="range", low=0, high=float(image.max())),
                config=PredictConfig(tile_size_px=side, overlap=0.5),
            ).labels
            for side in (256, 192)
        )
        assert len(np.unique(whole)) > 1
        return float((whole == tiled).mean())

    return share
