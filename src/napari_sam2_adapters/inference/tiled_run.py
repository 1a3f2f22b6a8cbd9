"""One image on its way through the network: tiles are read, segmented, blended and written, plane by plane."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.config import Normalization, PredictConfig
from napari_sam2_adapters.data.axes import (
    ArrayLike,
    channel_count,
    label_axes,
    plane_indices,
    plane_shape,
    read_plane,
)
from napari_sam2_adapters.data.normalize import intensity_limits, normalize_plane
from napari_sam2_adapters.inference.network import Tile, copy_to_cpu, segment_tiles
from napari_sam2_adapters.inference.outputs import Outputs, Prediction
from napari_sam2_adapters.inference.tiling import BlendedRows, gaussian_window, tile_starts
from napari_sam2_adapters.inference.uncertainty import normalized_entropy, softmax
from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["TileProgress", "TiledRun"]

SMALLEST_TILE_PX = 128
WHOLE_PLANE_BYTES = 2**25
"""Planes up to this size are read in one go: lazy stacks of files decode a whole plane for any part of it."""


@dataclass(frozen=True)
class TileProgress:
    """A tile is done.

    Attributes
    ----------
    done, total
        Tiles so far and in all.
    plane
        Position of the plane along the axes other than Y, X and C.
    rows
        Rows of that plane that became final with this tile; often none.
    notice
        What had to be changed to go on, in a sentence, or None. After a change of the tile or of the device, this plane is done anew,
        and its rows are announced again.
    """

    done: int
    total: int
    plane: tuple[int, ...]
    rows: slice
    notice: str | None = None


class TiledRun:
    """One image on its way through the network; it can start again with smaller tiles at the plane it reached.

    Parameters
    ----------
    segmenter, image, axes, config, outputs
        As in `predict_tiles`, checked.
    normalization
        Settled, not ``auto``.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        image: ArrayLike,
        axes: str,
        normalization: Normalization,
        config: PredictConfig,
        outputs: Outputs | Prediction,
    ) -> None:
        self.segmenter, self.image, self.axes = segmenter, image, axes
        self.config, self.outputs = config, outputs
        self.limits = intensity_limits(image, axes, normalization)
        self.planes = plane_indices(image.shape, axes)
        self.values = np.array(
            [c.value for c in segmenter.classes],
            np.min_scalar_type(max(c.value for c in segmenter.classes)),
        )
        self.plane = 0
        self.done = 0
        self.notices: list[str] = []
        self._plan()

    def _plan(self) -> None:
        height, width = plane_shape(self.image.shape, self.axes)
        side, overlap = self.config.tile_size_px, self.config.overlap
        self.window = gaussian_window(min(side, height), min(side, width))
        self.rows = tile_starts(height, side, overlap)
        self.columns = tile_starts(width, side, overlap)
        self.per_plane = len(self.rows) * len(self.columns)
        self.done = self.plane * self.per_plane
        self.total = len(self.planes) * self.per_plane

    def make_smaller(self) -> TileProgress:
        """Halve the tiles or, when they are smallest, go on with a copy of the network on the CPU; says which.

        Raises
        ------
        MemoryError
            When neither is left.
        """
        device, longest = self.segmenter.device, max(self.window.shape)
        half = max(SMALLEST_TILE_PX, longest // 64 * 32)
        if half < longest:
            self.config = self.config.model_copy(update={"tile_size_px": half, "batch_size": 1})
            message = f"The memory of {device} is full: going on with tiles of {half} px."
        elif device.type != "cpu":
            self.config = self.config.model_copy(update={"batch_size": 1})
            self.segmenter = copy_to_cpu(self.segmenter)
            message = f"The memory of {device} is full even for the smallest tile: going on with the CPU, which is slower."
        else:
            raise MemoryError(
                "The memory is too small even for the smallest tile. Close other programs, or choose a smaller backbone."
            )
        self._plan()
        self.notices.append(message)
        return self._progress(self.plane, slice(0, 0))

    def tiles(self) -> Iterator[TileProgress]:
        """Segment from the current plane on."""
        height, width = plane_shape(self.image.shape, self.axes)
        following = dict(zip(self.rows, [*self.rows[1:], height], strict=True))
        band = BlendedRows(self.segmenter.n_classes, self.window.shape[0], width)
        results = segment_tiles(
            self.segmenter,
            self._read(self.plane),
            batch_size=self.config.batch_size,
            test_time_augmentation=self.config.test_time_augmentation,
            notice=self.notices.append,
        )
        for tile, logits in results:
            if tile.row == 0 and tile.column == 0:
                band = BlendedRows(self.segmenter.n_classes, self.window.shape[0], width)
            band.add(logits, tile.row, tile.column, self.window)
            rows = slice(band.first_row, band.first_row)
            if tile.column == self.columns[-1]:
                rows = slice(band.first_row, following[tile.row])
                self._write(self.planes[tile.plane], rows, band.take(rows.stop))
            if rows.stop == height:
                self.plane = tile.plane + 1
            self.done += 1
            yield self._progress(tile.plane, rows)

    def _progress(self, plane: int, rows: slice) -> TileProgress:
        notice = " ".join(self.notices) or None
        self.notices.clear()
        return TileProgress(self.done, self.total, self.planes[plane], rows, notice)

    def _read(self, first_plane: int) -> Iterator[Tile]:
        height, width = self.window.shape
        for plane in range(first_plane, len(self.planes)):
            for row, band in self._bands(self.planes[plane], height):
                for column in self.columns:
                    part = band[:, :, column : column + width]
                    yield Tile(plane, row, column, normalize_plane(part, self.limits))

    def _bands(
        self, plane: tuple[int, ...], height: int
    ) -> Iterator[tuple[int, NDArray[np.generic]]]:
        """First row of each row of tiles, and its pixels (C, height, width of the plane) in the image's type.

        A row of tiles is read at once, so that chunks that its tiles share are decompressed once.
        """
        plane_bytes = (
            math.prod(plane_shape(self.image.shape, self.axes))
            * channel_count(self.image.shape, self.axes)
            * self.image.dtype.itemsize
        )
        whole = None
        if plane_bytes <= WHOLE_PLANE_BYTES:
            whole = read_plane(self.image, self.axes, plane)
        for row in self.rows:
            rows = slice(row, row + height)
            if whole is None:
                yield row, read_plane(self.image, self.axes, plane, rows)
            else:
                yield row, whole[:, rows]

    def _write(self, plane: tuple[int, ...], rows: slice, logits: NDArray[np.float32]) -> None:
        names = label_axes(self.axes)
        others = iter(plane)
        place = {
            axis: rows if axis == "Y" else slice(None) if axis == "X" else next(others)
            for axis in names
        }
        key = tuple(place[axis] for axis in names)
        self.outputs.labels[key] = self.values[logits.argmax(axis=0)]
        if self.outputs.probabilities is None and self.outputs.uncertainty is None:
            return
        probabilities = softmax(logits)
        if self.outputs.probabilities is not None:
            self.outputs.probabilities[(slice(None), *key)] = probabilities
        if self.outputs.uncertainty is not None:
            self.outputs.uncertainty[key] = normalized_entropy(probabilities)
