"""HP, the high-performance adapter: a bottleneck around a modulated deformable convolution.

Paper: Prompt-Free and Efficient SAM2 Adaptation for Biomedical Semantic Segmentation via Dual Adapters, arXiv 2605.05979.
The operator is the paper's; width d/4, the place of the GELU and the start as the identity are ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2_adapters.models.deformable import deformable_convolution

__all__ = ["HighPerformanceAdapter"]


class HighPerformanceAdapter(nn.Module):
    """Linear d→d/r, deformable 3×3 convolution, GELU, Linear d/r→d.

    A fresh adapter gives zeros (its last layer starts at zero), and its deformable convolution starts as a plain one:
    no shift, every tap weighted by 2·sigmoid(0) = 1.

    Parameters
    ----------
    width
        Channels d of the block.
    reduction
        r; the bottleneck has max(1, d // r) channels.
    """

    channels_last = True

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        hidden = max(1, width // reduction)
        self.down = nn.Linear(width, hidden)
        self.offset = nn.Conv2d(hidden, 27, 3, padding=1)  # 18 shifts, then 9 tap weights
        self.conv = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.up = nn.Linear(hidden, width)
        for layer in (self.offset, self.up):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, d) to (B, H, W, d)."""
        h = self.down(x).permute(0, 3, 1, 2)  # (B, d/r, H, W), channels last in memory
        # Positions need more digits than bfloat16 has: at 256 pixels its step is a whole pixel.
        with torch.autocast(h.device.type, enabled=False):
            h = h.float()
            # several times faster on channels that are last
            steering = F.conv2d(h, self.offset.weight.float(), self.offset.bias.float(), padding=1)  # type: ignore[union-attr]
            bias = self.conv.bias.float()  # type: ignore[union-attr]
            h = deformable_convolution(
                h,
                steering[:, :18],
                2 * torch.sigmoid(steering[:, 18:]),
                self.conv.weight.float(),
                bias,
            )
        result: Tensor = self.up(F.gelu(h.permute(0, 2, 3, 1)))
        return result
