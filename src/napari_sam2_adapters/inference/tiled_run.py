"""One image on its way through the network: tiles are read, segmented, blended and written, plane by plane."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.data.axes import (
    ArrayLike,
    channel_count,
    chunk_width,
    label_axes,
    plane_shape,
    read_plane,
)
from napari_sam2_adapters.data.normalize import Limits, normalize_plane
from napari_sam2_adapters.inference.blending import Blending
from napari_sam2_adapters.inference.network import Tile, copy_to_cpu, segment_tiles
from napari_sam2_adapters.inference.outputs import Outputs, Prediction, bytes_in_memory
from napari_sam2_adapters.inference.read_ahead import read_ahead
from napari_sam2_adapters.inference.region import Region, overlap, settle_region
from napari_sam2_adapters.inference.results import ResultRows, Results
from napari_sam2_adapters.inference.tile_plan import plan_tiles, smaller_tile
from napari_sam2_adapters.inference.tile_progress import Advance, TileProgress
from napari_sam2_adapters.inference.tiling import (
    gaussian_window,
    longest_overlap,
    side_by_side,
    tile_length,
    tile_starts,
    touching,
)
from napari_sam2_adapters.models.compiled import CompiledNetwork
from napari_sam2_adapters.models.device import computes_bfloat16
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.wording import counted

__all__ = ["TiledRun"]

WHOLE_PLANE_BYTES = 2**25
"""Parts of planes up to this size are read in one go: lazy stacks of files decode a whole plane for any part of it."""

_READ_PX, _READ_CHUNKS = 4096, 4
"""Of wider rows of tiles so many pixels are read at once, or so many chunks where they are wide: chunks at their ends are decompressed twice."""

_NOTHING = slice(0, 0)


class TiledRun:
    """One image on its way through the network; it can start again with smaller tiles at the plane it reached.

    Parameters
    ----------
    segmenter, image, axes, config, outputs, region, live
        As in `predict_tiles`, checked.
    limits
        Grey values that become 0 and 1.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        image: ArrayLike,
        axes: str,
        limits: Limits,
        config: PredictConfig,
        outputs: Outputs | Prediction,
        region: Region,
        *,
        live: bool,
    ) -> None:
        self.segmenter, self.image, self.axes = segmenter, image, axes
        self.limits, self.config, self.outputs, self.live = limits, config, outputs, live
        self.planes, self.wanted_rows, self.wanted_columns = settle_region(
            region, image.shape, axes
        )
        self.values = np.array(
            [c.value for c in segmenter.classes],
            np.min_scalar_type(max(c.value for c in segmenter.classes)),
        )
        self.plane = 0
        self.done = 0
        self.notice: str | None = None
        self._telling, self._advance = threading.Lock(), Advance()
        self.most_at_once = sys.maxsize
        # side of a tile, and up to what length an axis is not cut
        self.wanted_px = config.tile_size_px, config.whole_up_to_px
        self.whole_up_to_px = config.whole_up_to_px
        self.compiled = self._compile()
        self._fit_to_memory()
        device = segmenter.device
        if config.bfloat16 and self.notice is None and not computes_bfloat16(device):
            self.notice = f"Not in bfloat16, which {device} does not compute in, as far as PyTorch tells: in full precision."

    def _compile(self) -> CompiledNetwork | None:
        return CompiledNetwork(self.segmenter, self._tell) if self.config.compile else None

    def _fit_to_memory(self) -> None:
        """Lay out the tiles, smaller than wanted when not one of those would fit, and say how many go through together."""
        self._lay_out()
        plan = plan_tiles(
            self.segmenter,
            self.config,
            window=self.window.shape,
            most=min(self.most_at_once, self.total - self.done),
            held_bytes=self._held_bytes,
        )
        self.plan, self.batch_size, self.notice = plan, plan.at_once, plan.notice
        if plan.notice is not None:
            self._take_tiles_of(plan.side_px)

    def _held_bytes(self, side: int) -> int:
        """What is in the network's memory besides its tensors: pixels that are read at once twice, sums where the next row overlaps, and results."""
        if self.segmenter.device.type == "cuda":
            return 0  # all of that is in the main memory
        height = min(side, self.window.shape[0])
        width = self.read_columns.stop - self.read_columns.start
        pixels = height * min(width, self.read_px) * channel_count(self.image.shape, self.axes)
        length = plane_shape(self.image.shape, self.axes)[0]
        starts = tile_starts(length, height, self.config.overlap)
        sums = longest_overlap(starts, height) * width * (self.segmenter.n_classes + 1) * 4
        own = self.outputs
        results = sum(map(bytes_in_memory, (own.labels, own.probabilities, own.uncertainty)))
        return int(2 * pixels * self.image.dtype.itemsize + sums + results)

    def _take_tiles_of(self, side: int, whole_up_to: int = 0) -> None:
        self.config = self.config.model_copy(update={"tile_size_px": side})
        self.whole_up_to_px = whole_up_to
        self._lay_out()

    def _lay_out(self) -> None:
        """Take those tiles of the whole image that touch the region, so that a part comes out as it would in a run over all."""
        height, width = plane_shape(self.image.shape, self.axes)
        side, share = self.config.tile_size_px, self.config.overlap
        tall, wide = (tile_length(n, side, self.whole_up_to_px) for n in (height, width))
        self.window = gaussian_window(tall, wide)
        self.rows = touching(tile_starts(height, tall, share), tall, self.wanted_rows)
        self.columns = touching(tile_starts(width, wide, share), wide, self.wanted_columns)
        self.read_rows = slice(self.rows[0], self.rows[-1] + tall)
        self.read_columns = slice(self.columns[0], self.columns[-1] + wide)
        self.read_px = max(_READ_PX, _READ_CHUNKS * chunk_width(self.image, self.axes))
        self.groups = side_by_side(self.columns, wide, self.read_px)
        self.per_plane = len(self.rows) * len(self.columns)
        self.done = self.plane * self.per_plane
        self.total = len(self.planes) * self.per_plane

    def make_smaller(self) -> None:
        """Halve the tiles or, when they are smallest, go on with a copy of the network on the CPU.

        The next record says which; of several changes in a row it says the last.

        Raises
        ------
        MemoryError
            When neither is left.
        """
        device = self.segmenter.device
        if self._take_smaller(f"memory of {device}"):
            return
        if device.type != "cpu":
            self.segmenter = copy_to_cpu(self.segmenter)
            self.compiled = self._compile()
            self._take_tiles_of(*self.wanted_px)  # there is more room there
            self._fit_to_memory()
            self.notice = f"The memory of {device} is full even for the smallest tile: going on with the CPU, which is slower. {self.plan.sentence}"
        else:
            raise MemoryError(
                "The memory is too small even for the smallest tile. Close other programs, or choose a smaller backbone."
            )

    def planned(self) -> TileProgress:
        """The record that comes before the first tile."""
        return replace(self._progress(self.plane, _NOTHING, (_NOTHING, _NOTHING)), plan=self.plan)

    def hold_less(self) -> None:
        """Take half as many tiles at a time, or else smaller ones, so that less is held in the main memory; the next record says so.

        Raises
        ------
        MemoryError
            When one of the smallest is too many.
        """
        if self.batch_size > 1:
            self._lay_out()
            self.most_at_once = self.batch_size // 2  # also on the CPU, should it come to that
            self._take_fewer(self.most_at_once, "main memory")
        elif self._take_smaller("main memory"):
            self.wanted_px = self.config.tile_size_px, 0
        else:
            raise MemoryError(
                "The main memory is too small even for one row of the smallest tiles. Close other programs, or segment a part of the image."
            )

    def _take_smaller(self, full: str) -> bool:
        smaller = smaller_tile(max(self.window.shape), self.config.tile_size_px)
        if smaller is None:
            return False
        self.batch_size = 1
        self._take_tiles_of(smaller)
        self.notice = f"The {full} is full: going on with tiles of {smaller} px."
        return True

    def tiles(self) -> Iterator[TileProgress]:
        """Segment from the current plane on."""
        n_classes = self.segmenter.n_classes
        blending = Blending(n_classes, self.window, self.rows, self.columns)
        finished = ResultRows(self.outputs, self.values, self.read_columns)
        tiles = self._read(self.plane)
        results = segment_tiles(
            self.segmenter,
            read_ahead(tiles, self.batch_size) if self.total - self.done > 1 else tiles,
            batch_size=self.batch_size,
            views=self.config.test_time_augmentation,
            bfloat16=self.config.bfloat16,
            network=self.compiled,
            on_full=self._take_fewer,
        )
        if self.segmenter.device.type != "cpu":  # it computes while results are blended here
            results = read_ahead(results, self.batch_size)
        for tile, logits in results:
            blended = blending.add(logits, tile.row, tile.column)
            finished.add(blended.rows, blended.columns, blended.final())
            final, changed = _NOTHING, (_NOTHING, _NOTHING)
            if tile.column == self.columns[-1]:
                changed = self._write(tile.plane, finished.take())
                final = changed[0]
                if blended.rows.stop == self.read_rows.stop:
                    self.plane = tile.plane + 1
            elif self.live:
                so_far = finished.decide(tile.row, tile.column, blended.so_far())
                changed = self._write(tile.plane, so_far)
            self.done += 1
            yield self._progress(tile.plane, final, changed)

    def _take_fewer(self, at_once: int, full: str = "") -> None:
        self.batch_size = at_once
        full = full or f"memory of {self.segmenter.device}"
        self._tell(f"The {full} is full: going on with {counted(at_once, 'tile')} at a time.")

    def _tell(self, notice: str) -> None:
        with self._telling:
            self.notice = notice if self.notice is None else f"{self.notice} {notice}"

    def _progress(self, plane: int, rows: slice, changed: tuple[slice, slice]) -> TileProgress:
        with self._telling:
            notice, self.notice = self.notice, None
        done, total = self._advance(Fraction(self.done, self.total), self.total)
        return TileProgress(done, total, self.planes[plane], rows, changed, notice)

    def _read(self, first_plane: int) -> Iterator[Tile]:
        height, width = self.window.shape
        for plane in range(first_plane, len(self.planes)):
            for row, columns, band in self._bands(self.planes[plane], height, width):
                for column in columns:
                    left = column - columns[0]
                    part = band[:, :, left : left + width]
                    yield Tile(plane, row, column, normalize_plane(part, self.limits))
                del band, part  # before the next one is read

    def _bands(
        self, plane: tuple[int, ...], height: int, width: int
    ) -> Iterator[tuple[int, list[int], NDArray[np.generic]]]:
        """First row and first columns of tiles that lie side by side, and their pixels (C, height, width of all) in the image's type.

        They are read at once, so that chunks that they share are decompressed once.
        """
        n_rows, n_columns = (s.stop - s.start for s in (self.read_rows, self.read_columns))
        of_pixel = channel_count(self.image.shape, self.axes) * self.image.dtype.itemsize
        if n_rows * n_columns * of_pixel <= WHOLE_PLANE_BYTES:
            whole = read_plane(self.image, self.axes, plane, self.read_rows, self.read_columns)
            for row in self.rows:
                top = row - self.read_rows.start
                yield row, self.columns, whole[:, top : top + height]
            return
        for row, columns in itertools.product(self.rows, self.groups):
            part = slice(row, row + height), slice(columns[0], columns[-1] + width)
            yield row, columns, read_plane(self.image, self.axes, plane, *part)

    def _write(self, plane: int, results: Results) -> tuple[slice, slice]:
        """Write what of results belongs to the region; gives rows and columns."""
        rows = overlap(self.wanted_rows, results.row, results.labels.shape[0])
        columns = overlap(self.wanted_columns, results.column, results.labels.shape[1])
        if rows.start < rows.stop and columns.start < columns.stop:
            others = iter(self.planes[plane])
            place = {"Y": rows, "X": columns}
            key = tuple(place.get(axis) or next(others) for axis in label_axes(self.axes))
            results.write(self.outputs, key, rows, columns)
        return rows, columns
