"""The engine: images of a job one after the other, each with a report, to be stopped and continued at any time."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from napari_sam2_adapters.batch.job import BatchJob, JobFile, read_job_file, write_job_file
from napari_sam2_adapters.batch.lock import results_folder
from napari_sam2_adapters.batch.plan import Item, plan_items, printable
from napari_sam2_adapters.batch.records import ItemRecord, record_of
from napari_sam2_adapters.batch.report import Entry, Report
from napari_sam2_adapters.batch.segment_file import (
    SegmentedFile,
    disk_is_unusable,
    reason_of,
    segment_file,
)
from napari_sam2_adapters.batch.stamps import FileStamp, file_sha256
from napari_sam2_adapters.batch.standing import Standing, Treatment, judge
from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.data.atomic import remove_partial_files

if TYPE_CHECKING:
    from napari_sam2_adapters.inference.tiled_run import TileProgress
    from napari_sam2_adapters.models.model_file import AdapterHeader
    from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["ItemRecord", "Treatment", "run_batch"]


def run_batch(
    job: BatchJob,
    *,
    skip_done: bool = True,
    retry_failed: bool = False,
    overwrite: bool = False,
) -> Generator[ItemRecord, None, None]:
    """Segment the images of a job, yielding records of where each of them stands.

    At first there is a record of every image, then records of the one at work, after each of its tiles. The generator can be
    closed at any yield: what is done is written and reported, and the next start goes on with the image that was at work.
    In the folder of the results it leaves ``job.json``, ``report.jsonl`` and ``report.csv``.

    Parameters
    ----------
    job
        What to do.
    skip_done
        Leave images alone that are done with the same model and settings, have not changed since, and whose results lie there as
        they were written. Without it they are done anew.
    retry_failed
        Try images again that failed in an earlier run.
    overwrite
        Replace files in the place of results that this job did not write, or that were changed since, and results of other
        settings.

    Raises
    ------
    ValueError
        When there is no image, the model file is damaged, or the folder holds results of other settings.
    OSError
        When the folder of the results is in use by another run, cannot be written, or the disk is full.
    """
    from napari_sam2_adapters.models.model_file import read_header

    header = read_header(job.model)
    predict = job.predict or PredictConfig(tile_size_px=header.tile_size_px)
    model_sha256 = file_sha256(job.model)
    settings_sha256 = job.settings_sha256(model_sha256, predict)
    items = plan_items(job, predict)
    treatment = Treatment(settings_sha256, skip_done, retry_failed, overwrite)
    with results_folder(job.output):
        report = Report(job.output)
        _check_former_results(job, report, treatment)
        write_job_file(
            JobFile(
                job=job.absolute().model_copy(update={"predict": predict}),
                model_sha256=model_sha256,
                settings_sha256=settings_sha256,
                classes=header.classes,
                package_version=version("napari-sam2-adapters"),
            )
        )
        results = (path for item in items for path in item.outputs.values())
        for folder in {job.output, *(path.parent for path in results)}:
            remove_partial_files(folder)
        report.open([info.name for info in header.classes], settings_sha256)
        run = _Run(job, header, predict, treatment, report)
        try:
            yield from run.records(items)
        finally:
            report.write_table(settings_sha256)


class _Run:
    """What all images are segmented with; the network is loaded for the first that needs it."""

    def __init__(
        self,
        job: BatchJob,
        header: AdapterHeader,
        predict: PredictConfig,
        treatment: Treatment,
        report: Report,
    ) -> None:
        self.job, self.header, self.predict = job, header, predict
        self.treatment, self.report = treatment, report
        self._segmenter: Segmenter | None = None

    def records(self, items: list[Item]) -> Iterator[ItemRecord]:
        """Tell of all images, then work on those that are to be done."""
        waiting = []
        for item in items:
            standing = judge(item, self.report.last(item.name), self.treatment)
            if standing.refusal:
                yield self._refuse(item, standing.refusal)
            elif standing.entry is not None:
                yield record_of(item, standing.entry)
            else:
                waiting.append((item, standing))
                yield ItemRecord(item, "pending")
        for item, standing in waiting:
            yield from self._segment(item, standing)

    def _refuse(self, item: Item, refusal: str) -> ItemRecord:
        last = self.report.last(item.name)
        if last is None or (last.status, last.reason) != ("failed", refusal):
            # What is known of the files that lie there is kept; without a source it is judged anew each time.
            known = {} if last is None else last.outputs
            self.report.add(self._failure(item, refusal).model_copy(update={"outputs": known}))
        return ItemRecord(item, "failed", reason=refusal)

    def _segment(self, item: Item, standing: Standing) -> Iterator[ItemRecord]:
        segmenter = self._network()
        former = self.report.last(item.name)
        self.report.add(
            Entry(
                name=item.name,
                image=printable(item.source),
                status="running",
                settings_sha256=self.treatment.settings_sha256,
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
                self.header,
                item.source,
                item.outputs,
                self.predict,
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
                    f"Nothing more can be written to {self.job.output} ({error}). Make room, and start the batch again to go on."
                ) from error
            reason = reason_of(error)
        failure = self._failure(item, reason, time.perf_counter() - started)
        return failure.model_copy(update={"source": stamp, "outputs": _stamps(item)})

    def _network(self) -> Segmenter:
        if self._segmenter is None:
            from napari_sam2_adapters.models.device import choose_device
            from napari_sam2_adapters.models.model_file import load_adapter

            segmenter, _ = load_adapter(self.job.model, device=choose_device(self.job.device))
            self._segmenter = segmenter.folded()
        return self._segmenter

    def _failure(self, item: Item, reason: str, seconds: float = 0.0) -> Entry:
        return Entry(
            name=item.name,
            image=printable(item.source),
            status="failed",
            reason=reason,
            seconds=round(seconds, 3),
            settings_sha256=self.treatment.settings_sha256,
            finished=_now(),
        )

    def _success(
        self, item: Item, source: FileStamp, result: SegmentedFile, seconds: float
    ) -> Entry:
        return Entry(
            name=item.name,
            image=printable(item.source),
            status="done",
            seconds=round(seconds, 3),
            pixels=result.pixels,
            pixel_size=result.pixel_size,
            unit=result.unit,
            notices=result.notices,
            settings_sha256=self.treatment.settings_sha256,
            source=source,
            result=printable(item.outputs["labels"].relative_to(self.job.output)),
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


def _check_former_results(job: BatchJob, report: Report, treatment: Treatment) -> None:
    """Refuse to mix the results of two settings in a folder.

    Raises
    ------
    ValueError
        When the folder holds results of other settings, unless they may be replaced, or a ``job.json`` of another program.
    """
    if treatment.overwrite:
        return
    former = read_job_file(job.output)
    if former is not None and report.has_other_results(treatment.settings_sha256):
        raise ValueError(
            f"{job.output} holds results of {former.job.model.name} with other settings. "
            "Choose another folder, or allow its results to be replaced."
        )


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
