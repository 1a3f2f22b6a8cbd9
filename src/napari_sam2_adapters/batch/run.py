"""The engine: images of a job one after the other, each with a report, to be stopped and continued at any time."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from napari_sam2_adapters.atomic import remove_partial_files
from napari_sam2_adapters.batch.job import BatchJob, BatchOptions, JobFile, write_job_file
from napari_sam2_adapters.batch.lock import results_folder
from napari_sam2_adapters.batch.plan import Item, printable
from napari_sam2_adapters.batch.records import ItemRecord, first_record, record_of
from napari_sam2_adapters.batch.report import Entry, Report
from napari_sam2_adapters.batch.scheme import Scheme, conflict_of, plan_batch
from napari_sam2_adapters.batch.segment_file import (
    SegmentedFile,
    disk_is_unusable,
    reason_of,
    segment_file,
)
from napari_sam2_adapters.batch.stamps import FileStamp
from napari_sam2_adapters.batch.standing import Standing, judge

if TYPE_CHECKING:
    from napari_sam2_adapters.inference.tiled_run import TileProgress
    from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["ItemRecord", "run_batch"]


def run_batch(
    job: BatchJob, options: BatchOptions | None = None
) -> Generator[ItemRecord, None, None]:
    """Segment the images of a job, yielding records of where each of them stands.

    At first there is a record of every image, then records of the one at work, after each of its tiles. The generator can be
    closed at any yield: what is done is written and reported, and the next start goes on with the image that was at work.
    In the folder of the results it leaves ``job.json``, ``report.jsonl`` and ``report.csv``.

    Parameters
    ----------
    job
        What to do.
    options
        What to do with images that an earlier run is done with, and with files that lie in the way.

    Raises
    ------
    ValueError
        When there is no image, the model file is damaged, or the folder holds results of other settings.
    OSError
        When the folder of the results is in use by another run, cannot be written, or the disk is full.
    """
    options = options or BatchOptions()
    scheme = plan_batch(job)
    with results_folder(job.output):
        report = Report(job.output)
        conflict = conflict_of(scheme, report, options)
        if conflict:
            raise ValueError(conflict)
        write_job_file(
            JobFile(
                job=job.absolute().model_copy(update={"predict": scheme.predict}),
                model_sha256=scheme.model_sha256,
                settings_sha256=scheme.settings_sha256,
                classes=scheme.header.classes,
                package_version=version("napari-sam2-adapters"),
            )
        )
        results = (path for item in scheme.items for path in item.outputs.values())
        for folder in {job.output, *(path.parent for path in results)}:
            remove_partial_files(folder)
        report.open([info.name for info in scheme.header.classes], scheme.settings_sha256)
        try:
            yield from _Run(scheme, options, report).records()
        finally:
            report.write_table(scheme.settings_sha256)


class _Run:
    """What all images are segmented with; the network is loaded for the first that needs it."""

    def __init__(self, scheme: Scheme, options: BatchOptions, report: Report) -> None:
        self.scheme, self.options, self.report = scheme, options, report
        self._segmenter: Segmenter | None = None

    def records(self) -> Iterator[ItemRecord]:
        """Tell of all images, then work on those that are to be done."""
        waiting = []
        for item in self.scheme.items:
            last = self.report.last(item.name)
            standing = judge(item, last, self.scheme.settings_sha256, self.options)
            if standing.refusal:
                self._note_refusal(item, standing.refusal)
            elif standing.entry is None:
                waiting.append((item, standing))
            yield first_record(item, standing)
        for item, standing in waiting:
            yield from self._segment(item, standing)

    def _note_refusal(self, item: Item, refusal: str) -> None:
        last = self.report.last(item.name)
        if last is not None and last.image != item.image:
            return  # the entry is that of an image in another folder, whose result lies there
        if last is None or (last.status, last.reason) != ("failed", refusal):
            # What is known of the files that lie there is kept; without a source it is judged anew each time.
            known = {} if last is None else last.outputs
            self.report.add(self._failure(item, refusal).model_copy(update={"outputs": known}))

    def _segment(self, item: Item, standing: Standing) -> Iterator[ItemRecord]:
        segmenter = self._network()
        former = self.report.last(item.name)
        self.report.add(
            Entry(
                name=item.name,
                image=item.image,
                status="running",
                settings_sha256=self.scheme.settings_sha256,
            )
        )
        try:
            entry = yield from self._attempt(segmenter, item, standing)
        except GeneratorExit:
            if former is not None:  # nothing was written, so that what was known is still true
                self.report.add(former)
            raise
        self.report.add(entry)
        yield replace(record_of(item, entry), earlier=False)

    def _attempt(
        self, segmenter: Segmenter, item: Item, standing: Standing
    ) -> Generator[ItemRecord, None, Entry]:
        started = time.perf_counter()
        stamp = None
        yield ItemRecord(item, "running")
        try:
            stamp = FileStamp.of(item.source)
            tiles = segment_file(
                segmenter,
                self.scheme.header,
                item.source,
                item.outputs,
                self.scheme.predict,
                overwrite=standing.replace,
            )
            result = yield from _running(item, tiles, started)
            if not stamp.untouched(item.source):
                raise ValueError(
                    f"{item.source} was changed while it was segmented. Segment it again when it is complete."
                )
            return self._success(item, stamp, result, time.perf_counter() - started)
        except (
            Exception
        ) as error:  # one bad file, whatever is wrong with it, does not stop the others
            if disk_is_unusable(error):
                raise OSError(
                    f"Nothing more can be written to {self.scheme.job.output} ({error}). Make room, and start the batch again to go on."
                ) from error
            reason = reason_of(error)
        failure = self._failure(item, reason, time.perf_counter() - started)
        return failure.model_copy(update={"source": stamp, "outputs": _stamps(item)})

    def _network(self) -> Segmenter:
        if self._segmenter is None:
            from napari_sam2_adapters.models.device import choose_device
            from napari_sam2_adapters.models.model_file import load_adapter

            segmenter, _ = load_adapter(
                self.scheme.job.model, device=choose_device(self.scheme.job.device)
            )
            self._segmenter = segmenter.folded()
        return self._segmenter

    def _failure(self, item: Item, reason: str, seconds: float = 0.0) -> Entry:
        return Entry(
            name=item.name,
            image=item.image,
            status="failed",
            reason=reason,
            seconds=round(seconds, 3),
            settings_sha256=self.scheme.settings_sha256,
            finished=_now(),
        )

    def _success(
        self, item: Item, source: FileStamp, result: SegmentedFile, seconds: float
    ) -> Entry:
        return Entry(
            name=item.name,
            image=item.image,
            status="done",
            seconds=round(seconds, 3),
            pixels=result.pixels,
            pixel_size=result.pixel_size,
            unit=result.unit,
            notices=result.notices,
            settings_sha256=self.scheme.settings_sha256,
            source=source,
            result=printable(item.outputs["labels"].relative_to(self.scheme.job.output)),
            outputs=_stamps(item),
            finished=_now(),
        )


def _stamps(item: Item) -> dict[str, FileStamp]:
    """What lies in the place of the results."""
    return {what: FileStamp.of(path) for what, path in item.outputs.items() if path.is_file()}


def _running(
    item: Item, tiles: Generator[TileProgress, None, SegmentedFile], started: float
) -> Generator[ItemRecord, None, SegmentedFile]:
    """A record for each tile; gives what is told at the end."""
    notices: tuple[str, ...] = ()
    while True:
        try:
            tile = next(tiles)
        except StopIteration as end:
            result: SegmentedFile = end.value
            return result
        notices += (tile.notice,) if tile.notice else ()
        yield ItemRecord(
            item,
            "running",
            seconds=time.perf_counter() - started,
            tiles=tile.done,
            all_tiles=tile.total,
            notices=notices,
        )


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
