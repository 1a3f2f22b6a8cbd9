"""One image file to its result files."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam2_adapters.batch.extras import write_extras
from napari_sam2_adapters.batch.pixel_counts import Counts, count_values, name_counts
from napari_sam2_adapters.batch.streaming import can_stream, stream_labels
from napari_sam2_adapters.config import ClassInfo, PredictConfig
from napari_sam2_adapters.data.axes import ArrayLike, label_axes
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.io import (
    check_format,
    read_image,
    write_array,
    write_labels,
)
from napari_sam2_adapters.data.losses import lost_in_file
from napari_sam2_adapters.data.normalize import advise_on_values
from napari_sam2_adapters.data.units import convert, length_in_metres, unit_name

if TYPE_CHECKING:
    from napari_sam2_adapters.inference.outputs import Prediction
    from napari_sam2_adapters.inference.region import Region
    from napari_sam2_adapters.inference.tile_progress import TileProgress
    from napari_sam2_adapters.models.model_file import AdapterHeader
    from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["SegmentedFile", "notes_of", "segment_file"]


@dataclass(frozen=True)
class SegmentedFile:
    """What is told of an image whose results are written; fields as in `report.Entry`."""

    pixels: dict[str, int]
    pixel_size: tuple[float, ...] | None
    unit: str | None
    notices: tuple[str, ...]


def segment_file(
    segmenter: Segmenter,
    header: AdapterHeader,
    source: Path,
    outputs: Mapping[str, Path],
    config: PredictConfig,
    *,
    overwrite: bool,
    extras: Mapping[str, Path] | None = None,
    key: str | None = None,
    later: Sequence[Path] = (),
    part: Callable[[ImageFile], Region] | None = None,
) -> Generator[TileProgress, None, SegmentedFile]:
    """Segment an image file, yielding after each tile, and write its results.

    Parameters
    ----------
    segmenter, header
        As `load_adapter` gives them, perhaps folded.
    source
        The image file.
    outputs
        Where to write ``labels``, unless they are left out, and, where asked for in ``config``, ``probabilities`` and
        ``uncertainty``.
    config
        How to segment.
    overwrite
        Whether to replace files.
    extras
        What to write besides, as `write_extras` takes it; what of it cannot be written is said in the notices.
    key
        Of everything that the labels depend on: OME-Zarr labels that a killed run began under this key are gone on with. Without one,
        those that are left before their end are removed.
    later
        Label images that the caller will write of the result: their formats are to hold its axes.
    part
        Gives the part of the image to segment; the results have the size of the whole, with 0 beside it. None for all of it.

    Raises
    ------
    ValueError
        When the image cannot be read or does not fit the model.
    OSError
        When a result cannot be written.
    """
    image = read_image(source)
    notices = notes_of(image, header)
    axes = label_axes(image.axes)
    for path in later:
        check_format(path, axes)
    for kind, path in outputs.items():  # refuse before the work what could not be written after it
        check_format(path, f"C{axes}" if kind == "probabilities" else axes)
    target = outputs.get("labels")
    if target is not None and (lost := lost_in_file(target, image.geometry)):
        notices.append(lost)
    if part is None and target is not None and can_stream(target, image.axes, config):
        tiles = stream_labels(
            segmenter,
            header,
            image,
            target,
            config,
            key=key,
            overwrite=overwrite,
        )
    else:
        region = None if part is None else part(image)
        tiles = _segment_in_memory(
            segmenter, header, image, outputs, config, region, overwrite=overwrite
        )
    labels, counts = yield from _noting(tiles, notices)
    if extras:
        notices += write_extras(image, labels, header.classes, extras, overwrite=overwrite)
    pixels = name_counts(counts, header.classes)
    return SegmentedFile(pixels, image.pixel_size, image.unit, tuple(notices))


def _noting(
    tiles: Generator[TileProgress, None, tuple[ArrayLike, Counts]], notices: list[str]
) -> Generator[TileProgress, None, tuple[ArrayLike, Counts]]:
    """Pass the tiles on, and keep what they have to say."""
    while True:
        try:
            tile = next(tiles)
        except StopIteration as end:
            result: tuple[ArrayLike, Counts] = end.value
            return result
        if tile.notice:
            notices.append(tile.notice)
        yield tile


def _segment_in_memory(
    segmenter: Segmenter,
    header: AdapterHeader,
    image: ImageFile,
    outputs: Mapping[str, Path],
    config: PredictConfig,
    region: Region | None,
    *,
    overwrite: bool,
) -> Generator[TileProgress, None, tuple[ArrayLike, Counts]]:
    from napari_sam2_adapters.inference.predict import allocate_outputs, predict_tiles

    arrays = allocate_outputs(segmenter, image.array.shape, image.axes, config)
    yield from predict_tiles(
        segmenter,
        image.array,
        image.axes,
        normalization=header.normalization,
        config=config,
        outputs=arrays,
        rgb=image.rgb,
        region=region,
    )
    for path in outputs.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    _write(image, arrays, outputs, header.classes, overwrite=overwrite)
    return arrays.labels, count_values(arrays.labels, label_axes(image.axes))


def _write(
    image: ImageFile,
    arrays: Prediction,
    outputs: Mapping[str, Path],
    classes: tuple[ClassInfo, ...],
    *,
    overwrite: bool,
) -> None:
    axes = label_axes(image.axes)
    place: dict[str, Any] = {
        "geometry": image.geometry,
        "source": image.path,
        "overwrite": overwrite,
    }
    if arrays.probabilities is not None:
        write_array(
            outputs["probabilities"],
            arrays.probabilities,
            axes=f"C{axes}",
            channels=classes,
            **place,
        )
    if arrays.uncertainty is not None:
        write_array(outputs["uncertainty"], arrays.uncertainty, axes=axes, **place)
    # The labels come last: where they lie, the image is done.
    if "labels" in outputs:
        write_labels(outputs["labels"], arrays.labels, axes=axes, classes=classes, **place)


def notes_of(image: ImageFile, header: AdapterHeader) -> list[str]:
    """What is remarkable about an image before it is segmented."""
    values = advise_on_values(image.array, image.axes, header.normalization)
    return [note for note in (*image.notices, values, _scale_note(image, header)) if note]


def _scale_note(image: ImageFile, header: AdapterHeader) -> str:
    """A sentence when the pixels are of another size than those the adapter knows, else nothing."""
    if not (image.pixel_size and header.pixel_size):
        return ""
    known, wanted = (unit_name(unit) for unit in (image.unit, header.unit))
    if known != wanted and None in (length_in_metres(known), length_in_metres(wanted)):
        return ""
    here, there = convert(image.pixel_size[-1], known, wanted), header.pixel_size[-1]
    if 2 / 3 < here / there < 3 / 2:
        return ""
    return (
        f"Its pixels are {here:g} {wanted or 'pixel'} wide, but the adapter was trained on {there:g}. "
        "Resize the image if the mask looks wrong."
    )
