"""MobileSAM's encoder, the backbone that ships with the package: TinyViT-5M and a neck.

Zhang et al., *Faster Segment Anything* (arXiv 2306.14289). MobileSAM differs from TinyViT in one number: the last down-sampling has
stride 1, so that stage 4 stays at stride 16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2_adapters.models.adapters import ADAPTER_SCALE, ParallelAdapter
from napari_sam2_adapters.models.backbone import DECODER_WIDTH, Features
from napari_sam2_adapters.models.position import AfterBlock
from napari_sam2_adapters.models.tiny_vit import TinyVit

__all__ = ["MobileBackbone"]

_STAGE_WIDTHS = (64, 128, 160, 320)


class MobileBackbone(nn.Module):
    """TinyViT trunk and MobileSAM's neck.

    Notes
    -----
    MobileSAM's decoder reads the stride-16 map alone. `add_projections` gives it a lateral path from stage 3, and the
    segmenter two projections for strides 4 and 8; they start at zero, so that a fresh model is MobileSAM.
    """

    size_multiple = 16
    feature_widths = (_STAGE_WIDTHS[0], _STAGE_WIDTHS[1])
    attention_layers: tuple[str, ...] = ("qkv",)

    def __init__(self) -> None:
        super().__init__()
        from sam2.modeling.sam2_utils import LayerNorm2d

        self.trunk: Any = TinyVit(_STAGE_WIDTHS, depths=(2, 2, 6, 2), windows=(7, 14, 7))
        self.neck = nn.Sequential(
            nn.Conv2d(_STAGE_WIDTHS[3], DECODER_WIDTH, 1, bias=False),
            LayerNorm2d(DECODER_WIDTH),
            nn.Conv2d(DECODER_WIDTH, DECODER_WIDTH, 3, padding=1, bias=False),
            LayerNorm2d(DECODER_WIDTH),
        )
        self.lateral: nn.Conv2d | None = None

    def forward(self, image: Tensor) -> Features:
        """(B, 3, H, W), H and W multiples of 16, to features of 64, 128 and 256 channels."""
        maps = self.trunk(image)
        stride16 = self.neck(maps[3])
        if self.lateral is not None:
            stride16 = stride16 + self.lateral(maps[2])
        return Features(maps[0], maps[1], stride16)

    def add_adapters(self, make: Callable[[int], nn.Module]) -> None:
        """Put ``make(width)`` beside the MLP of every attention block and after every convolutional block."""
        first, *others = self.trunk.stages
        for i, block in enumerate(first.blocks):
            after = _OnNormalised(make(_STAGE_WIDTHS[0]))
            first.blocks[i] = AfterBlock(block, after, channels_last=False, scale=ADAPTER_SCALE)
        for stage, width in zip(others, _STAGE_WIDTHS[1:], strict=True):
            for i, block in enumerate(stage.blocks):
                stage.blocks[i] = _SpatialMlpBlock(block, make(width))

    def add_position(self, make: Callable[[int], nn.Module]) -> None:
        """Put ``make(width)`` once after the first block."""
        blocks = self.trunk.stages[0].blocks
        blocks[0] = AfterBlock(blocks[0], make(_STAGE_WIDTHS[0]), channels_last=False)

    def add_projections(self) -> None:
        """Add the lateral path from stage 3 to the decoder's stride-16 map."""
        self.lateral = nn.Conv2d(_STAGE_WIDTHS[2], DECODER_WIDTH, 1)
        nn.init.zeros_(self.lateral.weight)
        nn.init.zeros_(self.lateral.bias)  # type: ignore[arg-type]

    def blocks(self) -> list[nn.Module]:
        """All blocks, in order."""
        return [block for stage in self.trunk.stages for block in stage.blocks]

    def drop_absolute_position(self) -> None:
        """Nothing to drop: TinyViT has relative attention biases only."""


class _OnNormalised(nn.Module):
    """An adapter on layer-normalised input, for blocks without a norm of their own."""

    channels_last = True

    def __init__(self, adapter: nn.Module) -> None:
        super().__init__()
        self.adapter = adapter

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.adapter(F.layer_norm(x, x.shape[-1:]))
        return result


class _SpatialMlpBlock(nn.Module):
    """A TinyViT block whose MLP has an adapter beside it.

    The block hands its MLP a list of tokens, but an adapter that convolves needs to know how they lie in the image. So the
    MLP, the last step of the block, adds nothing where the block calls it, and is added here, in the form of the image.
    """

    def __init__(self, block: Any, adapter: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.block.mlp = _SpatialMlp(block.mlp, adapter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, d) to (B, H, W, d)."""
        x = self.block(x)
        result: Tensor = x + self.block.mlp.of_image(x)
        return result


class _SpatialMlp(nn.Module):
    """Norm, then MLP and adapter in parallel."""

    def __init__(self, mlp: Any, adapter: nn.Module) -> None:
        super().__init__()
        self.norm = mlp.norm
        mlp.norm = nn.Identity()
        self.parallel = ParallelAdapter(mlp, adapter)

    def forward(self, tokens: Tensor) -> Tensor:
        """Zero, for the block to add."""
        return tokens.new_zeros(())

    def of_image(self, x: Tensor) -> Tensor:
        """(B, H, W, d) to (B, H, W, d)."""
        result: Tensor = self.parallel(self.norm(x))
        return result
