"""The adapters: ``hp`` and ``lw`` sit beside a block's MLP, ``lora`` inside its attention."""

from __future__ import annotations

from torch import Tensor, nn

from napari_sam2_adapters.models.adapters.high_performance import HighPerformanceAdapter
from napari_sam2_adapters.models.adapters.lightweight import LightweightAdapter
from napari_sam2_adapters.models.adapters.lora import (
    LoraLinear,
    add_lora,
    merge_lora,
    seeded_dropout,
)
from napari_sam2_adapters.models.in_place import add_scaled

__all__ = [
    "PARALLEL_ADAPTERS",
    "HighPerformanceAdapter",
    "LightweightAdapter",
    "LoraLinear",
    "ParallelAdapter",
    "add_lora",
    "merge_lora",
    "seeded_dropout",
]

PARALLEL_ADAPTERS: dict[str, type[HighPerformanceAdapter] | type[LightweightAdapter]] = {
    "hp": HighPerformanceAdapter,
    "lw": LightweightAdapter,
}
"""Those beside an MLP: made from (width, reduction), they map (B, H, W, d) to the same shape and start at zero."""

ADAPTER_SCALE = 0.5
"""What an HP or LW adapter's output is multiplied by (Gao et al., AdaptFormer; the laboratory's earlier code)."""


class ParallelAdapter(nn.Module):
    """``mlp(x) + 0.5 · adapter(x)``: stands where a block had its MLP and gets the same normalised input.

    Parameters
    ----------
    mlp
        The block's own MLP, unchanged.
    adapter
        Maps (B, H, W, d) to (B, H, W, d).
    """

    def __init__(self, mlp: nn.Module, adapter: nn.Module) -> None:
        super().__init__()
        self.mlp = mlp
        self.adapter = adapter

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, d) to (B, H, W, d)."""
        return add_scaled(self.mlp(x), self.adapter(x), ADAPTER_SCALE)
