"""What happens when a run is killed, the disk is full, or two runs meet: in processes of their own."""

from __future__ import annotations

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from napari_sam2_adapters.atomic import machine_id
from napari_sam2_adapters.batch.bands import count_bands
from napari_sam2_adapters.batch.draft import Draft
from napari_sam2_adapters.batch.job import BatchJob
from napari_sam2_adapters.batch.plan import REPORT_JSONL
from napari_sam2_adapters.batch.report import Entry
from napari_sam2_adapters.batch.run import run_batch
from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.data.io import read_labels, write_array
from napari_sam2_adapters.data.samples import load_sample

N_IMAGES = 14
N_MANY = 200
RUN = """
import sys, torch
from napari_sam2_adapters.batch.job import BatchJob
from napari_sam2_adapters.batch.run import run_batch
torch.set_num_threads(1)
done = 0
try:
    for record in run_batch(BatchJob.model_validate_json(sys.argv[1])):
        done += record.status == "done" and not record.earlier
        if eval(sys.argv[2]):
            sys.stdin.read()  # until it is closed
except OSError as error:
    sys.exit(str(error))
"""


def start(
    job: BatchJob, prefix: Sequence[str] = (), *, wait_if: str = "False"
) -> subprocess.Popen[str]:
    """Run a job. It waits where ``wait_if`` holds, so that it is not through before this process has looked how far it is."""
    command = [*prefix, sys.executable, "-c", RUN, job.model_dump_json(), wait_if]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stderr=pipe, encoding="utf-8")


def entries(job: BatchJob) -> list[Entry]:
    lines = (job.output / REPORT_JSONL).read_bytes().splitlines()
    return [Entry.model_validate_json(line) for line in lines]


def done_lines(job: BatchJob) -> int:
    path = job.output / REPORT_JSONL
    return path.read_bytes().count(b'"status":"done"') if path.exists() else 0


@pytest.fixture
def many(job: BatchJob, tmp_path: Path, write_image: Callable[..., Path]) -> BatchJob:
    for number in range(N_IMAGES):
        write_image(tmp_path / "many" / f"cell {number}.tif", number, side=64 + number)
    (tmp_path / "many" / "broken.tif").write_bytes(b"broken")
    return job.model_copy(update={"folder": tmp_path / "many"})


def broken_files(good: bytes) -> dict[str, bytes]:
    """Seven files that no image can be read from, each broken in a way of its own."""
    return {
        "empty.tif": b"",
        "text.tif": b"this is no image",
        "cut.tif": good[: len(good) // 2],
        "header.tif": b"II*\0" + b"\xff" * 60,
        "liar.png": good,
        "noise.png": b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
        "half.jpg": b"\xff\xd8\xff" + b"\0" * 50,
    }


@pytest.fixture
def two_hundred(job: BatchJob, tmp_path: Path, write_image: Callable[..., Path]) -> BatchJob:
    """Two hundred files, of which seven are broken."""
    folder = tmp_path / "two hundred"
    first = write_image(folder / "cell 0.tif", 0, side=33)
    broken = broken_files(first.read_bytes())
    for name, content in broken.items():
        (folder / name).write_bytes(content)
    for number in range(1, N_MANY - len(broken)):
        write_image(folder / f"cell {number}.tif", number, side=33 + number % 3)
    return job.model_copy(update={"folder": folder})


def untimed_rows(job: BatchJob) -> list[list[str]]:
    with (job.output / "report.csv").open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.reader(file))
    timed = {table[0].index("seconds"), table[0].index("finished")}
    return [[cell for place, cell in enumerate(row) if place not in timed] for row in table]


def test_killed_runs_add_up_to_an_undisturbed_one(two_hundred: BatchJob) -> None:
    seed = random.randrange(10**6)  # noqa: S311 (a test's moments, no secret)
    chance = random.Random(seed)  # noqa: S311
    for target in sorted(chance.sample(range(1, N_MANY - 20), 3)):
        left = max(1, target + 10 - done_lines(two_hundred))
        with start(two_hundred, wait_if=f"done == {left}") as process:
            while done_lines(two_hundred) < target and process.poll() is None:
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, seed
    # What a kill in the middle of writing leaves.
    left_over = f".0123456789abcdef.{machine_id()}-{process.pid}.partial"
    (two_hundred.output / left_over).write_bytes(b"half a mask")
    with (two_hundred.output / REPORT_JSONL).open("ab") as report:
        report.write(b'{"name":"cell 13","status":"do')
    last = {record.item.name: record for record in run_batch(two_hundred)}
    failed = {name for name, record in last.items() if record.status == "failed"}
    assert failed == {Path(name).stem for name in broken_files(b"")}
    undisturbed = two_hundred.model_copy(
        update={"output": two_hundred.output.with_name("undisturbed")}
    )
    for _ in run_batch(undisturbed):
        pass

    ours, theirs = (
        {path.name: path.read_bytes() for path in job.output.glob("*.tif")}
        for job in (two_hundred, undisturbed)
    )
    assert len(ours) == N_MANY - 7
    assert ours == theirs, seed
    assert {p.name for p in two_hundred.output.iterdir()} == {
        p.name for p in undisturbed.output.iterdir()
    }
    finished = Counter(entry.name for entry in entries(two_hundred) if entry.status == "done")
    assert set(finished.values()) == {1}, seed  # nothing was done twice
    assert untimed_rows(two_hundred) == untimed_rows(undisturbed)


