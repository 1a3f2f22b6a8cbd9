"""Segmenting images of any size and number of planes, tile by tile.

`predict_tiles` is the engine: a generator that the viewer, the command line and `predict` all run. It reads the image region by region,
holds one row of tiles, and writes rows into the outputs as soon as they are final, so that whoever stops it keeps what is done.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.config import Normalization, PredictConfig
from napari_sam2_adapters.data.axes import (
    ArrayLike,
    channel_count,
    check_axes,
    guess_axes,
    label_axes,
    plane_indices,
    plane_shape,
    read_plane,
    without_alpha,
)
from napari_sam2_adapters.data.normalize import (
    intensity_limits,
    normalize_plane,
    resolve_normalization,
)
from napari_sam2_adapters.inference.network import Tile, TileTooLargeError, segment_tiles
from napari_sam2_adapters.inference.outputs import Outputs, Prediction, allocate_outputs
from napari_sam2_adapters.inference.tiling import BlendedRows, gaussian_window, tile_starts
from napari_sam2_adapters.inference.uncertainty import normalized_entropy, softmax
from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["Outputs", "Prediction", "TileProgress", "allocate_outputs", "predict", "predict_tiles"]

SMALLEST_TILE_PX = 128


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
        What had to be changed to go on, in a sentence, or None.
    """

    done: int
    total: int
    plane: tuple[int, ...]
    rows: slice
    notice: str | None = None


def predict(
    segmenter: Segmenter,
    image: ArrayLike,
    *,
    axes: str | None = None,
    normalization: Normalization | None = None,
    config: PredictConfig | None = None,
) -> Prediction:
    """Segment an image and return label values in memory.

    Parameters
    ----------
    segmenter
        The network; `Segmenter.folded` makes it faster.
    image
        numpy, dask or zarr array of one or many planes.
    axes
        Names of its axes, such as ``"ZYX"``; guessed from the shape when None.
    normalization
        How grey values are scaled; a model file's header has the one it was trained with.
    config
        Tile size, overlap, and what else to return.

    Raises
    ------
    ValueError
        When the image does not fit its axes or the model's number of channels.
    """
    config = config or PredictConfig()
    names = axes or guess_axes(image.shape)
    outputs = allocate_outputs(segmenter, image.shape, names, config)
    for _ in predict_tiles(
        segmenter, image, names, normalization=normalization, config=config, outputs=outputs
    ):
        pass
    return outputs


def predict_tiles(
    segmenter: Segmenter,
    image: ArrayLike,
    axes: str,
    *,
    normalization: Normalization | None = None,
    config: PredictConfig | None = None,
    outputs: Outputs | Prediction,
    rgb: bool | None = None,
) -> Generator[TileProgress, None, None]:
    """Segment an image into ``outputs``, yielding after each tile.

    It can be left at any yield: rows that were announced are in the outputs. When the device's memory is too small, the batch, then the
    tile shrinks, then the CPU takes over, and a record says so.

    Parameters
    ----------
    segmenter, image, axes, normalization, config
        As in `predict`.
    outputs
        Arrays to write into, for example from `allocate_outputs` or zarr.
    rgb
        Whether the channels are colours; guessed from the element type and the axes when None.

    Raises
    ------
    ValueError
        When the image does not fit its axes, the outputs or the model's number of channels.
    """
    config = config or PredictConfig()
    check_axes(image.shape, axes)
    image = without_alpha(image, axes) if segmenter.config.input_channels == 3 else image
    _check(segmenter, image, axes, outputs)
    colours = axes.endswith("C") if rgb is None else rgb
    settled = resolve_normalization(normalization or Normalization(), image.dtype, axes, colours)
    run = _Run(segmenter, image, axes, settled, config, outputs)
    while True:
        try:
            yield from run.tiles()
        except TileTooLargeError:
            message = run.make_smaller()
            yield TileProgress(run.done, run.total, run.current_plane, slice(0, 0), message)
        else:
            return


def _check(
    segmenter: Segmenter, image: ArrayLike, axes: str, outputs: Outputs | Prediction
) -> None:
    channels, wanted = channel_count(image.shape, axes), segmenter.config.input_channels
    if channels != wanted:
        raise ValueError(
            f"The image has {channels} channel(s) but the model was trained on {wanted}. "
            "Choose an image of the same kind, or train a model on this kind of image."
        )
    plain = tuple(n for n, axis in zip(image.shape, axes, strict=True) if axis != "C")
    if tuple(outputs.labels.shape) != plain:
        raise ValueError(
            f"The output for the labels has shape {tuple(outputs.labels.shape)} but the image needs {plain}."
        )


class _Run:
    """One image on its way through the network; it can start again with smaller tiles at the plane it reached."""

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

    @property
    def current_plane(self) -> tuple[int, ...]:
        """Position of the plane in work."""
        return self.planes[min(self.plane, len(self.planes) - 1)]

    def _plan(self) -> None:
        height, width = plane_shape(self.image.shape, self.axes)
        side, overlap = self.config.tile_size_px, self.config.overlap
        self.window = gaussian_window(min(side, height), min(side, width))
        self.rows = tile_starts(height, side, overlap)
        self.columns = tile_starts(width, side, overlap)
        self.per_plane = len(self.rows) * len(self.columns)
        self.done = self.plane * self.per_plane
        self.total = len(self.planes) * self.per_plane

    def make_smaller(self) -> str:
        """Halve the tiles or, when they are smallest, move the network to the CPU; says which."""
        device = self.segmenter.device
        half = max(SMALLEST_TILE_PX, self.config.tile_size_px // 64 * 32)
        if min(self.window.shape) > half and half < self.config.tile_size_px:
            self.config = self.config.model_copy(update={"tile_size_px": half, "batch_size": 1})
            self._plan()
            return f"The memory of {device} is full: going on with tiles of {half} px."
        if device.type == "cpu":
            raise MemoryError(
                "The memory is too small even for the smallest tile. Close other programs, or choose a smaller backbone."
            )
        self.segmenter = self.segmenter.to("cpu")
        self._plan()
        return f"The memory of {device} is full even for the smallest tile: going on with the CPU, which is slower."

    def tiles(self) -> Iterator[TileProgress]:
        """Segment from the current plane on."""
        height, width = plane_shape(self.image.shape, self.axes)
        band = BlendedRows(self.segmenter.n_classes, self.window.shape[0], width)
        last_column = self.columns[-1]
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
                self.plane = tile.plane
            band.add(logits, tile.row, tile.column, self.window)
            start = stop = band.first_row
            if tile.column == last_column:
                following = [row for row in self.rows if row > tile.row]
                stop = following[0] if following else height
                self._write(self.planes[tile.plane], slice(start, stop), band.take(stop))
            self.done += 1
            notice = self.notices.pop(0) if self.notices else None
            yield TileProgress(
                self.done, self.total, self.planes[tile.plane], slice(start, stop), notice
            )

    def _read(self, first_plane: int) -> Iterator[Tile]:
        height, width = self.window.shape
        for plane in range(first_plane, len(self.planes)):
            for row in self.rows:
                # A whole row of tiles is read at once: chunks that tiles share are decompressed once.
                rows = slice(row, row + height)
                band = read_plane(self.image, self.axes, self.planes[plane], rows)
                for column in self.columns:
                    part = band[:, :, column : column + width]
                    yield Tile(plane, row, column, normalize_plane(part, self.limits))

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
