from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_sam2_adapters.models import onednn
from napari_sam2_adapters.models.onednn import linear, mkl_is_slow, use_onednn


@pytest.fixture(params=["AMD with AVX-512", "AMD without", "another"])
def amd(request, monkeypatch) -> bool:
    """Whether the processor is one of AMD's on which MKL is slow."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("needs oneDNN")
    name = "AMD EPYC" if "AMD" in request.param else "Another"
    computes_in = "AVX2" if request.param == "AMD without" else "AVX512"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": name}, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: computes_in)
    mkl_is_slow.cache_clear()
    yield request.param == "AMD with AVX-512"
    mkl_is_slow.cache_clear()


@pytest.fixture
def calls(monkeypatch) -> list[int]:
    """Rows of what went through oneDNN."""
    seen: list[int] = []
    compute = onednn._pointwise

    def count(x, weight, bias):
        seen.append(x.shape[2] * x.shape[3])
        return compute(x, weight, bias)

    monkeypatch.setattr(onednn, "_pointwise", count)
    return seen


@pytest.mark.parametrize("shape", [(200, 24), (3, 70, 24), (2, 9, 11, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_product_is_that_of_a_linear_layer(amd, calls, shape, bias) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(24, 40, bias=bias), torch.randn(shape)
    for given in (x, x.transpose(0, -2).contiguous().transpose(0, -2)):
        with torch.no_grad():
            wanted = layer(given)
            got = linear(given, layer.weight, layer.bias)
        assert got.shape == wanted.shape
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)
    assert bool(calls) == amd


@pytest.mark.parametrize("learns", [(), ("weight",), ("weight", "bias"), ("bias",)])
@pytest.mark.parametrize("bias", [True, False])
def test_its_gradients_are_those_of_a_linear_layer(amd, calls, learns, bias) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(24, 40, bias=bias).requires_grad_(False), torch.randn(3, 70, 24)
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_(name in learns)
    found = []
    for compute in (linear, nn.functional.linear):
        given = x.clone().requires_grad_()
        compute(given, layer.weight, layer.bias).square().sum().backward()
        found.append([given.grad, *(p.grad for p in layer.parameters())])
        layer.zero_grad()
    assert len(calls) == (2 if amd else 0)
    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-3)
    assert found[0][0].abs().max() > 1


@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
def test_gradients_of_a_convolution_come_in_the_order_of_its_output(amd, last) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(6, 8, 1), nn.GELU(), nn.Conv2d(8, 3, 1))
    x = torch.rand(2, 6, 9, 11)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    found = []
    for _ in range(2):
        given = x.clone().requires_grad_()
        network(given).contiguous().square().sum().backward()
        found.append([given.grad, *(p.grad for p in network.parameters())])
        network.zero_grad()
        use_onednn(network)
    for wanted, got in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-4)
    assert found[1][0].is_contiguous(memory_format=torch.channels_last) or not last


def test_a_frozen_layer_keeps_nothing_for_the_gradient(amd) -> None:
    kept: list[int] = []

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept.append(x.numel())
        return x

    layer, x = nn.Linear(24, 40), torch.randn(200, 24, requires_grad=True)
    for learns in (False, True):
        kept.clear()
        layer.weight.requires_grad_(learns)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            linear(x, layer.weight, layer.bias)
        assert (x.numel() in kept) == learns


def test_what_does_not_suit_goes_the_usual_way(calls) -> None:
    layer, x = nn.Linear(24, 40), torch.randn(200, 24)
    linear(x[:3], layer.weight, layer.bias)
    linear(x.double(), layer.weight.double(), layer.bias.double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(x, layer.weight, layer.bias).dtype == torch.bfloat16
    assert not calls


def test_a_network_computes_the_same_with_the_same_parameters(amd, calls) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 1),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.Conv2d(16, 16, 1, groups=2),
        nn.Conv2d(16, 8, 1, stride=2),
        nn.Flatten(2),
        nn.Linear(100, 7),
    )
    images, parameters = torch.rand(2, 3, 20, 20), dict(network.named_parameters())
    with torch.no_grad():
        wanted = network(images)
        use_onednn(network)
        torch.testing.assert_close(network(images), wanted, rtol=0, atol=1e-5)
    assert dict(network.named_parameters()).keys() == parameters.keys()
    assert all(network.get_parameter(name) is value for name, value in parameters.items())
    assert len(calls) == (1 if amd else 0)  # the product has 16 rows only
