from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from napari_sam2_adapters.models.position import AfterBlock, PositionEncodingGenerator


class Recording(nn.Module):
    """Keeps what it was given and gives it back, in the memory order it asks for."""

    def __init__(self, *, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.seen = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return x


def test_hybrid_peg_starts_as_nothing_and_the_papers_does_not() -> None:
    x = torch.randn(1, 6, 5, 4)
    assert torch.count_nonzero(PositionEncodingGenerator(6, start_at_zero=True)(x)) == 0
    assert torch.count_nonzero(PositionEncodingGenerator(6, start_at_zero=False)(x)) > 0


def test_peg_is_one_depthwise_3x3_convolution() -> None:
    peg = PositionEncodingGenerator(6, start_at_zero=False)
    assert sum(p.numel() for p in peg.parameters()) == 6 * 9 + 6


def test_peg_tells_the_edge_from_the_middle() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        peg = PositionEncodingGenerator(1, start_at_zero=False)
    encoding = peg(torch.ones(1, 1, 5, 5))[0, 0]
    assert encoding[2, 2] == encoding[1, 3]
    assert encoding[0, 2] != encoding[2, 2]


@pytest.mark.parametrize("addition_last", [False, True])
@pytest.mark.parametrize("block_last", [False, True])
def test_after_block_hands_over_the_order_that_the_addition_asks_for(
    block_last: bool, addition_last: bool
) -> None:
    x = torch.randn(2, 3, 4, 5)
    addition = Recording(channels_last=addition_last)
    after = AfterBlock(nn.Identity(), addition, channels_last=block_last, scale=0.5)
    torch.testing.assert_close(after(x), 1.5 * x)
    if block_last == addition_last:
        wanted = x
    else:
        wanted = x.permute(0, 3, 1, 2) if block_last else x.permute(0, 2, 3, 1)
    assert torch.equal(addition.seen, wanted)
