"""Labels of images of any size, streamed into OME-Zarr by rows of chunks, so that a killed run goes on where it was.

While it is written, the label image is a hidden folder beside its target, and a small hidden file says which rows of it are final.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.batch.pixel_counts import Counts, count_values
from napari_sam2_adapters.config import PredictConfig, Settings
from napari_sam2_adapters.data.axes import ArrayLike, label_axes, plane_indices, plane_shape
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.io import read_labels

if TYPE_CHECKING:
    from napari_sam2_adapters.inference.tiled_run import TileProgress
    from napari_sam2_adapters.models.model_file import AdapterHeader
    from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["can_stream", "kept_drafts", "stream_labels"]

CHUNK_PX = 512
_SUFFIX = ".progress.json"


class _Progress(Settings):
    """What the hidden file says: all planes before ``plane`` are final, and the rows of that plane before ``row``."""

    key: str
    draft: str
    array: str
    plane: int = 0
    row: int = 0


@dataclass(frozen=True)
class _Draft:
    """A label image in work: its finest level, and how far it is."""

    level0: Any
    file: Path
    progress: _Progress


def can_stream(target: Path, axes: str, config: PredictConfig) -> bool:
    """Whether the labels of an image go to the disk by chunk: into OME-Zarr, alone, with the axes in its order."""
    plain = label_axes(axes)
    ordered = "".join(axis for axis in "TZYX" if axis in plain)
    extras = config.probabilities or config.uncertainty
    return target.name.lower().endswith(".ome.zarr") and plain == ordered and not extras


def kept_drafts(folder: Path) -> set[Path]:
    """Hidden folders in a folder of results that a later run goes on with."""
    found = (_read(file) for file in folder.glob(f".*{_SUFFIX}"))
    return {folder / progress.draft for progress in found if progress is not None}


def stream_labels(
    segmenter: Segmenter,
    header: AdapterHeader,
    image: ImageFile,
    target: Path,
    config: PredictConfig,
    *,
    key: str,
    overwrite: bool,
) -> Generator[TileProgress, None, tuple[ArrayLike, Counts]]:
    """Segment an image into OME-Zarr, yielding after each tile; memory holds a row of tiles and a row of chunks.

    Left at a yield, or killed, it has kept the rows that are final, and goes on with the others when it is called again.

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
        Of everything that the labels depend on: a draft with another one is begun anew.
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
    from napari_sam2_adapters.data.formats.ome_zarr import finish_labels
    from napari_sam2_adapters.inference.outputs import Outputs
    from napari_sam2_adapters.inference.predict import find_limits, predict_tiles
    from napari_sam2_adapters.inference.region import Region

    limits = find_limits(segmenter, image.array, image.axes, header.normalization, image.rgb)
    draft = _open(segmenter, image, target, key, overwrite=overwrite)
    planes = plane_indices(image.array.shape, image.axes)
    progress = draft.progress
    regions = []
    if progress.row:
        regions.append(Region((planes[progress.plane],), slice(progress.row, None)))
    later = planes[progress.plane + bool(progress.row) :]
    if later:
        regions.append(Region(tuple(later)))

    def note(plane: tuple[int, ...], row: int, *, last: bool) -> None:
        number = planes.index(plane)
        place = {"plane": number + 1, "row": 0} if last else {"plane": number, "row": row}
        _note(draft.file, progress.model_copy(update=place))

    def segment(region: Region) -> Iterator[TileProgress]:
        rows = _ChunkRows(draft.level0, plane_shape(image.array.shape, image.axes), note)
        return predict_tiles(
            segmenter,
            image.array,
            image.axes,
            normalization=header.normalization,
            config=config,
            outputs=Outputs(rows),
            rgb=image.rgb,
            region=region,
            limits=limits,
        )

    before = 0
    for number, region in enumerate(regions):
        tile = None
        for tile in segment(region):
            # tiles of planes that are still to come are guessed by those of this region
            to_come = len(later) * tile.total if number + 1 < len(regions) else 0
            yield replace(tile, done=before + tile.done, total=before + tile.total + to_come)
        before += tile.total if tile is not None else 0
    counts = count_values(draft.level0, label_axes(image.axes))
    finish_labels(draft.level0, target, overwrite=overwrite)
    draft.file.unlink()
    return read_labels(target).array, counts


def _open(
    segmenter: Segmenter, image: ImageFile, target: Path, key: str, *, overwrite: bool
) -> _Draft:
    """The draft of an earlier run, if there is one of the same labels; else a new one, and the earlier one is removed."""
    import zarr

    from napari_sam2_adapters.data.formats.ome_zarr import create_labels, discard_labels

    file = target.with_name(f".{target.name}{_SUFFIX}")
    known = _read(file)
    if known is not None and (target.parent / known.draft / known.array).is_dir():
        level0 = zarr.open_array(str(target.parent / known.draft / known.array), mode="r+")
        if known.key == key:
            return _Draft(level0, file, known)
        discard_labels(level0)
    axes = label_axes(image.axes)
    shape = tuple(n for n, axis in zip(image.array.shape, image.axes, strict=True) if axis != "C")
    largest = max(info.value for info in segmenter.classes)
    target.parent.mkdir(parents=True, exist_ok=True)
    level0 = create_labels(
        target,
        shape,
        axes,
        np.min_scalar_type(largest),
        geometry=image.geometry,
        classes=segmenter.classes,
        source=image.path,
        # a row of chunks of one plane is final as soon as its tiles are
        chunks=[CHUNK_PX if axis in "YX" else 1 for axis in axes],
        overwrite=overwrite,
    )
    array = Path(level0.store.root) / str(level0.path)
    progress = _Progress(key=key, draft=array.parent.name, array=array.name)
    _note(file, progress)
    return _Draft(level0, file, progress)


class _ChunkRows:
    """Takes rows of planes as they become final, and writes them in whole chunks."""

    def __init__(
        self,
        level0: Any,
        plane: tuple[int, int],
        note: Callable[..., None],
    ) -> None:
        self.shape: tuple[int, ...] = tuple(level0.shape)
        self.dtype = level0.dtype
        self._level0, self._note = level0, note
        self._height, width = plane
        self._buffer: NDArray[Any] = np.zeros((CHUNK_PX, width), level0.dtype)
        self._first = 0
        """Row of the plane that the buffer begins with."""

    def __setitem__(self, key: tuple[Any, ...], value: NDArray[Any]) -> None:
        *plane, rows, _ = key
        if rows.start < self._first or rows.start >= self._first + CHUNK_PX:
            # a new plane, a part that begins farther down, or a plane that is done anew with smaller tiles
            self._first = rows.start // CHUNK_PX * CHUNK_PX
        at = rows.start
        while at < rows.stop:
            end = min(self._first + CHUNK_PX, self._height)
            upto = min(rows.stop, end)
            part = value[at - rows.start : upto - rows.start]
            self._buffer[at - self._first : upto - self._first] = part
            at = upto
            if at == end:
                place = (*plane, slice(self._first, end), slice(None))
                self._level0[place] = self._buffer[: end - self._first]
                self._note(tuple(plane), end, last=end == self._height)
                self._first = 0 if end == self._height else end


def _note(file: Path, progress: _Progress) -> None:
    text = json.dumps(progress.model_dump())
    write_atomically(file, lambda stream: stream.write(text.encode()), overwrite=True)


def _read(file: Path) -> _Progress | None:
    """What a hidden file says; None where there is none, or one that is not ours."""
    if not file.is_file():
        return None
    try:
        return _Progress.model_validate_json(file.read_bytes())
    except ValidationError:
        return None
