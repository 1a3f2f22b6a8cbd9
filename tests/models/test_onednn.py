from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_sam2_adapters.models import onednn
from napari_sam2_adapters.models.onednn import linear, mkl_is_slow, use_onednn


@pytest.fixture(params=[True, False], ids=["AMD", "other"])
def amd(request, monkeypatch) -> bool:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("needs oneDNN")
    name = "AMD EPYC" if request.param else "Another"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": name}, raising=False)
    mkl_is_slow.cache_clear()
    yield request.param
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


def test_what_does_not_suit_goes_the_usual_way(calls) -> None:
    layer, x = nn.Linear(24, 40), torch.randn(200, 24)
    linear(x, layer.weight, layer.bias).sum().backward()  # a gradient
    assert layer.weight.grad is not None
    with torch.no_grad():
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
