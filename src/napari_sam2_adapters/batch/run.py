"""The engine: the images of a job, each with a report, to be stopped and continued at any time."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib.metadata import version

from napari_sam2_adapters.atomic import remove_partial_files
from napari_sam2_adapters.batch.cluster import ClusterConfig, check_cluster, open_cluster
from napari_sam2_adapters.batch.draft import kept_drafts
from napari_sam2_adapters.batch.html_report import write_html_report
from napari_sam2_adapters.batch.job import BatchJob, BatchOptions, JobFile, write_job_file
from napari_sam2_adapters.batch.lock import results_folder
from napari_sam2_adapters.batch.plan import Item
from napari_sam2_adapters.batch.records import ItemRecord, first_record, record_of
from napari_sam2_adapters.batch.report import Entry, Report
from napari_sam2_adapters.batch.scheme import Scheme, conflict_of, plan_batch
from napari_sam2_adapters.batch.segment_item import Progress, Task, failure
from napari_sam2_adapters.batch.stamps import ExtraStamp
from napari_sam2_adapters.batch.standing import Standing, judge
from napari_sam2_adapters.batch.streaming import can_stream
from napari_sam2_adapters.batch.workers import Ended, LocalWorker, Model, Workers

__all__ = ["ItemRecord", "run_batch"]


def run_batch(
    job: BatchJob,
    options: BatchOptions | None = None,
    *,
    cluster: ClusterConfig | Workers | None = None,
) -> Generator[ItemRecord, None, None]:
    """Segment the images of a job, yielding records of where each of them stands.

    At first there is a record of every image, then records of those at work, after each of their tiles. The generator can be
    closed at any yield: what is done is written and reported, and the next start goes on with the images that were at work.
    In the folder of the results it leaves ``job.json``, ``report.jsonl`` and ``report.csv``, and ``report.html`` if it is asked for.

    Parameters
    ----------
    job
        What to do.
    options
        What to do with images that an earlier run is done with, and with files that lie in the way.
    cluster
        Who does it: a cluster to start or to join, which is left at the end, or `DaskWorkers` of a client that stays open; None for
        this process alone. The files are the same. With a cluster, the last record comes again while there is no other, so that
        whoever iterates can stop.

    Raises
    ------
    ValueError
        When there is no image, the model file is damaged, or the folder holds results of other settings.
    ImportError
        When a cluster is wanted and Dask is not installed.
    OSError
        When the folder of the results is in use by another run, cannot be written, the disk is full, or the cluster is gone.
    """
    options = options or BatchOptions()
    scheme = plan_batch(job)
    if isinstance(cluster, ClusterConfig):
        check_cluster(cluster)  # before anything is written
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
        results = (
            path
            for item in scheme.items
            for path in (*item.outputs.values(), *item.extras.values())
        )
        for folder in {job.output, *(path.parent for path in results)}:
            remove_partial_files(folder, keep=kept_drafts(folder))
        report.open([info.name for info in scheme.header.classes], scheme.settings_sha256)
        try:
            yield from _Run(scheme, options, report).records(cluster)
        finally:
            report.write_table(scheme.settings_sha256)
            if job.extras.html_report:
                write_html_report(scheme, report.entries(scheme.settings_sha256))


class _Run:
    """The images of a job on their way through the hands of workers."""

    def __init__(self, scheme: Scheme, options: BatchOptions, report: Report) -> None:
        self.scheme, self.options, self.report = scheme, options, report
        self._waiting: deque[Task] = deque()
        self._at_work: dict[int, tuple[ItemRecord, Entry | None]] = {}
        """The last record of each image at work, and what was known of it before."""

    def records(self, cluster: ClusterConfig | Workers | None) -> Iterator[ItemRecord]:
        """Tell of all images, then have those segmented that are to be done."""
        for item in self.scheme.items:
            last = self.report.last(item.name)
            standing = judge(item, last, self.scheme.settings_sha256, self.options)
            if standing.refusal:
                self._note_refusal(item, standing.refusal)
            elif standing.entry is None or standing.extras:
                self._waiting.append(self._task(item, standing))
            yield first_record(item, standing)
        if self._waiting:
            # a worker has one image at a time, but a huge one may be shared by all
            most = len(self._waiting)
            streamed = any(
                can_stream(path, "YX", self.scheme.predict)
                for task in self._waiting
                for path in task.item.outputs.values()
            )
            with _opened(cluster, self.scheme.job.device, None if streamed else most) as workers:
                yield from self._segment(workers)

    def _note_refusal(self, item: Item, refusal: str) -> None:
        last = self.report.last(item.name)
        if last is not None and last.image != item.image:
            return  # the entry is that of an image in another folder, whose result lies there
        if last is None or (last.status, last.reason) != ("failed", refusal):
            # What is known of the files that lie there is kept; without a source it is judged anew each time.
            known = {} if last is None else last.outputs
            entry = failure(item, self.scheme.settings_sha256, refusal)
            self.report.add(entry.model_copy(update={"outputs": known}))

    def _task(self, item: Item, standing: Standing) -> Task:
        """What a worker needs, by paths that hold in any working folder."""
        outputs = {what: path.absolute() for what, path in item.outputs.items()}
        extras = {kind: path.absolute() for kind, path in item.extras.items()}
        return Task(
            replace(item, source=item.source.absolute(), outputs=outputs, extras=extras),
            standing.replace,
            self.scheme.predict,
            self.scheme.settings_sha256,
            self.scheme.job.output.absolute(),
            standing.extras,
            standing.entry,
            standing.notices,
        )

    def _segment(self, workers: Workers) -> Iterator[ItemRecord]:
        model = Model(
            self.scheme.job.model.absolute(), self.scheme.model_sha256, self.scheme.header
        )
        network = any(task.known is None for task in self._waiting)
        workers.begin(model, self.scheme.job.device, network=network)
        try:
            while self._waiting or self._at_work:
                while self._waiting and workers.room():
                    yield self._begin(workers, self._waiting.popleft())
                yield self._take(workers.news())
        except GeneratorExit:
            self._take_back(workers.stop())
            raise
        finally:
            workers.stop()

    def _begin(self, workers: Workers, task: Task) -> ItemRecord:
        # Said before anything of its results is written, so that a file that a killed run leaves is known as its own.
        former = self.report.last(task.item.name)
        begun = task.known or Entry(
            name=task.item.name,
            image=task.item.image,
            status="running",
            settings_sha256=self.scheme.settings_sha256,
            extras=_extras_of(former, task.item.image),
        )
        self.report.add(begun.model_copy(update={"writes": task.extras}))
        record = ItemRecord(self.scheme.items[task.item.index], "running")
        self._at_work[task.item.index] = record, former
        workers.give(task)
        return record

    def _take(self, news: Progress | Ended | None) -> ItemRecord:
        """Note what became of an image; without news the last record of one comes again."""
        if news is None:
            return self._latest()
        record, former = self._at_work[news.index]
        if isinstance(news, Ended):
            del self._at_work[news.index]
            extras = {**_extras_of(former, news.entry.image), **news.entry.extras}
            entry = news.entry.model_copy(update={"extras": extras})
            self.report.add(entry)
            return replace(record_of(record.item, entry), earlier=False, plan=record.plan)
        record = replace(
            record,
            seconds=news.seconds,
            tiles=news.tiles,
            all_tiles=news.all_tiles,
            notices=news.notices,
            plan=news.plan,
        )
        self._at_work[news.index] = record, former
        return record

    def _latest(self) -> ItemRecord:
        for record, _ in self._at_work.values():
            return record
        return ItemRecord(self.scheme.items[self._waiting[0].item.index], "pending")

    def _take_back(self, ended: list[Ended]) -> None:
        """Report what came to its end while the workers stopped; of the others, what was known is still true."""
        for news in ended:
            self._take(news)
        for _, former in self._at_work.values():
            if former is not None:
                self.report.add(former)


def _extras_of(former: Entry | None, image: str) -> dict[str, ExtraStamp]:
    """What earlier runs wrote besides, which is theirs also when it is not written anew."""
    return former.extras if former is not None and former.image == image else {}


def _opened(
    cluster: ClusterConfig | Workers | None, device: str, most_workers: int | None
) -> AbstractContextManager[Workers]:
    """The workers, for a while: those of a cluster to start, those that are there, or this process."""
    if isinstance(cluster, ClusterConfig):
        return open_cluster(cluster, device, most_workers)
    return nullcontext(LocalWorker() if cluster is None else cluster)
