"""One image of a batch to its line of the report, on whatever machine."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from napari_sam2_adapters.batch.extras import write_extras
from napari_sam2_adapters.batch.plan import Item, printable
from napari_sam2_adapters.batch.reasons import disk_is_unusable, reason_of
from napari_sam2_adapters.batch.report import Entry
from napari_sam2_adapters.batch.segment_file import SegmentedFile, segment_file
from napari_sam2_adapters.batch.stamps import ExtraStamp, FileStamp
from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.data.axes import in_axes, label_axes
from napari_sam2_adapters.data.io import read_image, read_labels
from napari_sam2_adapters.models.memory_plan import MemoryPlan

if TYPE_CHECKING:
    from napari_sam2_adapters.models.model_file import AdapterHeader
    from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = [
    "Network",
    "Progress",
    "Task",
    "failure",
    "key_of",
    "reported",
    "segment_item",
    "success",
]

_ResultT = TypeVar("_ResultT")


@dataclass(frozen=True)
class Network:
    """A network that is ready, with the header of its model file; without one where all labels are done."""

    segmenter: Segmenter | None
    header: AdapterHeader


@dataclass(frozen=True)
class Task:
    """An image to segment, with all that its result depends on besides the network; it can travel to another machine.

    Attributes
    ----------
    item
        The image and its results, by absolute paths.
    replace
        Whether files in the place of its results may be replaced.
    predict
        How to segment.
    settings_sha256
        Of the job, as in ``job.json``.
    output
        Folder of the results, absolute.
    extras
        Kinds of what is to be written besides.
    known
        What was said of the image when its labels were done; only the rest is to be written then.
    notices
        What is to be told besides.
    """

    item: Item
    replace: bool
    predict: PredictConfig
    settings_sha256: str
    output: Path
    extras: tuple[str, ...] = ()
    known: Entry | None = None
    notices: tuple[str, ...] = ()

    @property
    def extra_files(self) -> dict[str, Path]:
        """Files to write besides the results."""
        return {kind: self.item.extras[kind] for kind in self.extras}


@dataclass(frozen=True)
class Progress:
    """How far an image is; fields as those of `ItemRecord`, and the bands that have become final if several workers share it."""

    index: int
    seconds: float
    tiles: int
    all_tiles: int
    notices: tuple[str, ...] = ()
    bands: tuple[int, ...] = ()
    plan: MemoryPlan | None = None


def segment_item(network: Network, task: Task) -> Generator[Progress, None, Entry]:
    """Segment an image, yielding after each tile, and give its line of the report, whether it went well or not.

    Left at a yield it has written nothing.

    Raises
    ------
    OSError
        When the disk is full or gone, so that the other images would fail as well.
    """
    if task.known is None:
        return (yield from reported(task, lambda stamp: _segment(network, task, stamp)))
    try:
        return _completed(network.header, task, task.known)
    except Exception as error:
        return _failed(task, error, None, 0.0)


def reported(
    task: Task,
    steps: Callable[[FileStamp], Generator[Progress, None, _ResultT]],
    stamp: FileStamp | None = None,
) -> Generator[Progress, None, _ResultT | Entry]:
    """Take steps with an image; whatever goes wrong with it becomes its line of the report.

    Parameters
    ----------
    task
        The image.
    steps
        Given what its file holds.
    stamp
        That, if it is known; else the file is read.

    Raises
    ------
    OSError
        When the disk is full or gone, so that the other images would fail as well.
    """
    started = time.perf_counter()
    try:
        if stamp is None:
            stamp = FileStamp.of(task.item.source)
        return (yield from steps(stamp))
    except Exception as error:  # one bad file, whatever is wrong with it, does not stop the others
        return _failed(task, error, stamp, time.perf_counter() - started)


def key_of(task: Task, stamp: FileStamp) -> str:
    """Checksum over everything that the labels of an image depend on."""
    return hashlib.sha256(f"{task.settings_sha256} {stamp.sha256}".encode()).hexdigest()


def _segment(network: Network, task: Task, stamp: FileStamp) -> Generator[Progress, None, Entry]:
    if network.segmenter is None:
        raise RuntimeError("The network was not loaded, but there is an image to segment.")
    item, started, plan = task.item, time.perf_counter(), None
    tiles = segment_file(
        network.segmenter,
        network.header,
        item.source,
        item.outputs,
        task.predict,
        overwrite=task.replace,
        extras=task.extra_files,
        key=key_of(task, stamp),
    )
    notices: tuple[str, ...] = ()
    while True:
        try:
            tile = next(tiles)
        except StopIteration as end:
            result: SegmentedFile = end.value
            break
        notices += (tile.notice,) if tile.notice else ()
        plan = plan or tile.plan
        seconds = time.perf_counter() - started
        yield Progress(item.index, seconds, tile.done, tile.total, notices, plan=plan)
    return success(task, stamp, result, time.perf_counter() - started)


def _failed(task: Task, error: Exception, stamp: FileStamp | None, seconds: float) -> Entry:
    """The line of an image with which something went wrong here; raises OSError when it is the disk."""
    if disk_is_unusable(error):
        raise OSError(
            f"Nothing more can be written to {task.output} ({error}). Make room, and start the batch again to go on."
        ) from error
    entry = failure(task.item, task.settings_sha256, reason_of(error), seconds)
    return entry.model_copy(update={"source": stamp, "outputs": _stamps(task.item)})


def _completed(header: AdapterHeader, task: Task, known: Entry) -> Entry:
    """Write what is missing besides the labels that are done."""
    item = task.item
    try:
        image, labels = read_image(item.source), read_labels(item.outputs["labels"])
        array = in_axes(labels.array, labels.axes, label_axes(image.axes))
        notices = write_extras(
            image, array, header.classes, task.extra_files, overwrite=task.replace
        )
    except Exception as error:  # the labels are done all the same
        if disk_is_unusable(error):
            raise
        notices = (f"Nothing was written besides the labels: {reason_of(error)}",)
    new = [notice for notice in notices if notice not in known.notices]
    return known.model_copy(
        update={
            "notices": (*known.notices, *new),
            "extras": {**known.extras, **_extra_stamps(task, known.outputs)},
            "writes": (),
        }
    )


def _extra_stamps(task: Task, outputs: dict[str, FileStamp]) -> dict[str, ExtraStamp]:
    return {
        kind: ExtraStamp(
            **FileStamp.of(path).model_dump(),
            settings_sha256=task.settings_sha256,
            labels_sha256=outputs["labels"].sha256,
        )
        for kind, path in task.extra_files.items()
        if path.is_file()
    }


def failure(item: Item, settings_sha256: str, reason: str, seconds: float = 0.0) -> Entry:
    """The line of an image that failed."""
    return Entry(
        name=item.name,
        image=item.image,
        status="failed",
        reason=reason,
        seconds=round(seconds, 3),
        settings_sha256=settings_sha256,
        finished=_now(),
    )


def success(task: Task, source: FileStamp, result: SegmentedFile, seconds: float) -> Entry:
    """The line of an image whose results are written.

    Raises
    ------
    ValueError
        When its file is not what it was before.
    """
    item = task.item
    if not source.untouched(item.source):
        raise ValueError(
            f"{item.source} was changed while it was segmented. Segment it again when it is complete."
        )
    outputs = _stamps(item)
    return Entry(
        name=item.name,
        image=item.image,
        status="done",
        seconds=round(seconds, 3),
        pixels=result.pixels,
        pixel_size=result.pixel_size,
        unit=result.unit,
        notices=(*task.notices, *result.notices),
        settings_sha256=task.settings_sha256,
        source=source,
        result=printable(item.outputs["labels"].relative_to(task.output)),
        outputs=outputs,
        extras=_extra_stamps(task, outputs),
        finished=_now(),
    )


def _stamps(item: Item) -> dict[str, FileStamp]:
    """What lies in the place of the results."""
    return {what: FileStamp.of(path) for what, path in item.outputs.items() if path.exists()}


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
