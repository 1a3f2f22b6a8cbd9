"""Arithmetic in place gives the same, and never where something is differentiated or shared."""

import torch
from torch import nn

from napari_sam2_adapters.models.in_place import InPlaceGelu, add_scaled, use_in_place_gelu


def test_a_sum_keeps_its_terms_where_they_are_differentiated() -> None:
    total, addition = torch.randn(5, requires_grad=True), torch.randn(5, requires_grad=True)
    before = total.detach().clone()
    add_scaled(total * 1, addition, 0.5).sum().backward()
    assert torch.equal(total.grad, torch.ones(5))
    assert torch.equal(addition.grad, torch.full((5,), 0.5))
    with torch.no_grad():
        result = add_scaled(total, addition, 0.5)
        assert result.data_ptr() == total.data_ptr()
        assert torch.allclose(result, before + 0.5 * addition)


def test_only_exact_gelus_are_replaced_and_give_the_same() -> None:
    network = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Sequential(nn.GELU("tanh"), nn.ReLU()))
    x = torch.randn(3, 4)
    with torch.no_grad():
        expected = network(x)
        use_in_place_gelu(network)
        assert torch.equal(network(x), expected)
    kinds = [type(layer) for layer in network.modules()]
    assert kinds.count(InPlaceGelu) == 1
    assert kinds.count(nn.GELU) == 1


def test_folding_leaves_the_network_that_learns_alone(tiny_segmenter) -> None:
    segmenter = tiny_segmenter(adapter="hp")
    folded = segmenter.folded()
    assert any(isinstance(layer, InPlaceGelu) for layer in folded.modules())
    assert not any(isinstance(layer, InPlaceGelu) for layer in segmenter.modules())
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.allclose(folded(image), segmenter(image), atol=1e-5)
        again = folded(image)
    assert torch.allclose(
        folded(image), again, atol=1e-5
    )  # with gradients enabled, and a second time
