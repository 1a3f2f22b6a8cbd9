"""Workers in processes of their own: they write the files of a local run, whatever becomes of them."""

from __future__ import annotations

import csv
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client
from pydantic import ValidationError

from napari_sam2_adapters.batch import cluster as cluster_module
from napari_sam2_adapters.batch import dask_workers, remote
from napari_sam2_adapters.batch.cluster import ClusterConfig, local_workers
from napari_sam2_adapters.batch.dask_workers import DaskWorkers
from napari_sam2_adapters.batch.hand import Hand, free_card, lost_image
from napari_sam2_adapters.batch.job import BatchJob, BatchOptions
from napari_sam2_adapters.batch.lock import LOCK_FILE
from napari_sam2_adapters.batch.report import Entry
from napari_sam2_adapters.batch.run import ItemRecord, run_batch
from napari_sam2_adapters.batch.scheme import plan_batch
from napari_sam2_adapters.batch.segment_item import Network, Progress, Task, segment_item
from napari_sam2_adapters.batch.shared_item import Opened, Part, Steps, open_item
from napari_sam2_adapters.batch.workers import Ended, Model

N_LARGE = 6


@pytest.fixture
def large(job: BatchJob, tmp_path: Path, write_image: Callable[..., Path]) -> BatchJob:
    """Images of nine tiles each, so that a worker can be met at work, and a broken one."""
    for number in range(N_LARGE):
        write_image(tmp_path / "large" / f"cell {number}.tif", number, side=110)
    (tmp_path / "large" / "broken.tif").write_bytes(b"broken")
    return job.model_copy(update={"folder": tmp_path / "large"})


def run(job: BatchJob, workers: DaskWorkers | ClusterConfig | None) -> dict[str, ItemRecord]:
    """The last record of each image."""
    return {record.item.name: record for record in run_batch(job, cluster=workers)}


def masks(job: BatchJob) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in job.output.glob("*.tif")}


def rows(job: BatchJob) -> list[dict[str, str]]:
    """report.csv without what differs from run to run."""
    with (job.output / "report.csv").open(encoding="utf-8-sig", newline="") as file:
        found = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in ("seconds", "finished")} for row in found]


def done_lines(job: BatchJob) -> Counter[str]:
    lines = (job.output / "report.jsonl").read_bytes().splitlines()
    entries = [Entry.model_validate_json(line) for line in lines]
    return Counter(entry.name for entry in entries if entry.status == "done")


def undisturbed(job: BatchJob) -> BatchJob:
    """The same job in a folder of its own, done by this process."""
    other = job.model_copy(update={"output": job.output.with_name("undisturbed")})
    run(other, None)
    return other


def test_two_workers_write_the_files_and_the_report_of_a_local_run(
    client: Client, wait_for_workers: Callable[[int], None], large: BatchJob, tmp_path: Path
) -> None:
    def together(network: Network, part: Part) -> Generator[Progress, None, Entry | Opened]:
        """Wait for the other worker, which may take long to load the network, and at a tile until it is time to tell of it."""
        (tmp_path / f"begun {os.getpid()}").touch()
        while len(list(tmp_path.glob("begun *"))) < 2:
            time.sleep(0.01)
        steps = open_item(network, part)
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                return end.value
            if progress.tiles < 3:
                time.sleep(remote._TELL_INTERVAL_S)
            yield progress

    wait_for_workers(2)
    records = list(run_batch(large, cluster=DaskWorkers(client, steps=Steps(open=together))))
    local = undisturbed(large)
    assert masks(large) == masks(local)
    assert len(masks(large)) == N_LARGE
    assert rows(large) == rows(local)
    at_once, most = set(), 0
    for record in records:
        (at_once.add if record.status == "running" else at_once.discard)(record.item.index)
        most = max(most, len(at_once))
    assert most == 2
    assert any(0 < r.tiles < r.all_tiles for r in records if r.status == "running")
    assert not (large.output / LOCK_FILE).exists()
    again = run(large, DaskWorkers(client))
    assert all(record.earlier for record in again.values())
    assert set(done_lines(large).values()) == {1}


