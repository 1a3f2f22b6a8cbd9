"""A light head that tells classes by the pixels themselves, beside SAM's decoder.

The decoder's logits have stride 4, so that it draws nothing finer than some four pixels: no thin vessel, no gap between two nuclei. And it
learns a few strokes by heart, where a classifier of small neighbourhoods, such as a forest, still says what it saw. This head is such a
classifier, at full resolution and learning together with the adapters: its logits are added to the decoder's. In training the decoder's are
left out for half of the images, since else they alone would explain every stroke, and the head would learn nothing from it. The head is
ours: in neither SAM2 nor the papers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["REACH_PX", "DetailHead", "leave_out_some"]

WIDTH = 16
"""Channels of the head."""
REACH_PX = 5
"""Farther pixels, along an axis, have no say in a pixel."""
LEFT_OUT = 0.5
"""Share of the images for which the head has to do without the decoder, in training."""


class DetailHead(nn.Module):
    """Logits of each pixel from its surroundings; those of a fresh head are zero.

    It looks at blocks of 2×2 px and gives each pixel of a block logits of its own: nothing is computed at full resolution, which would cost
    four times as much.

    Parameters
    ----------
    n_classes
        Number of classes C.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.blocks = nn.Conv2d(3, WIDTH, 6, stride=2, padding=2)
        self.mix = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.logits = nn.Conv2d(WIDTH, 4 * n_classes, 1)
        self.act1, self.act2 = nn.GELU(), nn.GELU()
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W), normalised, H and W even, to (B, C, H, W)."""
        x = self.act2(self.mix(self.act1(self.blocks(image))))  # (B, WIDTH, H/2, W/2)
        return F.pixel_shuffle(self.logits(x), 2)


def leave_out_some(logits: Tensor) -> Tensor:
    """Set the logits (B, C, H, W) of each image to zero with a probability of one half."""
    kept = torch.rand(len(logits), 1, 1, 1, device=logits.device) >= LEFT_OUT
    return logits * kept
