"""What pixels without a label can teach: that neighbours which look alike are of one class."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["gated_crf_loss"]

_DISTANCES = (1, 2, 4)
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Down and right; each pair of pixels is met once."""
_REACH_PX = 6.0
"""Standard deviation of the Gaussian over distance."""
_LIKENESS = 0.5
"""Standard deviation of the Gaussian over grey value or colour, as a share of that of the crop."""


def gated_crf_loss(logits: Tensor, images: Tensor, target: Tensor) -> Tensor:
    """How often neighbours that look alike are of different classes, where not both are labelled.

    ``Σ_{i,j} u_ij g_ij exp(-mean_c (x_i - x_j)² / 2 σ_x²) (1 - p_i · p_j) / (n Σ_j g_ij)`` over pairs of pixels 1, 2 and 4 px apart in
    eight directions, with ``g_ij = exp(-|i - j|² / 2 σ_d²)``, their probabilities p and grey values or colours x; ``u_ij`` is 0 where
    both are labelled, else 1, and n the number of pixels. After Obukhov et al. (arXiv 1906.04651), who take all pixels around each and a
    fixed σ_x: these are 12 pairs a pixel instead of 60.

    A few strokes alone say little about where a class ends. Dense labels leave no such pair, and cost 0. Much of it thins what is thin
    already.

    Parameters
    ----------
    logits
        ``(B, C, H, W)``.
    images
        ``(B, channels, H, W)``, in any unit: differences count relative to the spread of each channel of each crop.
    target
        Class indices ``(B, H, W)``, negative where unlabelled.

    Returns
    -------
    Tensor
        A scalar between 0 and 1.
    """
    probabilities = logits.float().softmax(dim=1)
    values = _standardized(images.float())
    labelled = target >= 0
    height, width = target.shape[-2:]
    total, nearness = 0 * probabilities.sum(), 0.0
    for distance in _DISTANCES:
        for direction in _DIRECTIONS:
            down, right = (distance * step for step in direction)
            near = math.exp(-(down**2 + right**2) / (2 * _REACH_PX**2))
            nearness += near
            if down >= height or abs(right) >= width:
                continue
            one = (..., slice(height - down), slice(max(0, -right), width - max(0, right)))
            other = (..., slice(down, height), slice(max(0, right), width - max(0, -right)))
            unlike = (values[one] - values[other]).square().mean(dim=1)
            weight = near * torch.exp(unlike / (-2 * _LIKENESS**2))
            weight = weight * ~(labelled[one] & labelled[other])
            apart = 1 - (probabilities[one] * probabilities[other]).sum(dim=1)
            total = total + (weight * apart).sum()
    return total / (target.numel() * nearness)


def _standardized(images: Tensor) -> Tensor:
    """Each channel of each crop with mean 0 and standard deviation 1; 0 where it is constant."""
    spread, middle = torch.std_mean(images, dim=(-2, -1), correction=0, keepdim=True)
    return (images - middle) / torch.where(spread > 0, spread, torch.ones_like(spread))
