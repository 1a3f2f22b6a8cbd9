from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_sam2_adapters.models.adapters import add_lora
from napari_sam2_adapters.models.hiera_attention import HieraAttention


@pytest.fixture(params=["plain", "pooled"])
def own(request: pytest.FixtureRequest) -> nn.Module:
    """SAM2's own attention, frozen, at its usual width or where a stage begins."""
    from sam2.modeling.backbones.hieradet import MultiScaleAttention

    torch.manual_seed(0)
    pool = nn.MaxPool2d(2, 2) if request.param == "pooled" else None
    attention: nn.Module = MultiScaleAttention(24, 48, num_heads=2, q_pool=pool)
    return attention.requires_grad_(False)


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What PyTorch joins in a backward."""
    seen: list[Any] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), named=None):
            if function in (torch.ops.aten.cat.default, torch.ops.aten.stack.default):
                seen.append(arguments)
            return function(*arguments, **(named or {}))

    with Watch():
        yield seen


def gradient(attention: nn.Module, x: Tensor) -> Tensor:
    """Of the input."""
    given = x.clone().requires_grad_()
    attention(given).square().sum().backward()
    assert given.grad is not None
    return given.grad


def test_it_is_sam2s_own_attention(own: nn.Module) -> None:
    x = torch.randn(3, 8, 6, 24)
    ours = HieraAttention(own)
    assert ours.state_dict().keys() == own.state_dict().keys()
    assert torch.equal(ours(x), own(x))
    assert torch.equal(ours(x.clone().requires_grad_()), own(x))


def test_its_gradient_is_the_same_and_is_not_joined(own: nn.Module, joined: list[Any]) -> None:
    x = torch.randn(3, 8, 6, 24)
    wanted = gradient(own, x)
    assert joined, "SAM2's own joins the gradients of queries, keys and values"
    joined.clear()
    torch.testing.assert_close(gradient(HieraAttention(own), x), wanted, rtol=1e-5, atol=1e-5)
    assert not joined


@pytest.mark.parametrize("learns", ["weight", "bias", "LoRA"])
def test_what_learns_there_gets_its_gradient(own: nn.Module, learns: str) -> None:
    x = torch.randn(3, 8, 6, 24)
    if learns == "LoRA":
        add_lora(own, ("qkv",), 4, 0.0)
    else:
        getattr(own.qkv, learns).requires_grad_(True)
    found = []
    for attention in (own, HieraAttention(own)):
        own.zero_grad()
        of_x = gradient(attention, x)
        of_qkv = {n: p.grad.clone() for n, p in own.qkv.named_parameters() if p.grad is not None}
        assert of_qkv
        found.append({"x": of_x} | of_qkv)
    for name, wanted in found[0].items():
        torch.testing.assert_close(found[1][name], wanted, rtol=1e-5, atol=1e-5)


def test_in_half_precision_it_is_pytorchs_own(own: nn.Module) -> None:
    x = torch.randn(3, 8, 6, 24)
    with torch.autocast("cpu", torch.bfloat16):
        wanted = gradient(own, x)
        torch.testing.assert_close(gradient(HieraAttention(own), x), wanted, rtol=0, atol=0)
