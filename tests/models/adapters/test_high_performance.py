from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from napari_sam2_adapters.models.adapters import HighPerformanceAdapter
from napari_sam2_adapters.models.backbone import HieraBackbone
from napari_sam2_adapters.models.backbone_files import BACKBONES


def test_a_fresh_adapter_gives_zeros() -> None:
    assert torch.count_nonzero(HighPerformanceAdapter(16, 4)(torch.randn(2, 6, 5, 16))) == 0


def test_it_starts_as_a_plain_convolution() -> None:
    adapter = HighPerformanceAdapter(16, 4)
    nn.init.normal_(adapter.up.weight)
    x = torch.randn(2, 6, 5, 16)
    plain = adapter.conv(adapter.down(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(adapter(x), adapter.up(F.gelu(plain)), rtol=1e-4, atol=1e-5)


def test_shifts_and_tap_weights_steer_it() -> None:
    adapter = HighPerformanceAdapter(16, 4)
    nn.init.normal_(adapter.up.weight)
    x = torch.randn(1, 6, 5, 16)
    start = adapter(x)
    assert adapter.offset.bias is not None
    with torch.no_grad():
        adapter.offset.bias[18:] = -100.0  # every tap weighted by 2·sigmoid(-100) = 0
    assert adapter.conv.bias is not None
    wanted = adapter.up(F.gelu(adapter.conv.bias)).expand_as(start)
    torch.testing.assert_close(adapter(x), wanted)


def test_steps_move_the_shifts() -> None:
    adapter = HighPerformanceAdapter(16, 4)
    optimizer = torch.optim.Adam(adapter.parameters(), lr=1e-2)
    x, wanted = torch.randn(2, 8, 8, 16), torch.randn(2, 8, 8, 16)
    for _ in range(3):  # the first moves `up` alone, because it is zero before
        optimizer.zero_grad()
        F.mse_loss(adapter(x), wanted).backward()
        optimizer.step()
    assert torch.count_nonzero(adapter.offset.weight) > 0
    assert adapter.offset.weight.isfinite().all()


def test_positions_keep_their_digits_under_autocast() -> None:
    """At 400 px bfloat16 has steps of 2 px: an adapter that computed positions in it would blur."""
    adapter = HighPerformanceAdapter(8, 4)
    nn.init.normal_(adapter.up.weight)
    x = torch.randn(1, 2, 400, 8)
    with torch.autocast("cpu", torch.bfloat16):
        rough = adapter(x)
    exact = adapter(x)
    assert (rough - exact).norm() < 0.02 * exact.norm()


def test_a_width_below_the_reduction_keeps_one_channel() -> None:
    assert HighPerformanceAdapter(3, 8)(torch.randn(1, 4, 4, 3)).shape == (1, 4, 4, 3)


def test_tiny_has_2_73_million_parameters_in_adapters() -> None:
    shape = BACKBONES["tiny"].shape
    assert shape is not None
    backbone = HieraBackbone(shape)
    added: list[HighPerformanceAdapter] = []
    backbone.add_adapters(lambda width: added.append(HighPerformanceAdapter(width, 4)) or added[-1])  # type: ignore[func-returns-value]
    assert len(added) == sum(shape.stages) == 12
    assert sum(p.numel() for adapter in added for p in adapter.parameters()) == 2_731_356
