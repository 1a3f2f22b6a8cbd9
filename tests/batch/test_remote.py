"""What a worker process tells when it is asked to leave, on a real cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from pathlib import Path

from distributed import Client, Future

from napari_sam2_adapters.batch import remote
from napari_sam2_adapters.batch.dask_workers import DaskWorkers
from napari_sam2_adapters.batch.job import BatchJob
from napari_sam2_adapters.batch.report import Entry, Report
from napari_sam2_adapters.batch.run import run_batch
from napari_sam2_adapters.batch.segment_item import Network, Progress, segment_item
from napari_sam2_adapters.batch.shared_item import Part, Steps


def ending_late(folder: Path) -> Steps:
    """Do all of an image in one step, which begins when the worker is asked to leave."""

    def late(network: Network, part: Part) -> Generator[Progress, None, Entry]:
        yield Progress(part.task.item.index, 0.0, 0, 1)
        told = len(remote._stopped)
        (folder / f"begun {part.task.item.name}").touch()
        while len(remote._stopped) == told:
            time.sleep(0.01)
        steps = segment_item(network, part.task)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value

    return Steps(open=late)


class Crowded(DaskWorkers):
    """Two workers of which one has no thread left as soon as both are ready, for another client has work that ends with a file."""

    def __init__(self, client: Client, steps: Steps, over: Path) -> None:
        super().__init__(client, steps=steps)
        self._over = over
        self.others: list[Future[None]] = []

    def room(self) -> int:
        ready = super().room()
        if ready == 2 and not self.others:
            self._crowd()
        return ready if self.others else 0

    def _crowd(self) -> None:
        over = self._over

        def work() -> None:
            while not over.exists():
                time.sleep(0.01)

        address, threads = next(iter(self._client.nthreads().items()))
        where = {"workers": [address], "pure": False}
        self.others = [self._client.submit(work, **where) for _ in range(threads)]
        while len(self._client.processing([address])[address]) < threads:
            time.sleep(0.01)


def test_an_image_done_after_the_stop_is_reported_and_one_not_begun_is_not_waited_for(
    client: Client, wait_for_workers: Callable[[int], None], job: BatchJob, tmp_path: Path
) -> None:
    wait_for_workers(2)
    workers = Crowded(client, ending_late(tmp_path), tmp_path / "over")
    records = run_batch(job, cluster=workers)
    at_work: set[str] = set()
    try:
        while len(at_work) < 2 or not list(tmp_path.glob("begun *")):
            record = next(records)
            at_work |= {record.item.name} if record.status == "running" else set()
        records.close()
        assert not any(other.done() for other in workers.others)
    finally:
        (tmp_path / "over").touch()
    (begun,) = (path.name.removeprefix("begun ") for path in tmp_path.glob("begun *"))
    assert [path.name for path in job.output.glob("*.tif")] == [f"{begun}.tif"]
    last = Report(job.output).last(begun)
    assert last is not None
    assert last.status == "done"
