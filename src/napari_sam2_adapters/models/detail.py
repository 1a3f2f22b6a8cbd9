"""A light head that tells classes by the pixels themselves, beside SAM's decoder.

The decoder's logits have stride 4, so that it draws nothing finer than some four pixels: no thin vessel, no gap between two nuclei. And what
a random forest on pixels has from the start, grey values smoothed at several scales, edges and ridges, it first has to learn. This head is
such a classifier, at full resolution: a small network on fixed features of each pixel, whose logits are added to the decoder's. It learns
together with the adapters at ten times their rate, so that the decoder learns what pixels cannot tell. The head is ours: in neither SAM2 nor
the papers.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2_adapters.models.backbone import pad_to_multiple
from napari_sam2_adapters.models.device import full_precision

__all__ = ["REACH_PX", "SCALES_PX", "DetailHead", "pixel_features"]

SCALES_PX = (1, 2, 4, 8)
"""Standard deviations of the Gaussians; each from 4 px on is computed at half the resolution of the one before."""
WIDTH = 16
"""Channels between the features and the logits."""
REACH_PX = 48
"""Farther pixels, along an axis, have no say in a pixel."""
_GAIN = 4.0
"""What brings derivatives to about the spread of grey values."""


class DetailHead(nn.Module):
    """Logits of each pixel from fixed features of its surroundings; those of a fresh head are zero.

    The features are the ones of a random forest on pixels: grey value, and at each scale its smoothed value, the size of its gradient and the
    two eigenvalues of its second derivatives.

    Parameters
    ----------
    n_classes
        Number of classes C.
    channels
        Channels of the image.
    """

    def __init__(self, n_classes: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels * (1 + 4 * len(SCALES_PX)), WIDTH, 1)
        self.second = nn.Conv2d(WIDTH, WIDTH, 1)
        self.logits = nn.Conv2d(WIDTH, n_classes, 1)
        self.act1, self.act2 = nn.GELU(), nn.GELU()
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, channels, H, W), normalised, to (B, C, H, W)."""
        height, width = image.shape[2:]
        padded = pad_to_multiple(image, 2 ** (len(SCALES_PX) - 2))
        features = pixel_features(padded)[:, :, :height, :width]
        # In this order the layers are matrix products, forward and backward, and nothing is turned round in between.
        features = features.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.logits(self.act2(self.second(self.act1(self.first(features)))))
        return logits


@torch.no_grad()
def pixel_features(image: Tensor) -> Tensor:
    """What the head knows of every pixel.

    Parameters
    ----------
    image
        (B, C, H, W), H and W multiples of 4.

    Returns
    -------
    Tensor
        (B, 17 C, H, W) float32, without gradients: the values smoothed most; then, for each scale from fine to coarse, what its smoothing
        takes away from the one before, the size of the gradient, and the larger and the smaller eigenvalue of the Hessian. Differences
        rather than smoothed values, because those are nearly the same from one scale to the next, and learning is slow then.
    """
    with full_precision(image.device):  # differences of neighbours are lost in bfloat16
        height, width = image.shape[2:]
        level = finer = image.float()
        features = []
        stride, reached = 1, 0.0
        for sigma in SCALES_PX:
            if sigma > 2:
                level, stride = F.avg_pool2d(level, 2), stride * 2
            level = _blur(level, math.sqrt(sigma**2 - reached**2) / stride)
            reached = sigma
            maps = [level, *_derivatives(level, sigma / stride)]
            if stride > 1:
                small = torch.cat(maps, dim=1)
                full = F.interpolate(small, (height, width), mode="bilinear", align_corners=False)
                maps = list(full.chunk(len(maps), dim=1))
            smoothed = maps[0]
            features += [(finer - smoothed).mul_(_GAIN), *maps[1:]]
            finer = smoothed
        return torch.cat([finer, *features], dim=1)


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Smooth (B, C, H, W) by a Gaussian cut off at three standard deviations; edges are repeated."""
    # By shifted sums: a convolution of one channel takes three times as long, and this one needs no gradient.
    radius = math.ceil(3 * sigma - 0.5)
    bell = [math.exp(-0.5 * (distance / sigma) ** 2) for distance in range(radius + 1)]
    weights = [height / (2 * sum(bell) - bell[0]) for height in bell]
    for axis, sides in ((3, (radius, radius, 0, 0)), (2, (0, 0, radius, radius))):
        padded, length = F.pad(image, sides, mode="replicate"), image.shape[axis]
        image = padded.narrow(axis, radius, length) * weights[0]
        for distance in range(1, radius + 1):
            for start in (radius - distance, radius + distance):
                image.add_(padded.narrow(axis, start, length), alpha=weights[distance])
    return image


def _derivatives(level: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """Size of the gradient and larger and smaller eigenvalue of the Hessian of (B, C, H, W), by central differences.

    All three are brought to about the spread of grey values, whatever the scale (``sigma``, in pixels of the level).
    """
    q = F.pad(level, (1, 1, 1, 1), mode="replicate").mul_(_GAIN * sigma)
    above, middle, below = q[..., :-2, 1:-1], q[..., 1:-1, 1:-1], q[..., 2:, 1:-1]
    across = q[..., 2:] - q[..., :-2]  # with a row more above and below
    double_dx, double_dy = across[..., 1:-1, :], below - above
    fourfold_dxy = across[..., 2:, :] - across[..., :-2, :]
    beside, upright = q[..., 1:-1, :-2] + q[..., 1:-1, 2:], above + below
    gradient = double_dy.square_().addcmul_(double_dx, double_dx).sqrt_().div_(2)
    difference = beside - upright
    spread = difference.square_().addcmul_(fourfold_dxy, fourfold_dxy, value=0.25).sqrt_()
    total = beside.add_(upright).sub_(middle, alpha=4)
    return gradient, total + spread, total.sub_(spread)
