"""Tiles that cover an image, and the weights of their pixels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "gaussian_window",
    "longest_overlap",
    "side_by_side",
    "tile_length",
    "tile_starts",
    "touching",
]

_LEAST_WEIGHT = 1e-3
"""Weight of a tile's corner relative to its middle: positive, so that a pixel under one tile alone has a mean."""


def tile_length(length: int, tile: int, whole_up_to: int = 0) -> int:
    """Pixels of a tile of side ``tile`` along an axis of the image: all of them where there are no more than that, or than ``whole_up_to``."""
    return length if length <= max(tile, whole_up_to) else tile


def tile_starts(length: int, tile: int, overlap: float) -> list[int]:
    """First pixel of each tile along one axis, evenly spread so that the last one ends with the image.

    Parameters
    ----------
    length, tile
        Pixels of the image and of a tile along this axis; an image no longer than a tile has one tile.
    overlap
        Least share of a tile that it has in common with the next, from 0 to below 1.

    Raises
    ------
    ValueError
        When a length is not positive or the overlap is out of range.
    """
    if length < 1 or tile < 1 or not 0 <= overlap < 1:
        raise ValueError(
            f"Tiles need positive sizes and an overlap from 0 to below 1, got length={length}, tile={tile}, overlap={overlap}."
        )
    if length <= tile:
        return [0]
    step = max(1, round(tile * (1 - overlap)))
    count = math.ceil((length - tile) / step) + 1
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def touching(starts: list[int], length: int, wanted: slice) -> list[int]:
    """First pixels of those tiles that have a pixel of the part."""
    return [start for start in starts if start < wanted.stop and start + length > wanted.start]


def side_by_side(starts: Sequence[int], length: int, most: int) -> list[list[int]]:
    """First pixels of tiles of this length, in groups that together cover at most so many pixels, or one tile."""
    groups: list[list[int]] = []
    for start in starts:
        if groups and start + length - groups[-1][0] <= most:
            groups[-1].append(start)
        else:
            groups.append([start])
    return groups


def longest_overlap(starts: Sequence[int], length: int) -> int:
    """Most pixels along an axis that a tile of this length has in common with the next; 0 for one tile."""
    return max((a + length - b for a, b in itertools.pairwise(starts)), default=0)


def gaussian_window(height: int, width: int) -> NDArray[np.float32]:
    """Weights (height, width) of a tile's pixels: a Gaussian with σ = side / 8, at least 0.001 of the middle's."""
    profiles = []
    for side in (height, width):
        distance = np.arange(side) - (side - 1) / 2
        profiles.append(np.exp(-0.5 * (distance / (side / 8)) ** 2))
    window = np.outer(*profiles)
    weights: NDArray[np.float32] = np.maximum(window, _LEAST_WEIGHT * window.max()).astype(
        np.float32
    )
    return weights
