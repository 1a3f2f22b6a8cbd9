"""Square crops drawn where labels are, with every class as often as the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.data.dataset import Dataset, Region
from napari_sam2_adapters.metrics import UNLABELLED

__all__ = ["CropSampler"]

_REMEMBERED_PIXELS = 4096


class CropSampler:
    """Draws crops: first a class, then a region that has it, then one of its pixels, then a crop around it.

    Parameters
    ----------
    dataset
        Source; only its learning part is drawn from.
    crop_size_px
        Side of the crop that must contain the drawn pixel.
    rng
        Source of all choices; with its state restored, the same crops follow.

    Raises
    ------
    ValueError
        When the data set has nothing to learn from or the crop has no pixel.
    """

    def __init__(self, dataset: Dataset, crop_size_px: int, rng: np.random.Generator) -> None:
        if crop_size_px < 1:
            raise ValueError(f"A crop has at least one pixel, got a side of {crop_size_px}.")
        self._dataset = dataset
        self._crop_size_px = crop_size_px
        self.rng = rng
        # by class: the regions that have it, each with some of its pixels as (row, column) in the plane
        self._places: list[list[tuple[Region, NDArray[np.int32]]]] = []
        for index in range(len(dataset.classes)):
            found = [(region, self._pixels(region, index)) for region in dataset.train]
            places = [(region, pixels) for region, pixels in found if len(pixels)]
            if places:
                self._places.append(places)
        if not self._places:
            raise ValueError("Nothing is labelled in the part to learn from; label more pixels.")

    def sample(self, size: int | None = None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Draw one crop.

        The drawn pixel lies in the central ``crop_size_px`` square, so a larger ``size`` adds a rim for
        rotation and scaling. What lies outside the region is the mirrored image, unlabelled.

        Parameters
        ----------
        size
            Side of what is given back, at least ``crop_size_px``; None for just that.

        Returns
        -------
        image, labels
            (C, size, size) float32 between 0 and 1, and (size, size) int64 class indices, -1 where unlabelled.

        Raises
        ------
        ValueError
            When ``size`` is below the crop size.
        """
        size = self._crop_size_px if size is None else size
        if size < self._crop_size_px:
            raise ValueError(
                f"The crop is {self._crop_size_px} px wide, so it cannot be had in {size} px; ask for more."
            )
        places = self._places[self.rng.integers(len(self._places))]
        region, pixels = places[self.rng.integers(len(places))]
        row, column = pixels[self.rng.integers(len(pixels))]
        rim = (size - self._crop_size_px) // 2
        top = self._start(int(row), region.rows) - rim
        left = self._start(int(column), region.columns) - rim
        return self._read(region, top, left, size)

    def _start(self, pixel: int, bounds: slice) -> int:
        """A random start of a crop that contains the pixel, inside the bounds where the crop fits."""
        crop = self._crop_size_px
        last = bounds.stop - crop
        if last <= bounds.start:
            return int(self.rng.integers(last, bounds.start + 1))
        lowest = max(pixel - crop + 1, bounds.start)
        return int(self.rng.integers(lowest, min(pixel, last) + 1))

    def _read(
        self, region: Region, top: int, left: int, size: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        rows, before_row, after_row = _clip(top, size, region.rows)
        columns, before_column, after_column = _clip(left, size, region.columns)
        image, labels = self._dataset.read(replace(region, rows=rows, columns=columns))
        pad = ((before_row, after_row), (before_column, after_column))
        image = np.pad(image, ((0, 0), *pad), mode="reflect")
        return image, np.pad(labels.astype(np.int64), pad, constant_values=UNLABELLED)

    def _pixels(self, region: Region, index: int) -> NDArray[np.int32]:
        """Up to some thousand evenly drawn pixels of a class, the same ones each time."""
        labels = self._dataset.read_labels(region)
        flat = np.flatnonzero(labels == index)
        if len(flat) > _REMEMBERED_PIXELS:
            flat = np.random.default_rng(0).choice(flat, _REMEMBERED_PIXELS, replace=False)
        rows, columns = np.unravel_index(flat, labels.shape)
        rows, columns = rows + region.rows.start, columns + region.columns.start
        return np.stack([rows, columns], axis=1).astype(np.int32)


def _clip(start: int, size: int, bounds: slice) -> tuple[slice, int, int]:
    """The part of ``start … start + size`` within the bounds, and what is missing before and after it."""
    inside = slice(max(start, bounds.start), min(start + size, bounds.stop))
    return inside, inside.start - start, start + size - inside.stop
