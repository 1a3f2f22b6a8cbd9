"""Jobs of Slurm: dask-jobqueue as it is, with commands in the place of Slurm's that run a job on this machine."""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from napari_sam2_adapters.batch import slurm
from napari_sam2_adapters.batch.cluster import ClusterConfig
from napari_sam2_adapters.batch.job import BatchJob
from napari_sam2_adapters.batch.run import run_batch
from napari_sam2_adapters.batch.slurm import slurm_arguments

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Slurm runs on Linux")

SBATCH = """#!/bin/sh
cp "$1" {folder}/job.sh
setsid sh {folder}/job.sh >>{folder}/worker.log 2>&1 &
echo $! >>{folder}/pids
echo Submitted batch job $!
"""
SCANCEL = """#!/bin/sh
kill -TERM -- -$1
"""
REFUSE = """#!/bin/sh
echo "sbatch: error: invalid partition specified: nowhere" >&2
exit 1
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, **commands: str) -> None:
    place = folder / "bin"
    place.mkdir()
    for name, text in commands.items():
        path = place / name
        path.write_text(text.format(folder=folder))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")


@pytest.fixture
def config(tmp_path: Path) -> ClusterConfig:
    options = tmp_path / "slurm.yaml"
    options.write_text(f"{{local_directory: {tmp_path}, interface: lo, memory: 4GB, cores: 1}}")
    return ClusterConfig(
        workers=1, slurm=True, slurm_queue="short", slurm_gpus=1, slurm_options=options
    )


def processes(folder: Path) -> list[int]:
    """Of the jobs, in the order of their submission."""
    return [int(line) for line in (folder / "pids").read_text().split()]


def ends(process: int) -> bool:
    for _ in range(600):
        if not Path(f"/proc/{process}").exists():
            return True
        time.sleep(0.1)
    return False


def test_slurm_gets_a_worker_for_each_card(tmp_path: Path) -> None:
    options = tmp_path / "slurm.yaml"
    options.write_text(
        "jobqueue: {slurm: {queue: other, job-extra-directives: [--exclusive], interface: ib0}}"
    )
    config = ClusterConfig(
        workers=4,
        slurm=True,
        slurm_queue="gpu",
        slurm_memory="32GB",
        slurm_cores=8,
        slurm_gpus=2,
        slurm_options=options,
    )
    arguments = slurm_arguments(config)
    assert arguments["queue"] == "gpu"  # what is said by name wins
    assert arguments["processes"] == 2
    assert arguments["job_extra_directives"] == ["--exclusive", "--gres=gpu:2"]
    assert arguments["interface"] == "ib0"
    options.write_text("just words")
    with pytest.raises(ValueError, match="should hold options such as"):
        slurm_arguments(config)
    options.write_text("")
    with pytest.raises(ValueError, match="but is empty"):
        slurm_arguments(config)
    for wrong in (
        "cores: many",
        "memory: [1]",
        "walltime: 1:30:00",  # 5400 in YAML
        "job_script_prologue: module load",
    ):
        options.write_text(wrong)
        name, _, _ = wrong.partition(":")
        with pytest.raises(ValueError, match=f"does not take.*{name}") as refused:
            slurm_arguments(config)
        assert ("wants quotes" in str(refused.value)) == (name == "walltime")
    for twice in ("cores: 1\ncores: 2", "job-cpu: 1\njob_cpu: 2"):
        options.write_text(twice)
        with pytest.raises(ValueError, match="twice"):
            slurm_arguments(config)
    options.unlink()
    with pytest.raises(FileNotFoundError, match="There is no file of options"):
        slurm_arguments(config)


def test_a_job_that_has_come_to_its_end_is_submitted_again(
    job: BatchJob, config: ClusterConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, sbatch=SBATCH, scancel=SCANCEL)
    monkeypatch.setattr(slurm, "_GONE_S", 1.0)
    last: Counter[str] = Counter()
    for record in run_batch(job, cluster=config):
        if record.status == "done":
            last[record.item.name] += 1
            if len(last) == 1:
                os.killpg(processes(tmp_path)[0], signal.SIGKILL)  # as at its wall time
    assert last == {f"cell {number}": 1 for number in range(4)}
    assert len(processes(tmp_path)) == 2
    assert ends(processes(tmp_path)[1])  # cancelled at the end
    script = (tmp_path / "job.sh").read_text()
    assert "#SBATCH -p short" in script
    assert "#SBATCH --gres=gpu:1" in script


def test_what_slurm_has_against_the_jobs_is_said(
    job: BatchJob, config: ClusterConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, sbatch=REFUSE)
    with pytest.raises(ConnectionError, match=r"not take the jobs .*invalid partition specified"):
        list(run_batch(job, cluster=config))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConnectionError, match="there is no command sbatch"):
        list(run_batch(job, cluster=config))