@pytest.fixture
def huge(job: BatchJob, tmp_path: Path) -> BatchJob:
    """One image of eight rows of chunks, streamed into OME-Zarr."""
    sample = load_sample("fluorescence").train_images[0][:, :96]
    write_array(tmp_path / "huge" / "huge.ome.zarr", np.tile(sample, (16, 1)), axes="YX")
    return job.model_copy(
        update={
            "folder": tmp_path / "huge",
            "label_format": "ome.zarr",
            "predict": PredictConfig(tile_size_px=256),
        }
    )


def test_a_streamed_image_goes_on_with_the_chunks_that_killed_runs_have_finished(
    huge: BatchJob,
) -> None:
    target = huge.output / "huge.ome.zarr"
    progress = huge.output / f".{target.name}.progress.json"

    def draft() -> Draft | None:
        return Draft.model_validate_json(progress.read_bytes()) if progress.exists() else None

    def written(folder: Path) -> dict[str, tuple[int, int]]:
        """Each chunk with what tells whether it is written anew."""
        states = {path: path.stat() for path in (folder / "0").rglob("[0-9]*") if path.is_file()}
        return {
            str(path.relative_to(folder)): (state.st_ino, state.st_mtime_ns)
            for path, state in states.items()
        }

    seed = random.randrange(10**6)  # noqa: S311 (a test's moments, no secret)
    chance = random.Random(seed)  # noqa: S311
    kept: dict[str, tuple[int, int]] = {}
    for bands in (1, 3, 5):
        with start(huge, wait_if="record.all_tiles - record.tiles == 3") as process:
            while process.poll() is None:
                now = draft()
                if now is not None and count_bands(now.done) >= bands:
                    break
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, seed
        assert not target.exists()
        left = draft()
        assert left is not None
        there = written(huge.output / left.folder)
        assert kept.items() <= there.items(), seed  # nothing is done twice
        kept = {name: there[name] for name in sorted(there)[: count_bands(left.done)]}
        assert len(kept) >= bands
    assert [record.status for record in run_batch(huge)][-1] == "done"
    assert kept.items() <= written(target).items(), seed
    undisturbed = huge.model_copy(update={"output": huge.output.with_name("undisturbed")})
    for _ in run_batch(undisturbed):
        pass
    ours, theirs = (
        {
            str(path.relative_to(job.output)): path.read_bytes()
            for path in (job.output / target.name).rglob("*")
            if path.is_file()
        }
        for job in (huge, undisturbed)
    )
    assert len(np.unique(read_labels(target).array[:])) > 1
    assert ours == theirs, seed
    assert not list(huge.output.glob(".*"))


def test_a_second_process_is_refused_and_the_first_goes_on(many: BatchJob) -> None:
    with start(many, wait_if="done == 1") as first:
        while done_lines(many) < 1 and first.poll() is None:
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)
        with start(many) as second:
            _, said = second.communicate()
        first.send_signal(signal.SIGCONT)
    assert second.returncode == 1
    assert f"Another run is at work on {many.output} (process {first.pid} on" in said
    assert first.returncode == 0
    assert done_lines(many) == N_IMAGES


def test_a_full_disk_ends_the_run_and_the_next_start_goes_on(
    many: BatchJob, small_disk: Path
) -> None:
    job = many.model_copy(update={"output": small_disk / "results"})
    (small_disk / "movie").write_bytes(b"\0" * 100_000)
    with pytest.raises(OSError, match="Make room"):
        list(run_batch(job))
    before = done_lines(job)
    assert 0 < before < N_IMAGES
    (small_disk / "movie").unlink()
    last = {record.item.name: record for record in run_batch(job)}
    assert sum(record.status == "done" for record in last.values()) == N_IMAGES
    assert sum(record.earlier for record in last.values()) >= before


def test_a_read_only_folder_is_refused_in_a_sentence(job: BatchJob, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OSError, match="Results cannot be written to") as caught:
        next(run_batch(job.model_copy(update={"output": small_disk / "results"})))
    assert str(caught.value).endswith("choose another folder.")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows keeps rights in another way")
def test_a_folder_without_rights_is_refused_in_a_sentence(job: BatchJob) -> None:
    job.output.mkdir()
    job.output.chmod(0o500)
    prefix = []
    if os.geteuid() == 0:  # root writes anywhere, unless that capability is taken away
        if shutil.which("setpriv") is None:
            pytest.skip("root writes anywhere, and there is no setpriv")
        prefix = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
    with start(job, prefix) as process:
        _, said = process.communicate()
    assert process.returncode == 1
    assert said.startswith(f"Results cannot be written to {job.output} (Permission denied).")
    assert not list(job.output.iterdir())


def test_a_file_in_place_of_the_folder_is_refused_in_a_sentence(job: BatchJob) -> None:
    job.output.write_bytes(b"notes")
    with pytest.raises(FileExistsError, match=r"results is a file\. Choose a folder"):
        next(run_batch(job))
    assert job.output.read_bytes() == b"notes"
