"""Windows of the held-out regions: which parts of the images are scored, each seen with its surroundings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.data.axes import plane_shape
from napari_sam2_adapters.data.dataset import Dataset, Region

__all__ = ["Window", "choose_windows", "labelled_windows", "split_length"]


@dataclass(frozen=True)
class Window:
    """A part of a held-out region that goes through the network at once.

    Attributes
    ----------
    region
        What is read.
    core
        Rows and columns of the window that are scored; the cores of a region's windows tile it, and the rest of a
        window is context.
    class_counts
        Labelled pixels ``(C,)`` of each class in the core.
    """

    region: Region
    core: tuple[slice, slice]
    class_counts: NDArray[np.int64]

    @property
    def core_area(self) -> int:
        """Pixels of the core."""
        rows, columns = self.core
        return int((rows.stop - rows.start) * (columns.stop - columns.start))


def split_length(low: int, high: int, length: int, window: int) -> list[tuple[slice, slice]]:
    """Cover the part ``low … high`` of a length by windows of one size.

    Returns
    -------
    list of (slice, slice)
        Each window, and its core within it. Cores tile the part and keep an eighth of the window as context on
        each side, save at the ends of the whole length. A window may reach out of the part, as it does when the
        whole image is segmented.
    """
    count = -(-(high - low) // max(window - 2 * (window // 8), 1))
    if length <= window:
        count, window = 1, length
    edges = [low + round((high - low) * i / count) for i in range(count + 1)]
    spans = []
    for first, last in itertools.pairwise(edges):
        start = min(max((first + last - window) // 2, 0), length - window)
        spans.append((slice(start, start + window), slice(first - start, last - start)))
    return spans


def labelled_windows(dataset: Dataset, window_px: int) -> list[Window]:
    """Cover the held-out regions by windows, image by image; those without a label are left out, since they tell nothing."""
    every = (w for region in dataset.held_out for w in _windows(dataset, region, window_px))
    return [window for window in every if window.class_counts.any()]


def choose_windows(windows: Sequence[Window], *, most_pixels: int, seed: int) -> list[int]:
    """Choose windows of no more pixels than that, drawn class by class, at least one.

    Returns
    -------
    list of int
        Which ones, ascending; those chosen for more pixels with the same seed are these and others.
    """
    if sum(_area(w) for w in windows) <= most_pixels:
        return [*range(len(windows))]
    order = np.random.default_rng(seed).permutation(len(windows))
    shuffled = [windows[i] for i in order]
    chosen: list[int] = []
    pixels = 0
    for index in _class_by_class(shuffled):
        if chosen and pixels + _area(shuffled[index]) > most_pixels:
            break
        chosen.append(index)
        pixels += _area(shuffled[index])
    return sorted(order[chosen].tolist())


def _windows(dataset: Dataset, region: Region, window_px: int) -> Iterator[Window]:
    pair = dataset.pairs[region.pair]
    height, width = plane_shape(pair.image.shape, pair.axes)
    for rows, core_rows in split_length(region.rows.start, region.rows.stop, height, window_px):
        for columns, core_columns in split_length(
            region.columns.start, region.columns.stop, width, window_px
        ):
            window = replace(region, rows=rows, columns=columns)
            labels = dataset.read_labels(window)[core_rows, core_columns]
            counts = np.bincount(labels[labels >= 0], minlength=len(dataset.classes))
            yield Window(window, (core_rows, core_columns), counts.astype(np.int64))


def _area(window: Window) -> int:
    rows, columns = window.region.rows, window.region.columns
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


def _class_by_class(windows: Sequence[Window]) -> Iterator[int]:
    """Indices of all windows, each class in turn giving its next one, the rarest class first."""
    counts = np.stack([window.class_counts for window in windows])
    taken = np.zeros(len(windows), dtype=bool)
    rarest_first = np.argsort((counts > 0).sum(axis=0), kind="stable")
    while not taken.all():
        for index in rarest_first:
            free = np.flatnonzero(~taken & (counts[:, index] > 0))
            if free.size:
                taken[free[0]] = True
                yield int(free[0])
