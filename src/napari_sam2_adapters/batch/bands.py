"""Rows of chunks of a label image, numbered through all its planes: what is final, what is missing, and what tiles it takes.

A band is a row of chunks of one plane. No two bands have a chunk in common, so several processes may write bands of one image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.data.axes import plane_shape
from napari_sam2_adapters.inference.region import Region
from napari_sam2_adapters.inference.tiling import tile_length, tile_starts

__all__ = ["Bands", "Run", "count_bands", "joined", "missing"]

Run = tuple[int, int]
"""Bands from the first number up to, but without, the second."""


@dataclass(frozen=True)
class Bands:
    """The bands of an image.

    Attributes
    ----------
    shape, axes
        Those of the image.
    height_px
        Height of a chunk; the last band of a plane may be lower.
    """

    shape: tuple[int, ...]
    axes: str
    height_px: int

    @property
    def per_plane(self) -> int:
        """Bands of a plane."""
        return math.ceil(plane_shape(self.shape, self.axes)[0] / self.height_px)

    @property
    def count(self) -> int:
        """Bands of all planes."""
        return self.per_plane * math.prod(self._lengths)

    @property
    def _lengths(self) -> list[int]:
        """Lengths of the axes other than Y, X and C."""
        return [n for n, axis in zip(self.shape, self.axes, strict=True) if axis not in "YXC"]

    def number(self, plane: tuple[int, ...], row: int) -> int:
        """The band that a pixel row of a plane lies in."""
        before = int(np.ravel_multi_index(plane, self._lengths)) if plane else 0
        return before * self.per_plane + row // self.height_px

    def regions(self, run: Run, config: PredictConfig) -> list[tuple[Region, int]]:
        """The parts of the image that a run covers, each with its tiles: the end of a plane, whole planes, and the beginning of one."""
        return [
            (
                Region(tuple(self._plane(number) for number in range(*planes)), rows),
                self._tiles_of(planes, rows, config),
            )
            for planes, rows in self._pieces(run)
        ]

    def tiles(self, run: Run, config: PredictConfig) -> int:
        """Tiles that touch a run."""
        return sum(self._tiles_of(planes, rows, config) for planes, rows in self._pieces(run))

    def _tiles_of(self, planes: tuple[int, int], rows: slice, config: PredictConfig) -> int:
        height, width = plane_shape(self.shape, self.axes)
        tall, wide = (
            tile_length(n, config.tile_size_px, config.whole_up_to_px) for n in (height, width)
        )
        starts = tile_starts(height, tall, config.overlap)
        columns = len(tile_starts(width, wide, config.overlap))
        upper, lower, _ = rows.indices(height)
        touching = sum(start < lower and start + tall > upper for start in starts)
        return (planes[1] - planes[0]) * touching * columns

    def _pieces(self, run: Run) -> Iterator[tuple[tuple[int, int], slice]]:
        """Numbers of planes, and their rows, that a run covers."""
        each = self.per_plane
        first, stop = run
        while first < stop:
            plane, band = divmod(first, each)
            whole = (stop - first) // each
            if band == 0 and whole:
                yield (plane, plane + whole), slice(None)
                first += whole * each
                continue
            upto = min(stop - plane * each, each)
            end = None if upto == each else upto * self.height_px
            yield (plane, plane + 1), slice(band * self.height_px or None, end)
            first = plane * each + upto

    def _plane(self, number: int) -> tuple[int, ...]:
        lengths = self._lengths
        return tuple(int(i) for i in np.unravel_index(number, lengths)) if lengths else ()


def missing(done: Iterable[Run], count: int) -> tuple[Run, ...]:
    """What of ``count`` bands is in none of the runs, which are in order."""
    gaps, upto = [], 0
    for first, stop in done:
        if first > upto:
            gaps.append((upto, first))
        upto = stop
    return (*gaps, (upto, count)) if upto < count else tuple(gaps)


def joined(runs: Sequence[Run], more: Run) -> tuple[Run, ...]:
    """Runs in order, with one more among them; those that touch become one."""
    merged: list[Run] = []
    for first, stop in sorted((*runs, more)):
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(stop, merged[-1][1])
        elif first < stop:
            merged.append((first, stop))
    return tuple(merged)


def count_bands(runs: Iterable[Run]) -> int:
    """Bands of some runs together."""
    return sum(stop - first for first, stop in runs)
