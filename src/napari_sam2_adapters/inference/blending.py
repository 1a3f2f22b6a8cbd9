"""Blending of tiles that overlap.

Logits are averaged with a Gaussian window, so that a pixel is decided by the tile in whose middle it lies. As soon as no later tile can touch
a pixel, its mean is final and leaves, so what is held is a tile and, of a row of tiles, the pixels that the next row overlaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.inference.tiling import longest_overlap

__all__ = ["BlendedTile", "Blending"]


@dataclass(frozen=True)
class BlendedTile:
    """What is known of the pixels of a tile when it has been added.

    Attributes
    ----------
    rows, columns
        Those of its pixels, counted in the image, that no later tile touches.
    sums
        ``(channels + 1, h, w)`` of all its pixels: weighted values of the tiles so far and, last, their weights.
    """

    rows: slice
    columns: slice
    sums: NDArray[np.float32]

    def final(self) -> NDArray[np.float32]:
        """The means (channels, n, m) of the pixels that are final."""
        sums = self.sums[
            :, : self.rows.stop - self.rows.start, : self.columns.stop - self.columns.start
        ]
        means: NDArray[np.float32] = sums[:-1] / sums[-1]
        return means

    def so_far(self) -> NDArray[np.float32]:
        """The means (channels, h, w) of the whole tile as they stand; later tiles may change them."""
        means: NDArray[np.float32] = self.sums[:-1] / self.sums[-1]
        return means


class Blending:
    """Weighted mean of tiles that come row by row, each row from left to right.

    Parameters
    ----------
    channels
        Values per pixel.
    window
        ``(h, w)`` weights of a tile's pixels.
    rows, columns
        First pixels of the tiles along each axis, ascending, no farther apart than a tile is long.
    """

    def __init__(
        self,
        channels: int,
        window: NDArray[np.float32],
        rows: Sequence[int],
        columns: Sequence[int],
    ) -> None:
        tall, wide = window.shape
        self._window, self._first_column = window, columns[0]
        self._next_row = dict(zip(rows, [*rows[1:], rows[-1] + tall], strict=True))
        self._next_column = dict(zip(columns, [*columns[1:], columns[-1] + wide], strict=True))
        width = columns[-1] + wide - columns[0]
        self._above = np.zeros((channels + 1, longest_overlap(rows, tall), width), np.float32)
        """Sums and weights of the pixels that a row of tiles has in common with the next."""
        self._of_above = 0  # of its rows that hold something for the tiles in hand
        self._before = self._above[:, :, :0]  # likewise of the tile to the left
        self._first_row = rows[0]

    def add(self, values: NDArray[np.float32], row: int, column: int) -> BlendedTile:
        """Add a tile (channels, h, w) whose first pixel lies at (row, column) of the image.

        The first tile of the first row begins anew, with another plane.
        """
        tall, wide = self._window.shape
        if column == self._first_column:
            self._before = self._above[:, :, :0]
            if row == self._first_row:
                self._of_above = 0
        sums = np.empty((len(self._above), tall, wide), np.float32)
        np.multiply(values, self._window, out=sums[:-1])
        sums[-1] = self._window
        known = self._before.shape[2]  # columns; what lies above them is in there
        if known:
            sums[:, :, :known] += self._before
        left = column - self._first_column
        above = self._above[:, : self._of_above, left + known : left + wide]
        sums[:, : self._of_above, known:] += above

        rows = slice(row, self._next_row[row])
        columns = slice(column, self._next_column[column])
        height, width = rows.stop - row, columns.stop - column
        self._above[:, : tall - height, left : left + width] = sums[:, height:, :width]
        self._before = sums[:, :, width:]
        if columns.stop == self._first_column + self._above.shape[2]:
            self._of_above = tall - height
        return BlendedTile(rows, columns, sums)
