"""Coarser levels of labels: which pixels they take, and how they are written with little memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.data.formats.ngff import Level

__all__ = ["LevelShape", "aligned_blocks", "fill_level", "halved_levels", "sampled_indices"]

_SMALLEST_PX = 512
_BLOCK_BYTES = 2**26


@dataclass(frozen=True)
class LevelShape:
    """Shape of a level, its chunks and, in Zarr 3, the shards that hold several chunks."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None


def halved_levels(
    shape: Sequence[int], axes: str, scale: Sequence[float], shift: Sequence[float]
) -> list[tuple[Level, tuple[int, ...]]]:
    """Levels with their shapes, each with pixels twice as long as the one before, until a plane is at most 512 px long.

    Of a volume with thick sections rows and columns come first, until the pixels are about as long as the sections. The pixels of a
    level begin at the same edge as those of the finest.

    Parameters
    ----------
    shape, axes, scale, shift
        Of the finest level.
    """
    lengths, sizes = [int(n) for n in shape], [float(s) for s in scale]
    factors = np.ones(len(lengths))
    levels: list[tuple[Level, tuple[int, ...]]] = []
    while True:
        shifts = np.asarray(shift) + np.asarray(scale) * (factors - 1) / 2
        level = Level(str(len(levels)), tuple(sizes), tuple(float(s) for s in shifts))
        levels.append((level, tuple(lengths)))
        if max(n for n, axis in zip(lengths, axes, strict=True) if axis in "YX") <= _SMALLEST_PX:
            return levels
        shortest = min(abs(size) for size, axis in zip(sizes, axes, strict=True) if axis in "YX")
        for place, axis in enumerate(axes):
            if axis in "YX" or (
                axis == "Z" and lengths[place] > 1 and abs(sizes[place]) < 2 * shortest
            ):
                lengths[place] = math.ceil(lengths[place] / 2)
                sizes[place] *= 2
                factors[place] *= 2


def sampled_indices(
    levels: Sequence[Level], shapes: Sequence[tuple[int, ...]], axis: int
) -> list[NDArray[np.int64]]:
    """For each level but the finest, the indices along an axis of the level before that its pixels take.

    A pixel takes, of those pixels of the finest level that the level before has kept, the one whose centre is nearest to its own.
    """
    finest = levels[0]
    kept = np.arange(shapes[0][axis], dtype=np.int64)
    taken = []
    for level, shape in zip(levels[1:], shapes[1:], strict=True):
        centres = level.translation[axis] + level.scale[axis] * np.arange(shape[axis])
        if finest.scale[axis] and np.isfinite(centres).all():
            wanted = (centres - finest.translation[axis]) / finest.scale[axis]
        else:  # a file that does not know its scale
            factor = shapes[0][axis] / shape[axis]
            wanted = factor * np.arange(shape[axis]) + (factor - 1) / 2
        above = np.clip(np.searchsorted(kept, wanted), 1, max(1, len(kept) - 1))
        above = np.minimum(above, len(kept) - 1)
        below = np.maximum(above - 1, 0)
        # of two at the same distance the first
        further = np.abs(kept[above] - wanted) - np.abs(kept[below] - wanted) > -1e-6
        nearest = np.where(further, below, above)
        taken.append(nearest)
        kept = kept[nearest]
    return taken


def fill_level(coarse: Any, fine: Any, taken: Sequence[NDArray[np.int64]]) -> None:
    """Write a level from the one before it, some chunks at a time.

    Parameters
    ----------
    coarse, fine
        zarr arrays.
    taken
        For each axis the indices of `sampled_indices` for this level.
    """
    shrink = math.prod(fine.shape) / math.prod(coarse.shape)
    most = max(1, int(_BLOCK_BYTES / shrink))
    for block in aligned_blocks(coarse.shape, coarse.shards or coarse.chunks, coarse.dtype, most):
        own = [indices[part] for indices, part in zip(taken, block, strict=True)]
        region = tuple(slice(int(i.min()), int(i.max()) + 1) for i in own)
        read = np.asarray(fine[region])
        coarse[block] = read[np.ix_(*(i - part.start for i, part in zip(own, region, strict=True)))]


def aligned_blocks(
    shape: Sequence[int],
    grain: Sequence[int],
    dtype: np.dtype[Any],
    most_bytes: int = _BLOCK_BYTES,
) -> Iterator[tuple[slice, ...]]:
    """Regions that cover an array and are whole chunks, as many together as may be in memory, the last axes first."""
    steps = [min(int(g), int(n)) for g, n in zip(grain, shape, strict=True)]
    for axis in reversed(range(len(steps))):
        room = most_bytes // (math.prod(steps) * dtype.itemsize)
        steps[axis] = min(int(shape[axis]), steps[axis] * max(1, room))
        if steps[axis] < shape[axis]:
            break
    counts = [math.ceil(n / step) for n, step in zip(shape, steps, strict=True)]
    for index in np.ndindex(*counts):
        yield tuple(
            slice(i * step, min((i + 1) * step, int(n)))
            for i, step, n in zip(index, steps, shape, strict=True)
        )