def test_a_worker_killed_at_work_is_replaced_and_nothing_is_lost(
    client: Client, wait_for_workers: Callable[[int], None], large: BatchJob, tmp_path: Path
) -> None:
    """The first of two at work that is in the middle of an image is killed there."""

    def deadly(network: Network, part: Part) -> Generator[Progress, None, Entry]:
        (tmp_path / f"begun {os.getpid()}").touch()
        while len(list(tmp_path.glob("begun *"))) < 2:
            time.sleep(0.01)
        steps = segment_item(network, part.task)
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                return end.value
            if progress.tiles > 3 and not (tmp_path / "killed").exists():
                (tmp_path / "killed").write_text(part.task.item.name)
                os.kill(os.getpid(), signal.SIGKILL)
            yield progress

    wait_for_workers(2)
    last = run(large, DaskWorkers(client, steps=Steps(open=deadly)))
    assert last[(tmp_path / "killed").read_text()].status == "done"
    assert masks(large) == masks(undisturbed(large))
    assert set(done_lines(large).values()) == {1}
    assert len(done_lines(large)) == N_LARGE


def test_an_image_that_kills_its_worker_twice_is_given_up_and_the_others_are_done(
    client: Client, job: BatchJob
) -> None:
    def deadly(network: Network, part: Part) -> Generator[Progress, None, Entry]:
        if part.task.item.name == "cell 1":
            os.kill(os.getpid(), signal.SIGKILL)
        return (yield from segment_item(network, part.task))

    last = run(job, DaskWorkers(client, steps=Steps(open=deadly)))
    assert {name: record.status for name, record in last.items()} == {
        **dict.fromkeys(("cell 0", "cell 2", "cell 3"), "done"),
        "cell 1": "failed",
    }
    assert "died without a word, twice (tcp://" in last["cell 1"].reason
    again = run(job, None)
    assert again["cell 1"].earlier  # not tried again unless asked for
    assert {r.status for r in run_batch(job, BatchOptions(retry_failed=True))} >= {"done"}
    assert len(masks(job)) == 4


def test_cancel_ends_after_the_tiles_in_work_and_the_next_start_goes_on(
    client: Client, large: BatchJob
) -> None:
    records = run_batch(large, cluster=DaskWorkers(client))
    for record in records:
        if record.status == "done":
            break
    records.close()
    done = done_lines(large)
    assert 0 < len(done) < N_LARGE
    assert {f"{name}.tif" for name in done} == set(masks(large))
    assert not (large.output / LOCK_FILE).exists()
    written = masks(large)
    last = run(large, None)
    assert sum(record.earlier and record.status == "done" for record in last.values()) == len(done)
    assert written.items() <= masks(large).items()
    assert masks(large) == masks(undisturbed(large))
    assert set(done_lines(large).values()) == {1}


