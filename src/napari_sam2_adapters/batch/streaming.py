"""Labels of images of any size, streamed into OME-Zarr by bands, so that a killed run goes on where it was.

Bands of one image may be written by several processes: each takes the tiles of the whole image that touch its bands, so that the
labels are the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.batch.bands import Run, joined, missing
from napari_sam2_adapters.batch.draft import (
    Draft,
    bands_of,
    discard_draft,
    finish_draft,
    level0_of,
    open_draft,
    write_draft,
)
from napari_sam2_adapters.batch.pixel_counts import Counts
from napari_sam2_adapters.config import Normalization, PredictConfig
from napari_sam2_adapters.data.axes import ArrayLike, label_axes, plane_shape
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.normalize import Limits

if TYPE_CHECKING:
    from napari_sam2_adapters.inference.tile_progress import TileProgress
    from napari_sam2_adapters.models.model_file import AdapterHeader
    from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["can_stream", "stream_bands", "stream_labels"]


def can_stream(target: Path, axes: str, config: PredictConfig) -> bool:
    """Whether the labels of an image go to the disk by chunk: into OME-Zarr, alone, with the axes in its order."""
    plain = label_axes(axes)
    ordered = "".join(axis for axis in "TZYX" if axis in plain)
    extras = config.probabilities or config.uncertainty
    return target.name.lower().endswith(".ome.zarr") and plain == ordered and not extras


def stream_labels(
    segmenter: Segmenter,
    header: AdapterHeader,
    image: ImageFile,
    target: Path,
    config: PredictConfig,
    *,
    key: str | None,
    overwrite: bool,
) -> Generator[TileProgress, None, tuple[ArrayLike, Counts]]:
    """Segment an image into OME-Zarr, yielding after each tile; memory holds a row of tiles and a band.

    Left at a yield, or killed, it has kept the bands that are final, and goes on with the others when it is called again.

    Parameters
    ----------
    segmenter, header
        As `load_adapter` gives them, perhaps folded.
    image
        The image; `can_stream` says which.
    target
        ``NAME.ome.zarr``.
    config
        How to segment.
    key
        Of everything that the labels depend on: a draft with another one is begun anew. None: nobody will go on with it, so that it
        is removed when it is left before its end.
    overwrite
        Whether labels of this name may be replaced.

    Returns
    -------
    array, counts
        The labels, read by region, and the pixels of each value.

    Raises
    ------
    ValueError
        When the image does not fit the model.
    FileExistsError
        When there are labels of this name and ``overwrite`` is not set.
    OSError
        When nothing can be written.
    """
    from napari_sam2_adapters.inference.predict import find_limits

    limits = find_limits(segmenter, image.array, image.axes, header.normalization, image.rgb)
    draft = open_draft(target, image, segmenter.classes, key, overwrite=overwrite)
    done = draft.done

    def note(band: int) -> None:
        nonlocal done
        done = joined(done, (band, band + 1))
        write_draft(target, draft.model_copy(update={"done": done}))

    bands = bands_of(level0_of(target, draft), image)
    runs = missing(draft.done, bands.count)
    try:
        yield from stream_bands(
            segmenter, header.normalization, image, target, draft, runs, config, limits, note
        )
        return finish_draft(target, draft, label_axes(image.axes), overwrite=overwrite)
    except BaseException:
        if key is None:
            discard_draft(target, draft)
        raise


def stream_bands(
    segmenter: Segmenter,
    normalization: Normalization,
    image: ImageFile,
    target: Path,
    draft: Draft,
    runs: Sequence[Run],
    config: PredictConfig,
    limits: Limits,
    note: Callable[[int], None],
) -> Generator[TileProgress, None, None]:
    """Segment bands of an image into its draft, yielding after each tile.

    Parameters
    ----------
    segmenter, image, target, config
        As in `stream_labels`.
    normalization
        That of the adapter.
    draft
        The labels in work.
    runs
        The bands.
    limits
        From `find_limits` of the whole image.
    note
        Told of each band that is on the disk.
    """
    from napari_sam2_adapters.inference.outputs import Outputs
    from napari_sam2_adapters.inference.predict import predict_tiles
    from napari_sam2_adapters.inference.tile_progress import Advance

    level0 = level0_of(target, draft)
    bands = bands_of(level0, image)
    plane = plane_shape(image.array.shape, image.axes)
    regions = [region for run in runs for region in bands.regions(run, config)]
    in_all, before = sum(tiles for _, tiles in regions), 0
    advance = Advance()
    for region, tiles in regions:
        rows = _BandWriter(
            level0, plane, bands.height_px, lambda p, row: note(bands.number(p, row))
        )
        for tile in predict_tiles(
            segmenter,
            image.array,
            image.axes,
            normalization=normalization,
            config=config,
            outputs=Outputs(rows),
            rgb=image.rgb,
            region=region,
            limits=limits,
        ):
            # Tiles become more where the memory makes them smaller; a region still weighs what it did with those that were asked for.
            share = (before + tiles * Fraction(tile.done, tile.total)) / in_all
            done, total = advance(share, in_all - tiles + tile.total)
            yield replace(tile, done=done, total=total)
        before += tiles


class _BandWriter:
    """Takes rows of planes as they become final, and writes them in whole bands."""

    def __init__(
        self,
        level0: Any,
        plane: tuple[int, int],
        height_px: int,
        note: Callable[[tuple[int, ...], int], None],
    ) -> None:
        self.shape: tuple[int, ...] = tuple(level0.shape)
        self.dtype = level0.dtype
        self._level0, self._note, self._each = level0, note, height_px
        self._height, width = plane
        self._buffer: NDArray[Any] = np.zeros((height_px, width), level0.dtype)
        self._first = 0
        """Row of the plane that the buffer begins with."""

    def __setitem__(self, key: tuple[Any, ...], value: NDArray[Any]) -> None:
        *plane, rows, _ = key
        if rows.start < self._first or rows.start >= self._first + self._each:
            # a new plane, a part that begins farther down, or a plane that is done anew with smaller tiles
            self._first = rows.start // self._each * self._each
        at = rows.start
        while at < rows.stop:
            end = min(self._first + self._each, self._height)
            upto = min(rows.stop, end)
            part = value[at - rows.start : upto - rows.start]
            self._buffer[at - self._first : upto - self._first] = part
            at = upto
            if at == end:
                place = (*plane, slice(self._first, end), slice(None))
                self._level0[place] = self._buffer[: end - self._first]
                self._note(tuple(plane), self._first)
                self._first = 0 if end == self._height else end
