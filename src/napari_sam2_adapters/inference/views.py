"""Test-time augmentation: the mean of what a network says of several views of a tile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam2_adapters.config import ViewsName
from napari_sam2_adapters.models.device import full_precision

__all__ = ["Network", "most_seen_pixels", "over_views"]

Network = Callable[[Tensor], Tensor]
"""Maps tiles (B, C, h, w) to logits (B, classes, h, w)."""

_TILT_DEGREES = 10
_ZOOMS = (0.87, 1.15)
"""Chosen on ten slices of ACDC's validation patients, two draws: benchmarks/results/notes.md."""


def over_views(network: Network, batch: Tensor, views: ViewsName) -> Tensor:
    """Logits of a batch by a network that sees it in one or several ways.

    Parameters
    ----------
    network
        Maps (B, C, H, W) of any size to logits (B, classes, H, W).
    batch
        (B, C, H, W) float.
    views
        ``none``: the batch as it is. ``flips_and_turns``: the eight symmetries of the square. ``tilts_and_zooms``: the batch, and tilted to both
        sides by 10°, each smaller and larger; what a tilt lacks is mirrored, and larger views take more memory.

    Returns
    -------
    Tensor
        (B, classes, H, W): the network's own logits, or the logarithm of the mean softmax over the views.
    """
    if views == "none":
        return network(batch)
    # Softmax and logarithm of the mean, rather than the mean of logits: the former is a probability.
    several = _symmetries if views == "flips_and_turns" else _tilts_and_zooms
    total = torch.full((), -math.inf, device=batch.device)
    count = 0
    for log_probabilities in several(network, batch):
        total = torch.logaddexp(total, log_probabilities)
        count += 1
    return total - math.log(count)


def most_seen_pixels(height: int, width: int, views: ViewsName) -> int:
    """Pixels of the largest view of a tile; that of a long and thin one holds many times as many as the tile when it is tilted."""
    if views != "tilts_and_zooms":
        return height * width
    return max(height * width, *(math.prod(_tilted(height, width, zoom)) for zoom in _ZOOMS))


def _symmetries(network: Network, batch: Tensor) -> Iterator[Tensor]:
    for turns, flipped in product(range(4), (False, True)):
        turned = torch.rot90(batch, turns, (2, 3))
        logits = network(turned.flip(3) if flipped else turned).float().log_softmax(1)
        yield torch.rot90(logits.flip(3) if flipped else logits, -turns, (2, 3))


def _tilts_and_zooms(network: Network, batch: Tensor) -> Iterator[Tensor]:
    yield network(batch).float().log_softmax(1)
    height, width = batch.shape[2:]
    for sign, zoom in product((1, -1), _ZOOMS):
        tilt = math.radians(sign * _TILT_DEGREES)
        seen = _resampled(batch, tilt, zoom, _tilted(height, width, zoom))
        probabilities = network(seen).float().softmax(1)
        back = _resampled(probabilities, -tilt, 1 / zoom, (height, width))
        yield back.clamp_min_(torch.finfo(back.dtype).tiny).log_()


def _tilted(height: int, width: int, zoom: float) -> tuple[int, int]:
    """Rows and columns that hold a whole tile, tilted and zoomed."""
    tilt = math.radians(_TILT_DEGREES)
    cosine, sine = math.cos(tilt), math.sin(tilt)
    return (
        math.ceil(zoom * (height * cosine + width * sine)),
        math.ceil(zoom * (width * cosine + height * sine)),
    )


def _resampled(x: Tensor, tilt: float, zoom: float, size: tuple[int, int]) -> Tensor:
    """``x`` (B, C, h, w) turned about its centre by ``tilt`` (radians), and larger by ``zoom``; (B, C, *size), mirrored beyond its edges."""
    (height, width), (rows, columns) = x.shape[2:], size
    cosine, sine = math.cos(tilt) / zoom, math.sin(tilt) / zoom
    # from the result's pixels to those of x, both counted from -1 to 1 over their edges
    matrix = x.new_tensor(
        [
            [cosine * columns / width, sine * rows / width, 0],
            [-sine * columns / height, cosine * rows / height, 0],
        ]
    )
    with full_precision(x.device):  # in bfloat16 places are off by a pixel and more
        grid = F.affine_grid(
            matrix.expand(len(x), 2, 3), [len(x), 1, rows, columns], align_corners=False
        )
        return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
