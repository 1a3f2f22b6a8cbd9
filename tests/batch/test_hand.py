"""What is waited for when a run stops, by a stand-in for a client whose workers say what a test has them say."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pytest

from napari_sam2_adapters.batch import dask_workers, remote
from napari_sam2_adapters.batch import hand as hand_module
from napari_sam2_adapters.batch.dask_workers import DaskWorkers
from napari_sam2_adapters.batch.job import BatchJob
from napari_sam2_adapters.batch.report import Entry, Report
from napari_sam2_adapters.batch.run import run_batch
from napari_sam2_adapters.batch.segment_item import Task, failure


class Clock:
    """Ten seconds go by from one look at it to the next."""

    now = 0.0

    def monotonic(self) -> float:
        self.now += 10
        return self.now


class Workers:
    """Stands in for a client of workers that take an image each and keep it until they are asked to stop.

    Parameters
    ----------
    said
        What a worker says then, one message for each time that the client looks who is there; None for one that has died.
    """

    status = "running"

    def __init__(self, **said: list[Callable[[str, Task], dict[str, Any]] | None]) -> None:
        self.left = {f"tcp://{name}:1": list(messages) for name, messages in said.items()}
        self.work: dict[str, tuple[str, Task]] = {}
        self.asked = False

    def subscribe_topic(self, topic: str, handler: Callable[[Any], None]) -> None:
        self.tell = lambda message: handler((0.0, message))

    def unsubscribe_topic(self, topic: str) -> None: ...

    def nthreads(self) -> dict[str, int]:
        for address, messages in self.left.items():
            if self.asked and messages and messages[0] is not None:
                self.tell({"address": address} | messages.pop(0)(*self.work[address]))
        gone = {a for a, messages in self.left.items() if self.asked and messages == [None]}
        return dict.fromkeys(set(self.left) - gone, 1)

    def run(self, function: Any, *_: Any, **__: Any) -> None:
        assert function is remote.leave
        self.asked = True

    def submit(self, function: Any, call: remote.Call, *rest: Any, **where: Any) -> Any:
        (address,) = where["workers"]
        if function is remote.work:
            self.work[address] = call.name, rest[2].task
        else:
            kind = "introduced" if function is remote.introduce else "ready"
            known = {"version": version("napari-sam2-adapters"), "place": "", "network": ""}
            self.tell({"call": call.name, "kind": kind, "process": "", **known})
        return SimpleNamespace(add_done_callback=lambda _: None, release=lambda: None)


def leaving(call: str, task: Task) -> dict[str, Any]:
    return {"kind": "leaving", "at_work": [call]}


def leaving_nothing(call: str, task: Task) -> dict[str, Any]:
    return {"kind": "leaving", "at_work": []}


def done(call: str, task: Task) -> dict[str, Any]:
    entry = failure(task.item, task.settings_sha256, "").model_copy(update={"status": "done"})
    return {"call": call, "kind": "done", "entry": entry.model_dump_json()}


@pytest.fixture
def stopped(job: BatchJob, monkeypatch: pytest.MonkeyPatch) -> Callable[[Workers], set[str]]:
    """Stop a run when each worker has an image; gives the names of those that are reported as done."""
    clock = Clock()
    for module in (dask_workers, hand_module):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(dask_workers, "_BEAT_S", 0)

    def stop(workers: Workers) -> set[str]:
        records = run_batch(job, cluster=DaskWorkers(workers))  # type: ignore[arg-type]
        while len(workers.work) < len(workers.left):
            next(records)
        records.close()
        report = Report(job.output)
        last: list[Entry | None] = [
            report.last(task.item.name) for _, task in workers.work.values()
        ]
        return {entry.name for entry in last if entry is not None and entry.status == "done"}

    return stop


def test_what_is_done_long_after_the_stop_is_reported(
    stopped: Callable[[Workers], set[str]],
) -> None:
    workers = Workers(a=[leaving, done], b=[leaving_nothing])
    assert stopped(workers) == {workers.work["tcp://a:1"][1].item.name}


def test_what_was_told_of_on_the_way_of_the_question_is_reported(
    stopped: Callable[[Workers], set[str]],
) -> None:
    assert len(stopped(Workers(a=[done, leaving_nothing]))) == 1


def test_a_worker_that_dies_after_the_stop_is_not_waited_for(
    stopped: Callable[[Workers], set[str]],
) -> None:
    assert len(stopped(Workers(a=[leaving, None], b=[leaving, leaving, done]))) == 1


def test_a_worker_that_hangs_is_named_and_left(stopped: Callable[[Workers], set[str]]) -> None:
    with pytest.warns(UserWarning, match="tcp://a:1 was asked to stop 30 minutes ago .* at cell"):
        assert stopped(Workers(a=[leaving])) == set()
