"""Matrix products by oneDNN on AMD's processors with AVX-512, which Intel's MKL, PyTorch's own choice, does not use on them.

A product over the last axis is a 1×1 convolution over pixels with channels last in memory, and PyTorch's convolutions come from oneDNN. Measured
on two cores with AVX-512: 784×320 by 320×1280 in 1.5 ms instead of 3.4, and the gradient of its input likewise. That of a weight gains nothing.
On AMD's processors without AVX-512 both are as fast (3.6 ms, two cores), and what is around the convolutions takes a tenth of a training step.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["linear", "mkl_is_slow", "use_onednn"]

_FEW_ROWS = 64
"""Below this the call costs more than is gained."""


@cache
def mkl_is_slow() -> bool:
    """Whether the processor is one of AMD's with AVX-512 and PyTorch has oneDNN; False where PyTorch does not tell."""
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not there or not hasattr(torch.cpu, "get_capabilities"):
        return False
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    return "AMD" in str(torch.cpu.get_capabilities().get("cpu_name", ""))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x @ weight.T + bias`` as `torch.nn.functional.linear`, by oneDNN where that is faster; so is the gradient of ``x``.

    Parameters
    ----------
    x
        (…, K) float.
    weight, bias
        (O, K) and (O,).
    """
    if not _suits(
        x
    ):  # first, since the number of rows may be no number while an export follows the network
        return F.linear(x, weight, bias)
    rows = x.numel() // x.shape[-1]
    if rows < _FEW_ROWS:
        return F.linear(x, weight, bias)
    pixels = x.reshape(1, 1, rows, -1).permute(0, 3, 1, 2)
    result = _product(pixels, weight.contiguous()[:, :, None, None], bias).permute(0, 2, 3, 1)
    return result.reshape(*x.shape[:-1], weight.shape[0])


def use_onednn(root: nn.Module) -> None:
    """Let the linear layers and 1×1 convolutions below ``root`` compute by oneDNN where that is faster; their parameters are shared."""
    if not mkl_is_slow():
        return
    for owner in list(root.modules()):
        for name, layer in list(owner.named_children()):
            if type(layer) is nn.Linear:
                setattr(owner, name, _Linear(layer))
            elif type(layer) is nn.Conv2d and _is_pointwise(layer):
                setattr(owner, name, _Pointwise(layer))


class _Linear(nn.Linear):
    """A linear layer that took over the parameters of another; it is one, so that LoRA finds it."""

    def __init__(self, layer: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.weight, self.bias = layer.weight, layer.bias
        self.in_features, self.out_features = layer.in_features, layer.out_features

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class _Pointwise(nn.Module):
    """A 1×1 convolution, which PyTorch gives to MKL where there is one thread."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        return (_product if _suits(x) else F.conv2d)(x, self.weight, self.bias)


class _Product(torch.autograd.Function):
    """1×1 convolution with its gradient; unlike behind PyTorch's, the input is kept only for a weight that learns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        result = _pointwise(x, weight, bias)
        ctx.last = result.is_contiguous(memory_format=torch.channels_last)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = of_bias = None
        if ctx.last:  # else what comes before would have to mix two orders in memory
            gradient = gradient.contiguous(memory_format=torch.channels_last)
        if ctx.needs_input_grad[0]:
            of_x = _pointwise(gradient, _turned(weight), None)
        if ctx.needs_input_grad[1]:
            of_weight = (_rows(gradient).t() @ _rows(x))[:, :, None, None]
        if ctx.needs_input_grad[2]:
            of_bias = _rows(gradient).sum(0)
        return of_x, of_weight, of_bias


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if not torch.is_grad_enabled():
        return _pointwise(x, weight, bias)
    result: Tensor = _Product.apply(x, weight, bias)
    return result


def _turned(weight: Tensor) -> Tensor:
    """(O, K, 1, 1) to (K, O, 1, 1), copied in two dimensions, for which PyTorch goes block by block: a third of the time of four."""
    return weight[:, :, 0, 0].t().contiguous()[:, :, None, None]


def _rows(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B · H · W, C)."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def _suits(x: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()  # first, since it keeps the rest from being translated
        and mkl_is_slow()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.mkldnn_convolution(x, weight, bias, (0, 0), (1, 1), (1, 1), 1)


def _is_pointwise(layer: nn.Conv2d) -> bool:
    plain = layer.kernel_size == layer.stride == layer.dilation == (1, 1) and layer.groups == 1
    return plain and layer.padding == (0, 0)
