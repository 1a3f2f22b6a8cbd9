from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_sam2_adapters.models.adapters import LightweightAdapter, ParallelAdapter
from napari_sam2_adapters.models.backbone import HieraBackbone
from napari_sam2_adapters.models.backbone_files import BACKBONES


def trained(width: int = 24) -> LightweightAdapter:
    adapter = LightweightAdapter(width, 4)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.5)
    return adapter


def test_a_fresh_adapter_gives_zeros() -> None:
    assert torch.count_nonzero(LightweightAdapter(16, 4)(torch.randn(2, 6, 5, 16))) == 0


def test_folding_keeps_the_function() -> None:
    adapter = trained()
    x = torch.randn(2, 9, 7, 24)
    wanted = adapter(x)
    adapter.fold()
    torch.testing.assert_close(adapter(x), wanted, rtol=1e-5, atol=1e-5)


def test_folding_leaves_one_depthwise_convolution_and_can_be_repeated() -> None:
    adapter = trained()
    adapter.fold()
    folded = adapter.spatial
    assert isinstance(folded, nn.Conv2d)
    assert folded.groups == 6
    adapter.fold()
    assert adapter.spatial is folded


@pytest.mark.parametrize("branch", [0, 1, 2], ids=["3×3", "1×1", "identity"])
def test_each_branch_takes_part(branch: int) -> None:
    adapter = trained()
    x = torch.randn(1, 9, 7, 24)
    wanted = adapter(x)
    with torch.no_grad():
        adapter.get_parameter("spatial.scales")[branch] = 0
    assert (adapter(x) - wanted).abs().max() > 1e-3


def test_beside_the_mlp_it_counts_half() -> None:
    both = ParallelAdapter(nn.Identity(), nn.Identity())
    x = torch.randn(1, 2, 2, 4)
    torch.testing.assert_close(both(x), 1.5 * x)


def test_tiny_has_1_17_million_parameters_in_adapters() -> None:
    shape = BACKBONES["tiny"].shape
    assert shape is not None
    backbone = HieraBackbone(shape)
    added: list[LightweightAdapter] = []
    backbone.add_adapters(lambda width: added.append(LightweightAdapter(width, 4)) or added[-1])  # type: ignore[func-returns-value]
    assert sum(p.numel() for adapter in added for p in adapter.parameters()) == 1_170_912
