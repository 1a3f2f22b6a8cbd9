"""The attention of SAM2's Hiera, with a gradient that is not joined.

Queries, keys and values come from one product. PyTorch joins their three gradients for the backward of that product, in an array three times as wide as the
tokens; here each goes through its own part of the frozen weight.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2_adapters.models.onednn import linear

__all__ = ["HieraAttention"]


class HieraAttention(nn.Module):
    """What SAM2's `MultiScaleAttention` computes, with its layers.

    Parameters
    ----------
    attention
        SAM2's own, whose ``qkv``, ``proj`` and ``q_pool`` are taken over under their names.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.num_heads: int = attention.num_heads
        self.q_pool: nn.Module | None = attention.q_pool
        self.qkv: nn.Module = attention.qkv
        self.proj: nn.Module = attention.proj

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H', W', C'), half as high and wide where queries are pooled."""
        query, key, value = self._of(x)
        if self.q_pool is not None:
            query = self.q_pool(query.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        mixed = F.scaled_dot_product_attention(
            self._by_head(query), self._by_head(key), self._by_head(value)
        )
        result: Tensor = self.proj(mixed.transpose(1, 2).reshape(query.shape))
        return result

    def _of(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, H, W, C')."""
        if _learns_before(x) and _is_frozen(self.qkv):
            parts: tuple[Tensor, Tensor, Tensor] = _Parts.apply(x, self.qkv.weight, self.qkv.bias)
            return parts
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        return query, key, value

    def _by_head(self, tokens: Tensor) -> Tensor:
        """(B, H, W, C) to (B, heads, H · W, C / heads)."""
        return tokens.reshape(
            tokens.shape[0], -1, self.num_heads, tokens.shape[-1] // self.num_heads
        ).transpose(1, 2)


class _Parts(torch.autograd.Function):
    """A product with a frozen weight in three parts of equal width."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(weight)
        return linear(x, weight, bias).chunk(3, dim=-1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        parts = zip(gradients, weight.chunk(3), strict=True)
        first, *others = (linear(given, part.t(), None) for given, part in parts)
        for other in others:
            first.add_(other)
        return first, None, None


def _learns_before(x: Tensor) -> bool:
    """Whether a gradient is wanted on the CPU in full precision; elsewhere PyTorch's own way is as good."""
    return (
        torch.is_grad_enabled()
        and x.requires_grad
        and x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
    )


def _is_frozen(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) and not any(p.requires_grad for p in layer.parameters())
