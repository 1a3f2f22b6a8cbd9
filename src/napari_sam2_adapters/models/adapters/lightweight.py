"""LW, the lightweight adapter: a bottleneck around a re-parameterised depthwise convolution.

Paper: Prompt-Free and Efficient SAM2 Adaptation for Biomedical Semantic Segmentation via Dual Adapters, arXiv 2605.05979;
structural re-parameterisation after RepVGG (Ding et al., arXiv 2101.03697). Unlike RepVGG the branches have a scale per
channel instead of a BatchNorm, because batches of a few crops make poor statistics.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LightweightAdapter"]


class LightweightAdapter(nn.Module):
    """Linear d→d/r, the sum of depthwise 3×3, depthwise 1×1 and identity, GELU, Linear d/r→d.

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
        self.spatial: nn.Module = _ThreeBranches(hidden)
        self.up = nn.Linear(hidden, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, d) to (B, H, W, d)."""
        h = self.spatial(self.down(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        result: Tensor = self.up(F.gelu(h))
        return result

    @torch.no_grad()
    def fold(self) -> None:
        """Replace the three branches by the one depthwise convolution that equals their sum."""
        if isinstance(self.spatial, _ThreeBranches):
            self.spatial = self.spatial.as_one_convolution()


class _ThreeBranches(nn.Module):
    """``s₃·dw3×3(x) + s₁·dw1×1(x) + s₀·x`` with a scale s per branch and channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv3 = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.conv1 = nn.Conv2d(width, width, 1, groups=width)
        self.scales = nn.Parameter(torch.ones(3, width))  # of 3×3, 1×1 and identity

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W).

        The branches are added as kernels rather than as maps, which is the same and costs one convolution instead of three.
        """
        of3, of1, of_identity = (scale.view(-1, 1, 1, 1) for scale in self.scales)
        centre = of1 * self.conv1.weight + of_identity
        weight = of3 * self.conv3.weight + F.pad(centre, (1, 1, 1, 1))
        bias = self.scales[0] * self.conv3.bias + self.scales[1] * self.conv1.bias  # type: ignore[operator]
        return F.conv2d(x, weight, bias, padding=1, groups=weight.shape[0])

    def as_one_convolution(self) -> nn.Conv2d:
        """The depthwise 3×3 convolution that equals the sum of the branches."""
        width = self.scales.shape[1]
        # Sums in double precision: the folded weights are then the nearest floats to the true ones.
        # On the CPU, because Apple's GPUs have none.
        exact = {name: p.detach().cpu().double() for name, p in self.named_parameters()}
        of3, of1, of_identity = exact["scales"]
        weight = exact["conv3.weight"] * of3.view(-1, 1, 1, 1)
        weight[:, 0, 1, 1] += exact["conv1.weight"][:, 0, 0, 0] * of1 + of_identity
        # Not initialised: that would draw from the random numbers of whoever asks.
        folded: nn.Conv2d = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Conv2d,
            width,
            width,
            3,
            padding=1,
            groups=width,
            device=self.scales.device,
            dtype=self.scales.dtype,
        )
        folded.weight.copy_(weight)
        folded.bias.copy_(exact["conv3.bias"] * of3 + exact["conv1.bias"] * of1)  # type: ignore[union-attr]
        return folded