def test_a_model_that_the_workers_cannot_read_travels_as_bytes(
    client: Client,
    job: BatchJob,
    saved_model: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux has a path that each process reads in its own way")
    monkeypatch.chdir(saved_model(6).parent)
    hidden = Path("/proc/self/cwd") / saved_model(6).name
    there = client.run(hidden.exists)
    assert not any(there.values())
    job = job.model_copy(update={"model": hidden})
    run(job, DaskWorkers(client))
    assert masks(job) == masks(undisturbed(job))


class Replacing(DaskWorkers):
    """Another training replaces the model file before the workers load it, as before one that comes late."""

    def __init__(self, client: Client, by: Path) -> None:
        super().__init__(client)
        self._by = by

    def begin(self, model: Model, device: str, *, network: bool = True) -> None:
        super().begin(model, device, network=network)
        model.path.write_bytes(self._by.read_bytes())


def test_a_worker_that_comes_when_the_model_is_replaced_gets_that_of_the_others(
    client: Client, job: BatchJob, tmp_path: Path, saved_model: Callable[..., Path]
) -> None:
    model = tmp_path / "cells.adapter.safetensors"
    model.write_bytes(saved_model(7).read_bytes())
    job = job.model_copy(update={"model": model})
    wanted = masks(undisturbed(job))
    run(job, Replacing(client, saved_model(6)))
    assert masks(job) == wanted
    assert wanted != masks(undisturbed(job.model_copy(update={"output": tmp_path / "x" / "y"})))


def test_what_a_stopped_run_gave_up_is_not_told_of_the_next_one(
    client: Client, job: BatchJob
) -> None:
    workers = DaskWorkers(client)
    one = plan_batch(job)
    task = Task(one.items[0], True, one.predict, one.settings_sha256, job.output)
    workers.begin(Model(job.model, one.model_sha256, one.header), "cpu")
    workers._given_up.append(Ended(0, lost_image(task, "It died.")))
    assert [ended.entry.reason for ended in workers.stop()] == ["It died."]
    assert {record.status for record in run(job, workers).values()} == {"done"}


def test_a_model_that_no_worker_can_use_is_said(
    client: Client, wait_for_workers: Callable[[int], None], job: BatchJob
) -> None:
    job = job.model_copy(update={"device": "cuda:77"})
    wait_for_workers(2)  # an earlier test may have killed one
    with (
        pytest.warns(UserWarning, match="is left out: The device 'cuda:77'"),
        pytest.raises(ValueError, match="No worker of the cluster can use the model"),
    ):
        run(job, DaskWorkers(client))
    assert not (job.output / LOCK_FILE).exists()


def test_a_run_ends_when_the_last_worker_that_might_be_usable_dies(
    job: BatchJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands in for a client of two workers: one cannot use the model, the other one dies before it says anything."""

    class TwoWorkers:
        looks = 0

        def subscribe_topic(self, topic: str, handler: Callable[[Any], None]) -> None:
            self.tell = handler

        def unsubscribe_topic(self, topic: str) -> None: ...

        def nthreads(self) -> dict[str, int]:
            self.looks += 1
            return {"tcp://a:1": 1, "tcp://b:1": 1} if self.looks < 5 else {"tcp://a:1": 1}

        def submit(self, function: Any, call: remote.Call, *_: Any, **where: Any) -> Any:
            if where["workers"] == ["tcp://a:1"]:
                reason = {"reason": "It has no card.", "version": "1"}
                self.tell((0.0, {"call": call.name, "kind": "unusable", **reason}))
            return SimpleNamespace(add_done_callback=lambda _: None, release=lambda: None)

    monkeypatch.setattr(dask_workers, "_LOOK_INTERVAL_S", 0)
    with (
        pytest.warns(UserWarning, match="tcp://a:1 is left out: It has no card"),
        pytest.raises(ValueError, match="No worker of the cluster can use the model: It has no"),
    ):
        run(job, DaskWorkers(TwoWorkers()))  # type: ignore[arg-type]


def test_a_full_disk_ends_the_run_and_the_next_start_goes_on(
    client: Client, large: BatchJob, small_disk: Path
) -> None:
    job = large.model_copy(update={"output": small_disk / "results"})
    (small_disk / "movie").write_bytes(b"\0" * 130_000)
    with pytest.raises(OSError, match="Make room"):
        run(job, DaskWorkers(client))
    assert len(masks(job)) < N_LARGE
    (small_disk / "movie").unlink()
    assert Counter(r.status for r in run(job, DaskWorkers(client)).values())["done"] == N_LARGE


def test_a_running_scheduler_is_joined_and_left_as_it_was(
    client: Client, job: BatchJob, tmp_path: Path
) -> None:
    address = client.scheduler.address
    (tmp_path / "scheduler.json").write_text(json.dumps({"type": "Scheduler", "address": address}))
    assert len(run(job, ClusterConfig(scheduler_file=tmp_path / "scheduler.json"))) == 4
    assert len(masks(job)) == 4
    (job.output / "cell 2.tif").unlink()
    assert not run(job, ClusterConfig(scheduler=address))["cell 2"].earlier


def test_a_scheduler_that_is_not_there_is_said(
    job: BatchJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "_CONNECT_S", 0.3)
    with pytest.raises(ConnectionError, match=r"There is no scheduler at tcp://127\.0\.0\.1:1 "):
        run(job, ClusterConfig(scheduler="tcp://127.0.0.1:1"))
    with pytest.raises(FileNotFoundError, match="There is no scheduler file"):
        run(job, ClusterConfig(scheduler_file=tmp_path / "nothing.json"))


@pytest.mark.filterwarnings("ignore:The workers could not be told to stop")
def test_a_scheduler_that_is_lost_ends_the_run_and_the_next_start_goes_on(
    client: Client, large: BatchJob
) -> None:
    """Dask closes a client whose scheduler has not come back for a while, and calls that by several names."""
    lost = Client(client.scheduler.address, set_as_default=False)
    records = run_batch(large, cluster=DaskWorkers(lost))
    for record in records:
        if record.status == "done":
            break
    lost.close()
    with pytest.raises(ConnectionError, match="cannot be reached any more"):
        list(records)
    assert not (large.output / LOCK_FILE).exists()
    before = done_lines(large)
    assert 0 < len(before) < N_LARGE
    assert Counter(r.status for r in run(large, None).values())["done"] == N_LARGE
    assert set(done_lines(large).values()) == {1}


def test_a_scheduler_that_is_lost_while_the_workers_stop_is_not_waited_for(
    client: Client, job: BatchJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(network: Network, part: Part) -> Generator[Progress, None, Entry]:
        while not (tmp_path / "over").exists():
            yield Progress(part.task.item.index, 0.0, 1, 9)
            time.sleep(0.01)
        return (yield from segment_item(network, part.task))

    lost = Client(client.scheduler.address, set_as_default=False)
    records = run_batch(job, cluster=DaskWorkers(lost, steps=Steps(open=endless)))
    assert any(record.status == "running" and record.tiles for record in records)
    monkeypatch.setattr(lost, "run", lambda *_, **__: lost.close())
    try:
        with pytest.warns(UserWarning, match="The workers could not be told to stop"):
            records.close()
    finally:
        (tmp_path / "over").touch()
    assert not (job.output / LOCK_FILE).exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"workers": 0},
        {"scheduler": "tcp://a:1", "scheduler_file": "b"},
        {"scheduler": "tcp://a:1", "workers": 2},
        {"slurm": True},
        {"scheduler": "node1"},
        {"workers": 2, "slurm_queue": "gpu"},
    ],
)
def test_a_cluster_is_of_one_kind(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ClusterConfig.model_validate(wrong)


def test_local_workers_share_the_cores_and_take_a_card_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")

    def cards(device: str) -> list[str | None]:
        made = local_workers(3, device, "x").values()
        return [w["options"].get("env", {}).get("CUDA_VISIBLE_DEVICES") for w in made]

    assert cards("auto") == ["4", "7", "4"]
    assert cards("cuda") == ["4", "7", "4"]
    assert cards("cpu") == cards("cuda:1") == [None, None, None]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    assert cards("auto") == [None, None, None]
    (one,) = local_workers(1, "cpu", "x").values()
    assert one["options"]["nthreads"] == len(os.sched_getaffinity(0))


def test_a_worker_of_this_machine_that_dask_gives_up_is_started_anew(
    job: BatchJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that dies in the moment that it has begun, which Dask's nanny does not start again."""
    monkeypatch.setitem(cluster_module.PATIENCE, "distributed.deploy.lost-worker-timeout", "100ms")
    with cluster_module.open_cluster(ClusterConfig(workers=1), "cpu", None) as workers:
        assert isinstance(workers, DaskWorkers)
        cluster = workers._client.cluster
        cluster.sync(cluster.workers[0].close)
        last = run(job, workers)
    assert {record.status for record in last.values()} == {"done"}


PAGES = """
import resource, sys
import numpy as np
from napari_sam2_adapters.heap import keep_freed_memory
if sys.argv[1] == "worker":
    keep_freed_memory()
np.ones(2**22, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    np.ones(2**22, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_freed_memory_is_kept_although_dask_has_it_given_back() -> None:
    """What the nanny sets costs a network nearly half its speed: each array has to be mapped anew, page by page."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc has such a setting")

    def mapped_anew(who: str) -> int:
        environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}
        command = [sys.executable, "-c", PAGES, who]
        done = subprocess.run(
            command, check=True, capture_output=True, encoding="utf-8", env=environment
        )
        return int(done.stdout)

    assert mapped_anew("worker") < 0.1 * mapped_anew("another process")


