"""Modulated deformable 3×3 convolution (DCNv2) with equal implementations for each device.

``y(p) = Σ_k w_k · m_k(p) · x(p + p_k + Δ_k(p))`` over the nine taps ``p_k`` of a 3×3 window, with bilinear sampling and
zeros outside the image (Zhu et al. 2019, arXiv 1811.11168, equation 1).

torchvision's kernel is the faster on CUDA. On the CPU it is the slowest; `deformable_convolution_by_rows` is the fastest, and
sampling the nine taps with ``grid_sample`` and multiplying once is what compiles and exports to ONNX. On Apple's GPU neither
torchvision's kernel nor ``grid_sample`` has a backward (PyTorch issue 141287), so there the taps are gathered.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam2_adapters.models.deformable_rows import deformable_convolution_by_rows

__all__ = ["deformable_convolution", "deformable_convolution_portable"]


def deformable_convolution(
    x: Tensor, offsets: Tensor, mask: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    """Convolve ``x`` at shifted, weighted taps, with the faster implementation for its device.

    Parameters
    ----------
    x
        (B, C, H, W) float; on the CPU best with channels last in memory, as offsets, mask and weight.
    offsets
        (B, 18, H, W): for each of the nine taps, row by row, its shift down and its shift right in pixels.
    mask
        (B, 9, H, W): the weight of each tap at each pixel.
    weight
        (O, C, 3, 3).
    bias
        (O,).

    Returns
    -------
    Tensor
        (B, O, H, W).
    """
    if x.is_cuda:
        # importing torchvision takes seconds (its operators load PyTorch's compiler)
        from torchvision.ops import deform_conv2d

        result: Tensor = deform_conv2d(x, offsets, weight, bias, padding=1, mask=mask)
        return result
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        return deformable_convolution_by_rows(x, offsets, mask, weight, bias)
    return deformable_convolution_portable(
        x.contiguous(),  # sampling is faster on channels that are first
        offsets.contiguous(),
        mask.contiguous(),
        weight,
        bias,
        gather=x.device.type == "mps",
    )


def deformable_convolution_portable(
    x: Tensor,
    offsets: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    gather: bool = False,
) -> Tensor:
    """Compute the same from ``grid_sample`` and one matrix product; arguments as `deformable_convolution`.

    Parameters
    ----------
    gather
        Sample by four times ``gather`` instead of ``grid_sample``: slower, but with a backward on every device.
    """
    batch, channels, height, width = x.shape
    shifts = offsets.view(batch, 9, 2, height, width)
    rows = torch.arange(height, device=x.device, dtype=x.dtype).view(1, 1, height, 1)
    columns = torch.arange(width, device=x.device, dtype=x.dtype).view(1, 1, 1, width)
    tap = torch.arange(9, device=x.device).view(1, 9, 1, 1)
    down = rows + (tap // 3 - 1) + shifts[:, :, 0]  # (B, 9, H, W), pixel positions
    right = columns + (tap % 3 - 1) + shifts[:, :, 1]
    sampled = (_sample_by_gathering if gather else _sample_on_grid)(x, down, right)
    taps = sampled.view(batch, channels, 9, height, width)
    # The largest array by far: without gradients a second one of its size would cost half of the time, by page faults.
    weighted = taps * mask.unsqueeze(1) if torch.is_grad_enabled() else taps.mul_(mask.unsqueeze(1))
    flat = weighted.reshape(batch, channels * 9, height * width)
    result = weight.reshape(weight.shape[0], channels * 9) @ flat + bias.view(1, -1, 1)
    return result.view(batch, -1, height, width)


def _sample_on_grid(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """``x`` (B, C, H, W) at pixel positions (B, 9, H, W), as (B, C, 9·H, W); zeros outside."""
    batch, _, height, width = x.shape
    # grid_sample counts from -1 to 1 over the outer edges of the first and last pixel.
    grid = torch.stack([(right * 2 + 1) / width - 1, (down * 2 + 1) / height - 1], dim=-1)
    return F.grid_sample(
        x,
        grid.reshape(batch, 9 * height, width, 2),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )


def _sample_by_gathering(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """The same from the four pixels around each position, each weighted by how near it is."""
    batch, channels, height, width = x.shape
    pixels, top, left = x.flatten(2), down.floor(), right.floor()
    sampled = x.new_zeros(batch, channels, 9 * height * width)
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        near = (1 - (down - row).abs()) * (1 - (right - column).abs())
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        index = row.long().clamp(0, height - 1) * width + column.long().clamp(0, width - 1)
        corner = pixels.gather(2, index.flatten(1).unsqueeze(1).expand(-1, channels, -1))
        sampled = sampled + corner * (near * inside).flatten(1).unsqueeze(1)
    return sampled.view(batch, channels, 9 * height, width)
