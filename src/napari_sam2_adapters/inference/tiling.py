"""Tiles that cover an image, and their blending row by row.

Logits of overlapping tiles are averaged with a Gaussian window, so that a pixel is decided by the tile in whose middle it lies. Only one
row of tiles is held: as soon as no later tile can touch a pixel row, it is final and leaves.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["BlendedRows", "gaussian_window", "tile_starts", "touching"]

_LEAST_WEIGHT = 1e-3
"""Weight of a tile's corner relative to its middle: positive, so that a pixel under one tile alone has a mean."""


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


class BlendedRows:
    """Weighted mean of overlapping tiles, for the band of image rows that tiles may still touch.

    Parameters
    ----------
    channels
        Values per pixel.
    band_height, width
        Height of a tile and width of the image (px).
    first_row
        Row of the image at which the tiles begin.
    """

    def __init__(self, channels: int, band_height: int, width: int, first_row: int = 0) -> None:
        self._sum = np.zeros((channels, band_height, width), np.float32)
        self._weight = np.zeros((band_height, width), np.float32)
        self.first_row = first_row
        self._taken = 0

    def add(
        self, values: NDArray[np.float32], row: int, column: int, window: NDArray[np.float32]
    ) -> None:
        """Add a tile (channels, h, w) whose first pixel lies at (row, column) of the image."""
        self._make_room()
        height, width = window.shape
        rows = slice(row - self.first_row, row - self.first_row + height)
        columns = slice(column, column + width)
        self._sum[:, rows, columns] += values * window
        self._weight[rows, columns] += window

    def mean(self, row: int, column: int, height: int, width: int) -> NDArray[np.float32]:
        """The means (channels, height, width) as they stand in a part that tiles have covered; later tiles may change them."""
        self._make_room()
        rows = slice(row - self.first_row, row - self.first_row + height)
        columns = slice(column, column + width)
        means: NDArray[np.float32] = self._sum[:, rows, columns] / self._weight[rows, columns]
        return means

    def take(self, stop_row: int) -> NDArray[np.float32]:
        """The means (channels, n, width) of the rows before ``stop_row``, which no later tile may touch.

        They lie in the memory of the sums, since a row of tiles may be long: they hold until the next tile is added.
        """
        self._make_room()
        self._taken = stop_row - self.first_row
        self.first_row = stop_row
        finished = self._sum[:, : self._taken]
        finished /= self._weight[: self._taken]
        return finished

    def _make_room(self) -> None:
        """Let go of the rows that were taken."""
        if not self._taken:
            return
        kept = self._weight.shape[0] - self._taken
        for band in (self._weight, *self._sum):
            band[:kept] = band[self._taken :]
            band[kept:] = 0
        self._taken = 0
