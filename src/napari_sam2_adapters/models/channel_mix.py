"""Image channels of any number to the three that SAM reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_sam2_adapters.models.device import full_precision

__all__ = ["ChannelMix"]


class ChannelMix(nn.Module):
    """C image channels to the three that SAM reads.

    One channel is repeated and three pass as they are. Any other number goes through a trained 1×1 convolution that starts
    as: channel i is averaged into output i mod 3 (with two channels, the third output is their mean).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix: nn.Conv2d | None = None
        if channels not in (1, 3):
            self.mix = nn.Conv2d(channels, 3, 1, bias=False)
            weight = torch.zeros(3, channels)
            for i in range(channels):
                weight[i % 3, i] = 1
            if channels == 2:
                weight[2] = 1
            with torch.no_grad():
                self.mix.weight.copy_(
                    (weight / weight.sum(1, keepdim=True)).view(3, channels, 1, 1)
                )

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 3, H, W)."""
        if self.mix is not None:
            with full_precision(image.device):  # as the image passes that is not mixed
                mixed: Tensor = self.mix(image.float())
            return mixed
        return image if image.shape[1] == 3 else image.expand(-1, 3, -1, -1)