def test_each_worker_takes_a_card_of_those_that_it_sees() -> None:
    """Two jobs on one machine may number their cards alike; the card of a dead worker is taken first."""
    hands: list[Hand] = []
    for cards in ("node1 4711 0,1", "node1 4712 0,1", "node1 4711 0,1", "node1 4712 0,1"):
        hand = Hand("tcp://node1:1", cards=cards)
        hand.card = free_card(hand, hands)
        hands.append(hand)
    assert [hand.card for hand in hands] == [0, 0, 1, 1]
    new = Hand("tcp://node1:2", cards="node1 4711 0,1")
    assert free_card(new, hands[1:]) == 0


def test_the_network_is_loaded_once_per_worker(
    client: Client, wait_for_workers: Callable[[int], None], job: BatchJob
) -> None:
    wait_for_workers(1)
    run(job, DaskWorkers(client))

    def identities() -> dict[str, int]:
        return {name: id(network) for name, network in remote._networks.items()}

    before = client.run(identities)
    assert any(before.values())  # the other worker may not have been needed
    again = job.model_copy(update={"output": job.output.with_name("again")})
    run(again, DaskWorkers(client))
    after = client.run(identities)
    for worker in set(before) & set(after):
        assert before[worker].items() <= after[worker].items()  # the same object, not loaded anew
