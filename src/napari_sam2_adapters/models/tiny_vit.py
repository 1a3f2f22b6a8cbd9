"""The trunk of MobileSAM: TinyViT-5M with its batch normalisation folded into the convolutions before it, for frozen weights.

Wu et al., *TinyViT* (arXiv 2207.10666), after the paper and the shapes of the published tensors, whose names in timm are kept; tests hold it
to timm's own. It is written anew because importing timm takes seconds: it loads torchvision, and that PyTorch's compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ConvolutionalStage", "TinyVit", "WindowStage"]

_HEAD_WIDTH = 32


class TinyVit(nn.Module):
    """Four stages at strides 4, 8, 16 and, as MobileSAM has it, 16 again.

    Parameters
    ----------
    widths, depths
        Channels and blocks of the stages.
    windows
        Side of the attention windows of the last three stages (tokens).
    """

    def __init__(
        self, widths: tuple[int, ...], depths: tuple[int, ...], windows: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.patch_embed = _Stem(widths[0])
        stages: list[nn.Module] = [ConvolutionalStage(widths[0], depths[0])]
        for number, window in enumerate(windows, start=1):
            down = _Downsampling(widths[number - 1], widths[number], stride=2 if number < 3 else 1)
            stages.append(WindowStage(down, widths[number], depths[number], window))
        self.stages = nn.ModuleList(stages)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to the maps (B, width, H/stride, W/stride) of all stages."""
        x = self.patch_embed(image)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class ConvolutionalStage(nn.Module):
    """Blocks of convolutions on (B, C, H, W)."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[_ConvolutionalBlock(width) for _ in range(depth)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        result: Tensor = self.blocks(x)
        return result


class WindowStage(nn.Module):
    """Down-sampling, then blocks of attention on (B, H, W, C)."""

    def __init__(self, downsample: nn.Module, width: int, depth: int, window: int) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.Sequential(*[_WindowBlock(width, window) for _ in range(depth)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, width, H', W')."""
        x = self.downsample(x).permute(0, 2, 3, 1)
        result: Tensor = self.blocks(x).permute(0, 3, 1, 2)
        return result


class _Stem(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1)
        self.act = nn.GELU()
        self.conv2 = nn.Conv2d(width // 2, width, 3, stride=2, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.conv2(self.act(self.conv1(image)))
        return result


class _ConvolutionalBlock(nn.Module):
    """An inverted bottleneck: four times as wide inside, where each channel is convolved on its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 4 * width
        self.conv1 = nn.Conv2d(width, inner, 1)
        self.act1 = nn.GELU()
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.act2 = nn.GELU()
        self.conv3 = nn.Conv2d(inner, width, 1)
        self.act3 = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.act2(self.conv2(self.act1(self.conv1(x))))
        result: Tensor = self.act3(self.conv3(inner).add_(x))
        return result


class _Downsampling(nn.Module):
    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_out, 1)
        self.act1 = nn.GELU()
        self.conv2 = nn.Conv2d(width_out, width_out, 3, stride=stride, padding=1, groups=width_out)
        self.act2 = nn.GELU()
        self.conv3 = nn.Conv2d(width_out, width_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv3(self.act2(self.conv2(self.act1(self.conv1(x)))))
        return result


class _WindowBlock(nn.Module):
    """Attention in windows, a convolution of each channel, and an MLP."""

    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        self.attn = _WindowAttention(width, window)
        self.local_conv = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.mlp = _NormalisedMlp(width)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        x = x + self.attn.of_image(x)
        # the permuted map is channels-last already, so nothing is copied on the way there and back
        x = self.local_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        tokens = x.reshape(batch, height * width, channels)
        result: Tensor = (tokens + self.mlp(tokens)).view(batch, height, width, channels)
        return result


class _NormalisedMlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc2(self.act(self.fc1(self.norm(x))))
        return result


class _WindowAttention(nn.Module):
    """Attention among the tokens of a window, with a bias for each distance, the same in both directions of an axis."""

    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        self.window, self.heads = window, width // _HEAD_WIDTH
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(self.heads, window**2))
        self._table: Tensor | None = None

    def of_image(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same shape; zeros fill the windows at the right and lower edge."""
        batch, height, width, channels = x.shape
        side = self.window
        right, below = -width % side, -height % side
        if right or below:
            x = F.pad(x, (0, 0, 0, right, 0, below))
        down, across = x.shape[1] // side, x.shape[2] // side
        windows = x.view(batch, down, side, across, side, channels).transpose(2, 3)
        mixed = self(windows.reshape(-1, side * side, channels))
        mixed = mixed.view(batch, down, across, side, side, channels).transpose(2, 3)
        result: Tensor = mixed.reshape(x.shape)[:, :height, :width]
        return result

    def forward(self, tokens: Tensor) -> Tensor:
        """(windows, tokens, C) to the same shape."""
        count, length, channels = tokens.shape
        qkv = self.qkv(self.norm(tokens)).view(count, length, self.heads, 3, _HEAD_WIDTH)
        query, key, value = qkv.permute(3, 0, 2, 1, 4)
        # the bias has a batch axis, without which PyTorch does not take its fused kernel
        mixed = F.scaled_dot_product_attention(query, key, value, self._bias(tokens)[None])
        result: Tensor = self.proj(mixed.transpose(1, 2).reshape(count, length, channels))
        return result

    def _bias(self, tokens: Tensor) -> Tensor:
        """(heads, tokens, tokens), made once: the biases are frozen."""
        if self._table is None or self._table.device != tokens.device:
            # also when it is first asked for in inference mode: it serves training too
            with torch.inference_mode(False), torch.no_grad():
                places = torch.tensor(list(product(range(self.window), repeat=2)))
                apart = (places[:, None] - places[None]).abs()
                numbers = apart[..., 0] * self.window + apart[..., 1]
                self._table = self.attention_biases[:, numbers.to(tokens.device)]
        return self._table

    def _apply(self, function: Callable[[Any], Any], recurse: bool = True) -> Self:
        self._table = None
        return super()._apply(function, recurse)  # type: ignore[no-any-return, no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        # A copy makes its own: it may be one on the CPU because the memory that the table lies in is full.
        return self.__dict__ | {"_table": None}

    def _load_from_state_dict(self, *arguments: Any, **named: Any) -> None:
        self._table = None
        super()._load_from_state_dict(*arguments, **named)
