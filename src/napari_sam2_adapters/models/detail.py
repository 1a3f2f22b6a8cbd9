"""A light head that tells classes by the pixels themselves, beside SAM's decoder.

The decoder's logits have stride 4, so that it draws nothing finer than some four pixels: no thin vessel, no gap between two nuclei. And what
a random forest on pixels has from the start, grey values smoothed at several scales, edges and ridges, it first has to learn. This head is
such a classifier, at full resolution: a small network on fixed features of each pixel, whose logits are added to the decoder's. It learns
together with the adapters at ten times their rate, so that the decoder learns what pixels cannot tell. The head is ours: in neither SAM2 nor
the papers.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2_adapters.models.backbone import pad_to_multiple

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
    with _full_precision(image.device):
        height, width = image.shape[2:]
        level = finer = image.float()
        features = []
        stride, reached = 1, 0.0
        for sigma in SCALES_PX:
            if sigma > 2:
                level, stride = F.avg_pool2d(level, 2), stride * 2
            level = _blur(level, math.sqrt(sigma**2 - reached**2) / stride)
            reached = sigma
            found = torch.cat([level, *_derivatives(level, sigma / stride)], dim=1)
            if stride > 1:
                found = F.interpolate(found, (height, width), mode="bilinear", align_corners=False)
            smoothed = found[:, : image.shape[1]]
            features += [_GAIN * (finer - smoothed), found[:, image.shape[1] :]]
            finer = smoothed
        return torch.cat([finer, *features], dim=1)


def _full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Differences of neighbours are lost in bfloat16."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Smooth (B, C, H, W) by a Gaussian cut off at three standard deviations; edges are repeated."""
    radius = math.ceil(3 * sigma - 0.5)
    position = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    weights = torch.exp(-0.5 * (position / sigma) ** 2)
    weights = weights / weights.sum()
    batch, channels, height, width = image.shape
    single = image.reshape(batch * channels, 1, height, width)
    along = F.conv2d(
        F.pad(single, (radius, radius, 0, 0), mode="replicate"), weights.view(1, 1, 1, -1)
    )
    both = F.conv2d(
        F.pad(along, (0, 0, radius, radius), mode="replicate"), weights.view(1, 1, -1, 1)
    )
    return both.view(batch, channels, height, width)


def _derivatives(level: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """Size of the gradient and larger and smaller eigenvalue of the Hessian of (B, C, H, W), by central differences.

    All three are brought to about the spread of grey values, whatever the scale (``sigma``, in pixels of the level).
    """
    q = F.pad(level, (1, 1, 1, 1), mode="replicate") * (_GAIN * sigma)
    middle = q[..., 1:-1, 1:-1]
    left, right = q[..., 1:-1, :-2], q[..., 1:-1, 2:]
    above, below = q[..., :-2, 1:-1], q[..., 2:, 1:-1]
    dx, dy = (right - left) / 2, (below - above) / 2
    dxx, dyy = left + right - 2 * middle, above + below - 2 * middle
    dxy = (q[..., 2:, 2:] + q[..., :-2, :-2] - q[..., :-2, 2:] - q[..., 2:, :-2]) / 4
    mean, half = (dxx + dyy) / 2, (dxx - dyy) / 2
    spread = (half * half + dxy * dxy).sqrt()
    return (dx * dx + dy * dy).sqrt(), 2 * (mean + spread), 2 * (mean - spread)
