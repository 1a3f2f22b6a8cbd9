"""What the segmenter asks of a frozen encoder, and SAM2's Hiera behind it.

Adapters, PEG and LoRA attach through four calls, so a new backbone is one class. SAM2's own modules are used as they are
and changed in place, but for how attention puts its layers together: nothing of their code stands here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2_adapters.models.adapters import ParallelAdapter
from napari_sam2_adapters.models.hiera_attention import HieraAttention
from napari_sam2_adapters.models.position import AfterBlock

__all__ = ["Backbone", "Features", "HieraBackbone", "HieraShape", "pad_to_multiple", "resize"]

DECODER_WIDTH = 256
"""Channels of the stride-16 map that SAM's mask decoder reads."""


class Features(NamedTuple):
    """Feature maps of one image batch, each (B, C, H/stride, W/stride)."""

    stride4: Tensor
    stride8: Tensor
    stride16: Tensor


class Backbone(Protocol):
    """A frozen encoder with places for adapters."""

    size_multiple: int
    """Height and width of the input must be multiples of this (px)."""
    feature_widths: tuple[int, int]
    """Channels of the stride-4 and stride-8 maps."""
    attention_layers: tuple[str, ...]
    """Attribute names of the attention's Linears that LoRA updates."""

    def forward(self, image: Tensor) -> Features:
        """(B, 3, H, W), ImageNet-normalised, to features."""

    def add_adapters(self, make: Callable[[int], nn.Module]) -> None:
        """Put ``make(width)`` beside the MLP of every block."""

    def add_position(self, make: Callable[[int], nn.Module]) -> None:
        """Put ``make(width)`` once after the first block."""

    def add_projections(self) -> None:
        """Add the trained layers that this backbone needs to feed SAM's decoder; they start at zero."""

    def blocks(self) -> list[nn.Module]:
        """The trunk's blocks, each with all that was put beside or after it."""

    def drop_absolute_position(self) -> None:
        """Remove the backbone's own position embedding (PEG mode of the paper)."""


@dataclass(frozen=True)
class HieraShape:
    """Sizes of a Hiera trunk, named as in the SAM2 configuration files."""

    embed_dim: int
    num_heads: int
    stages: tuple[int, int, int, int]
    window_spec: tuple[int, int, int, int]
    global_att_blocks: tuple[int, ...]
    window_pos_embed_bkg_spatial_size: tuple[int, int]

    @property
    def stage_widths(self) -> tuple[int, int, int, int]:
        """Channels after each of the four stages."""
        e = self.embed_dim
        return (e, 2 * e, 4 * e, 8 * e)


class _NoPosition(nn.Module):
    """Stands for the neck's sine encoding, which only SAM2's video memory reads."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(())


class HieraBackbone(nn.Module):
    """SAM2's Hiera trunk and FPN neck.

    Parameters
    ----------
    shape
        Sizes of the trunk.

    Notes
    -----
    The neck's stride-32 level is dropped after it has been added to stride 16 (SAM2's ``scalp=1``), and ``no_mem_embed`` is
    added to the stride-16 map, as SAM2 does for single images.
    """

    # Hiera tiles an 8×8 window embedding over the stride-4 grid by floor division.
    size_multiple = 32
    feature_widths = (DECODER_WIDTH, DECODER_WIDTH)
    attention_layers: tuple[str, ...] = ("qkv",)

    def __init__(self, shape: HieraShape) -> None:
        super().__init__()
        from sam2.modeling.backbones.hieradet import Hiera
        from sam2.modeling.backbones.image_encoder import FpnNeck

        self.trunk = Hiera(
            embed_dim=shape.embed_dim,
            num_heads=shape.num_heads,
            stages=shape.stages,
            window_spec=shape.window_spec,
            global_att_blocks=shape.global_att_blocks,
            window_pos_embed_bkg_spatial_size=shape.window_pos_embed_bkg_spatial_size,
        )
        for block in self.trunk.blocks:
            block.attn = HieraAttention(block.attn)
        self.neck = FpnNeck(
            position_encoding=_NoPosition(),
            d_model=DECODER_WIDTH,
            backbone_channel_list=list(shape.stage_widths[::-1]),
            fpn_top_down_levels=[2, 3],
            fpn_interp_model="nearest",
        )
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, DECODER_WIDTH))

    def forward(self, image: Tensor) -> Features:
        """(B, 3, H, W), H and W multiples of 32, to features of 256 channels each."""
        (stride4, stride8, stride16, _), _ = self.neck(self.trunk(image))
        return Features(stride4, stride8, stride16 + self.no_mem_embed.view(1, -1, 1, 1))

    def add_adapters(self, make: Callable[[int], nn.Module]) -> None:
        """Put ``make(width)`` beside the MLP of every block."""
        for block in self.trunk.blocks:
            block.mlp = ParallelAdapter(block.mlp, make(block.dim_out))

    def add_position(self, make: Callable[[int], nn.Module]) -> None:
        """Put ``make(width)`` once after the first block."""
        first = self.trunk.blocks[0]
        self.trunk.blocks[0] = AfterBlock(first, make(first.dim_out), channels_last=True)

    def add_projections(self) -> None:
        """Nothing to add: SAM2's neck and decoder fit each other."""

    def blocks(self) -> list[nn.Module]:
        """All blocks, in order."""
        return list(self.trunk.blocks)

    def drop_absolute_position(self) -> None:
        """Set the trunk's position embedding to zero."""
        for embedding in (self.trunk.pos_embed, self.trunk.pos_embed_window):
            nn.init.zeros_(embedding)


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Mirror the right and bottom edge until height and width are multiples of ``multiple``.

    Parameters
    ----------
    image
        (B, C, H, W), H and W at least 2. Images smaller than the padding are mirrored more than once.
    multiple
        Side in pixels that the result is a multiple of.
    """
    for axis in (2, 3):
        size = image.shape[axis]
        missing = -size % multiple
        if missing:
            position = torch.arange(size + missing, device=image.device) % (2 * (size - 1))
            mirrored = torch.where(position < size, position, 2 * (size - 1) - position)
            image = image.index_select(axis, mirrored)
    return image


def resize(image: Tensor, height: int, width: int) -> Tensor:
    """Resize (B, C, H, W) bilinearly, smoothed when it shrinks."""
    if image.shape[2:] == (height, width):
        return image
    shrinks = height < image.shape[2] or width < image.shape[3]
    # On Apple's GPU the smoothing has no backward (PyTorch issue 141287).
    source = image.cpu() if shrinks and image.device.type == "mps" else image
    resized = F.interpolate(
        source, (height, width), mode="bilinear", align_corners=False, antialias=shrinks
    )
    return resized.to(image.device)
