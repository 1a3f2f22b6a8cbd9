"""Cases of `performance.py` against plain SAM2: its encoder, its image predictor, its own full fine-tuning.

All networks have the official shape of SAM2.1 tiny with random weights: speed does not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from sam2.build_sam import build_sam2
from sam2.sam2_image_predictor import SAM2ImagePredictor
from torchvision.ops import deform_conv2d

from napari_sam2_adapters.config import ClassInfo, ModelConfig, PredictConfig, default_classes
from napari_sam2_adapters.inference.predict import predict
from napari_sam2_adapters.models import backbone as backbone_module
from napari_sam2_adapters.models import segmenter as segmenter_module
from napari_sam2_adapters.models.backbone import HieraBackbone
from napari_sam2_adapters.models.backbone_files import BACKBONES
from napari_sam2_adapters.models.decoder import SamHeads
from napari_sam2_adapters.models.deformable import deformable_convolution
from napari_sam2_adapters.models.segmenter import Segmenter, assemble

__all__ = ["CLASSES", "MAKERS", "image_to_labels", "plain_sam2", "step", "tiny"]

CLASSES = default_classes([1, 2, 3])

Run = Callable[[], object]


def tiny(
    adapter: str, classes: tuple[ClassInfo, ...] = CLASSES, *, own_linear: bool = True
) -> Segmenter:
    """SAM2 tiny's official shape with random weights; without ``own_linear`` with PyTorch's linear layers and its attention, as SAM2 has them."""
    shape = BACKBONES["tiny"].shape
    if shape is None:
        raise SystemExit("The backbone tiny has no shape.")
    config = ModelConfig(backbone="tiny", adapter=adapter)
    with ExitStack() as patches:
        if not own_linear:
            patches.enter_context(patch.object(segmenter_module, "use_onednn"))
            patches.enter_context(patch.object(backbone_module, "HieraAttention", lambda own: own))
        network = assemble(HieraBackbone(shape), SamHeads(sam2=True), config, classes)
    return network.to(memory_format=torch.channels_last)


def step(segmenter: Segmenter, size: int = 224, batch_size: int = 4) -> Run:
    """One optimiser step of what learns."""
    segmenter.train()
    optimizer = torch.optim.AdamW(segmenter.trained_parameters().values(), lr=1e-4)
    batch = torch.rand(batch_size, 1, size, size)

    def run() -> None:
        optimizer.zero_grad()
        segmenter(batch).square().mean().backward()
        optimizer.step()

    return run


def image_to_labels(segmenter: Segmenter, *, own_linear: bool = True, side: int = 448) -> Run:
    """A square image to labels, the whole way, with tiles of 448 px; ``own_linear`` as the segmenter was made."""
    with nullcontext() if own_linear else patch.object(segmenter_module, "use_onednn"):
        network = segmenter.folded()
    image = np.random.default_rng(0).integers(0, 255, (side, side)).astype(np.uint8)
    return lambda: predict(network, image, axes="YX", config=PredictConfig(tile_size_px=448))


def _encoder(adapter: str) -> Callable[[], tuple[Run, Run]]:
    """Our encoder with its adapters, folded, against SAM2's own `ImageEncoder`."""

    def make() -> tuple[Run, Run]:
        ours = tiny(adapter).folded().backbone
        theirs = plain_sam2().image_encoder
        image = torch.rand(1, 3, 448, 448)

        @torch.inference_mode()
        def run_ours() -> object:
            return ours(image)

        @torch.inference_mode()
        def run_theirs() -> object:
            return theirs(image)

        return run_ours, run_theirs

    return make


def _whole_path() -> tuple[Run, Run]:
    """What SAM2's plugins do for one object: `set_image` and one click."""
    predictor = SAM2ImagePredictor(plain_sam2())
    image = np.random.default_rng(0).integers(0, 255, (448, 448, 3)).astype(np.uint8)

    def click() -> object:
        with torch.inference_mode():
            predictor.set_image(image)
            return predictor.predict(
                point_coords=np.array([[224, 224]]), point_labels=np.array([1])
            )

    return image_to_labels(tiny("lw")), click


def _deformable() -> tuple[Run, Run]:
    """Forward and backward at the size of the third stage at 448²."""
    generator = torch.Generator().manual_seed(0)
    channels, side = 96, 28
    x = torch.randn(1, channels, side, side, generator=generator, requires_grad=True)
    offsets = torch.randn(1, 18, side, side, generator=generator, requires_grad=True)
    mask = torch.rand(1, 9, side, side, generator=generator, requires_grad=True)
    weight = torch.randn(channels, channels, 3, 3, generator=generator, requires_grad=True)
    bias = torch.zeros(channels, requires_grad=True)
    inputs = (x, offsets, mask, weight, bias)

    def ours() -> object:
        return torch.autograd.grad(deformable_convolution(*inputs).square().mean(), inputs)

    def theirs() -> object:
        result = deform_conv2d(x, offsets, weight, bias, padding=1, mask=mask)
        return torch.autograd.grad(result.square().mean(), inputs)

    return ours, theirs


def _step_against_forward() -> tuple[Run, Run]:
    network = tiny("lw")
    batch = torch.rand(8, 1, 224, 224)

    @torch.no_grad()
    def forward() -> object:
        return network(batch)

    return step(network, batch_size=8), forward


def _step_against_everything() -> tuple[Run, Run]:
    everything = tiny("lw")
    everything.requires_grad_(True)
    return step(tiny("lw")), step(everything)


def plain_sam2() -> Any:
    """SAM2.1 tiny as its own configuration builds it, without weights."""
    return build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu")


MAKERS: dict[str, tuple[str, float, Callable[[], tuple[Run, Run]]]] = {
    "encoder_lw": ("SAM2's ImageEncoder, 448²", 1.05, _encoder("lw")),
    "encoder_hp": ("SAM2's ImageEncoder, 448²", 1.20, _encoder("hp")),
    "encoder_lora": ("SAM2's ImageEncoder, 448²", 1.02, _encoder("lora")),
    "image_lw": ("SAM2ImagePredictor.set_image and one predict, 448²", 0.25, _whole_path),
    "deformable": ("torchvision's deform_conv2d, forward and backward", 1 / 3, _deformable),
    "step_lw": (
        "forward of the same batch (224², 8) without gradients",
        2.2,
        _step_against_forward,
    ),
    "step_full": (
        "a step with every parameter trained (224², 4)",
        1 / 1.3,
        _step_against_everything,
    ),
}
"""Baseline, largest allowed ratio, and what makes the two runs, by name."""
