"""One huge image among several workers: one opens it, each segments bands of it, and one gives its labels their name."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam2_adapters.batch.bands import Bands, Run, count_bands, missing
from napari_sam2_adapters.batch.draft import (
    Draft,
    bands_of,
    finish_draft,
    level0_of,
    open_draft,
)
from napari_sam2_adapters.batch.extras import write_extras
from napari_sam2_adapters.batch.pixel_counts import name_counts
from napari_sam2_adapters.batch.report import Entry
from napari_sam2_adapters.batch.segment_file import SegmentedFile, notes_of
from napari_sam2_adapters.batch.segment_item import (
    Network,
    Progress,
    Task,
    key_of,
    reported,
    segment_item,
    success,
)
from napari_sam2_adapters.batch.stamps import FileStamp
from napari_sam2_adapters.batch.streaming import can_stream, stream_bands
from napari_sam2_adapters.config import Settings
from napari_sam2_adapters.data.axes import label_axes
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.io import read_image
from napari_sam2_adapters.data.normalize import Limits
from napari_sam2_adapters.models.memory_plan import MemoryPlan

if TYPE_CHECKING:
    from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["LEAST_TILES", "Opened", "Part", "Steps", "open_item"]

LEAST_TILES = 64
"""An image of fewer tiles is left to the worker that opens it: bands of it would cost more than they bring."""


class Opened(Settings):
    """An image whose labels are begun, for all workers that segment bands of it.

    Attributes
    ----------
    draft
        Its labels in work.
    shape, axes
        Of the image.
    band_px
        Height of its bands.
    low, high
        Its `Limits`, which come from the whole of it.
    source
        What its file holds.
    notices
        What is remarkable about it.
    """

    draft: Draft
    shape: tuple[int, ...]
    axes: str
    band_px: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    source: FileStamp
    notices: tuple[str, ...] = ()

    @property
    def bands(self) -> Bands:
        """Its bands."""
        return Bands(self.shape, self.axes, self.band_px)


@dataclass(frozen=True)
class Part:
    """What one worker is to do with an image.

    Attributes
    ----------
    task
        The image.
    opened
        What is known of it; None to open it, and to segment it if it is small.
    run
        Bands to segment; None, when it is opened, to give the complete labels their name.
    notices
        What was told of the bands, for the report.
    seconds
        What the bands took.
    """

    task: Task
    opened: Opened | None = None
    run: Run | None = None
    notices: tuple[str, ...] = ()
    seconds: float = 0.0


Step = Callable[[Network, Part], Generator[Progress, None, Entry | Opened | None]]
"""Gives the line of the report of an image that is done or has failed, what is known of one to be shared, or nothing for bands."""


def open_item(
    network: Network, part: Part, least_tiles: int = LEAST_TILES
) -> Generator[Progress, None, Entry | Opened]:
    """Begin the labels of a huge image, so that several workers can go on with them; segment any other one.

    Raises
    ------
    OSError
        As `segment_item`.
    """
    task = part.task
    if task.known is not None or not _is_huge(task, least_tiles):
        return (yield from segment_item(network, task))
    return (yield from reported(task, lambda stamp: _open(network, task, stamp)))


def segment_bands(network: Network, part: Part) -> Generator[Progress, None, Entry | None]:
    """Segment bands of an image that is opened, yielding after each tile and telling which bands are final.

    Raises
    ------
    OSError
        As `segment_item`.
    """
    opened, run = part.opened, part.run
    if opened is None or run is None:
        raise ValueError("Only bands of an image that was opened can be segmented.")
    return (
        yield from reported(
            part.task, lambda _: _segment(network, part.task, opened, run), opened.source
        )
    )


def finish_item(network: Network, part: Part) -> Generator[Progress, None, Entry]:
    """Give the labels of an image their name when all bands are final, and write what comes besides.

    Raises
    ------
    OSError
        As `segment_item`.
    """
    opened = part.opened
    if opened is None:
        raise ValueError("Only an image that was opened can be finished.")
    return (yield from reported(part.task, lambda _: _finish(network, part, opened), opened.source))


@dataclass(frozen=True)
class Steps:
    """What workers do with an image; others than these are for measuring what the rest costs."""

    open: Step = open_item
    segment: Step = segment_bands
    finish: Step = finish_item

    def of(self, part: Part) -> Step:
        """The step for a part."""
        if part.opened is None:
            return self.open
        return self.finish if part.run is None else self.segment


def _is_huge(task: Task, least_tiles: int) -> bool:
    """Whether the labels are streamed and the tiles are many."""
    target = task.item.outputs.get("labels")
    if target is None or not can_stream(target, "YX", task.predict):
        return False
    try:
        image = read_image(task.item.source)
    except Exception:  # said by whoever segments it
        return False
    whole = Bands(_shape(image), image.axes, _shape(image)[image.axes.index("Y")])
    enough = whole.tiles((0, whole.count), task.predict) >= least_tiles
    return enough and can_stream(target, image.axes, task.predict)


def _open(network: Network, task: Task, stamp: FileStamp) -> Generator[Progress, None, Opened]:
    from napari_sam2_adapters.inference.predict import find_limits

    yield Progress(task.item.index, 0.0, 0, 0)
    segmenter, image = _network(network), read_image(task.item.source)
    target = task.item.outputs["labels"]
    limits = find_limits(
        segmenter, image.array, image.axes, network.header.normalization, image.rgb
    )
    draft = open_draft(
        target, image, segmenter.classes, key_of(task, stamp), overwrite=task.replace
    )
    bands = bands_of(level0_of(target, draft), image)
    return Opened(
        draft=draft,
        shape=bands.shape,
        axes=image.axes,
        band_px=bands.height_px,
        low=limits.low,
        high=limits.high,
        source=stamp,
        notices=tuple(notes_of(image, network.header)),
    )


def _segment(
    network: Network, task: Task, opened: Opened, run: Run
) -> Generator[Progress, None, None]:
    started = time.perf_counter()
    final: list[int] = []
    plan: MemoryPlan | None = None
    tiles = stream_bands(
        _network(network),
        network.header.normalization,
        _same_image(task, opened),
        task.item.outputs["labels"],
        opened.draft,
        [run],
        task.predict,
        Limits(opened.low, opened.high),
        final.append,
    )
    for tile in tiles:
        notices = (tile.notice,) if tile.notice else ()
        plan = plan or tile.plan
        seconds = time.perf_counter() - started
        done, total, bands = tile.done, tile.total, tuple(final)
        yield Progress(task.item.index, seconds, done, total, notices, bands, plan)
        final.clear()


def _finish(network: Network, part: Part, opened: Opened) -> Generator[Progress, None, Entry]:
    task, started = part.task, time.perf_counter()
    yield Progress(task.item.index, part.seconds, 0, 0)
    left = count_bands(missing(opened.draft.done, opened.bands.count))
    if left:
        raise RuntimeError(f"{left} bands of the labels are not segmented yet.")
    image, target = _same_image(task, opened), task.item.outputs["labels"]
    axes, notices = label_axes(image.axes), list(dict.fromkeys(part.notices))
    labels, counts = finish_draft(target, opened.draft, axes, overwrite=task.replace)
    if task.extra_files:
        notices += write_extras(
            image, labels, network.header.classes, task.extra_files, overwrite=task.replace
        )
    pixels = name_counts(counts, network.header.classes)
    result = SegmentedFile(pixels, image.pixel_size, image.unit, (*opened.notices, *notices))
    return success(task, opened.source, result, part.seconds + time.perf_counter() - started)


def _same_image(task: Task, opened: Opened) -> ImageFile:
    image = read_image(task.item.source)
    if _shape(image) != opened.shape or image.axes != opened.axes:
        raise ValueError(
            f"{task.item.source} was changed while it was segmented. Segment it again when it is complete."
        )
    return image


def _shape(image: ImageFile) -> tuple[int, ...]:
    return tuple(int(n) for n in image.array.shape)


def _network(network: Network) -> Segmenter:
    if network.segmenter is None:
        raise RuntimeError("The network was not loaded, but there is an image to segment.")
    return network.segmenter
