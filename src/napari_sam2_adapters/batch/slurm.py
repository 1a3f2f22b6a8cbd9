"""Workers as jobs in Slurm's queue, by dask-jobqueue."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from napari_sam2_adapters.config import describe_errors
from napari_sam2_adapters.config.yaml_file import read_yaml

if TYPE_CHECKING:
    from napari_sam2_adapters.batch.cluster import ClusterConfig

__all__ = ["SlurmJobs", "slurm_arguments", "slurm_jobs"]

_LOOK_INTERVAL_S = 0.05
_GONE_S = 60.0
"""A job without a worker for so long has come to its end; Dask's nanny brings a dead worker back sooner."""


class _Options(BaseModel):
    """Those of dask-jobqueue's options of which it does not say that they are of a wrong type, or takes texts apart into letters."""

    model_config = ConfigDict(extra="allow", strict=True)

    cores: PositiveInt | None = None
    processes: PositiveInt | None = None
    memory: str | None = None
    walltime: str | None = None
    local_directory: str | None = None
    python: str | None = None
    job_directives_skip: list[str] | None = None
    job_extra_directives: list[str] | None = None
    job_script_prologue: list[str] | None = None
    worker_extra_args: list[str] | None = None


class SlurmJobs:
    """Jobs with workers; those that have come to their end, such as at their wall time, are submitted again.

    Parameters
    ----------
    cluster
        dask-jobqueue's SLURMCluster, with jobs of `_told_job`.
    n_jobs
        How many there are to be.
    answers
        By the name of a job: nothing when Slurm took it, or why it did not.
    """

    def __init__(self, cluster: Any, n_jobs: int, answers: dict[str, str]) -> None:
        self.cluster = cluster
        self._n_jobs, self._answers = n_jobs, answers
        self._seen: dict[str, float] = {}
        """When each job had a worker last."""
        self._told: set[str] = set()

    def submit(self) -> None:
        """Submit them and wait for Slurm's answers.

        Raises
        ------
        ConnectionError
            When Slurm takes none of them.
        """
        self.cluster.scale(jobs=self._n_jobs)
        while len(self._answers) < self._n_jobs:
            time.sleep(_LOOK_INTERVAL_S)
        self._judge()

    def replace_ended(self) -> None:
        """Submit jobs anew that had workers and have none any more.

        Raises
        ------
        ConnectionError
            When Slurm takes none of them.
        """
        self._judge()
        now, jobs = time.monotonic(), self.cluster.worker_spec
        for worker in list(self.cluster.scheduler_info["workers"].values()):
            # workers of one job have its name, with a number if they are several
            name = str(worker["name"])
            self._seen |= {job: now for job in jobs if name == job or name.startswith(f"{job}-")}
        for job in [job for job, last in self._seen.items() if now - last > _GONE_S]:
            del self._seen[job]
            jobs.pop(job, None)
        # A name is given anew only after its job is closed, which takes a while.
        if len(jobs) < self._n_jobs:
            closed = set(self.cluster.workers) <= set(jobs)
            self.cluster.scale(jobs=self._n_jobs if closed else len(jobs))

    def _judge(self) -> None:
        """Tell of refused jobs; raises when there is no other one."""
        refused = {job: self._answers.get(job) for job in list(self.cluster.worker_spec)}
        reasons = {job: reason for job, reason in refused.items() if reason}
        words = "; ".join(dict.fromkeys(reasons.values()))
        if reasons and len(reasons) == len(refused):
            raise ConnectionError(
                f"Slurm did not take the jobs ({words}). Submit from a machine of the cluster, and correct what it complains about."
            )
        if not reasons.keys() <= self._told:
            self._told |= reasons.keys()
            warnings.warn(
                f"Slurm did not take {len(reasons)} of {self._n_jobs} jobs ({words}); it goes on with the others.",
                stacklevel=2,
            )


@contextmanager
def slurm_jobs(config: ClusterConfig, n_workers: int) -> Iterator[SlurmJobs]:
    """Submit jobs for so many workers; they are cancelled at the end.

    Parameters
    ----------
    config
        What is said of the jobs.
    n_workers
        How many workers; a job may have several.

    Raises
    ------
    ImportError
        When dask-jobqueue is not installed, in a sentence that names the extra.
    ValueError
        When it does not take the arguments.
    ConnectionError
        When Slurm takes none of the jobs.
    """
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise ImportError(
            'Slurm needs dask-jobqueue. Install it with: pip install "napari-sam2-adapters[slurm]"'
        ) from error
    arguments = slurm_arguments(config)
    answers: dict[str, str] = {}
    try:
        cluster = SLURMCluster(job_cls=_told_job(answers), **arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"dask-jobqueue does not take these options for Slurm: {error} Give memory and cores, and correct the others."
        ) from error
    with cluster:
        jobs = SlurmJobs(cluster, math.ceil(n_workers / arguments["processes"]), answers)
        jobs.submit()
        yield jobs


def _told_job(answers: dict[str, str]) -> type[Any]:
    """A job of dask-jobqueue that tells whether Slurm took it.

    Left to itself, dask-jobqueue writes the error into its log and waits for workers that never come.
    """
    from dask_jobqueue.slurm import SLURMJob
    from distributed.core import Status

    class Job(SLURMJob):
        async def start(self) -> None:
            try:
                await super().start()
            except (OSError, RuntimeError, ValueError) as error:
                self.status = (
                    Status.running
                )  # as far as Dask is concerned; there is nothing to cancel
                answers[str(self.name)] = _said(error)
            else:
                answers[str(self.name)] = ""

    return Job


def _said(error: Exception) -> str:
    """What was wrong with a submission, in Slurm's own words where it has said some."""
    if isinstance(error, FileNotFoundError):
        return f"there is no command {error.filename}"
    _, _, words = str(error).partition("stderr:\n")
    return " ".join((words or str(error)).split())


def slurm_arguments(config: ClusterConfig) -> dict[str, Any]:
    """Arguments of dask-jobqueue's SLURMCluster: the file of options, and over it what is said by name.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file holds no options, or some of a wrong type.
    """
    arguments = _read_options(config.slurm_options) if config.slurm_options else {}
    for name in ("queue", "account", "walltime", "memory", "cores"):
        value = getattr(config, f"slurm_{name}")
        if value is not None:
            arguments[name] = value
    if config.slurm_gpus:
        directives = list(arguments.get("job_extra_directives") or [])
        arguments["job_extra_directives"] = [*directives, f"--gres=gpu:{config.slurm_gpus}"]
        arguments["processes"] = config.slurm_gpus
    arguments.setdefault("processes", 1)
    arguments.setdefault("scheduler_options", {"dashboard_address": ":0"})  # any free port
    # A worker that Dask lets rest because its memory fills up would keep its image for good.
    prologue = list(arguments.get("job_script_prologue") or [])
    arguments["job_script_prologue"] = [
        *prologue,
        "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False",
    ]
    return arguments


def _read_options(path: Path) -> dict[str, Any]:
    content = read_yaml(path, "file of options")
    for section in ("jobqueue", "slurm"):  # as in dask-jobqueue's own file
        if isinstance(content, dict) and set(content) == {section}:
            content = content[section]
    if not isinstance(content, dict):
        holds = "is empty" if content is None else f"holds {content!r}"
        raise ValueError(
            f"{path} should hold options such as 'cores: 8', but {holds}. Correct the file."
        )
    names = [str(name).replace("-", "_") for name in content]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path} says {name} twice, with - and with _. Keep one of them.")
    options = dict(zip(names, content.values(), strict=True))
    try:
        _Options.model_validate(options)
    except ValidationError as error:
        of_time = any(wrong["loc"] == ("walltime",) for wrong in error.errors())
        hint = " A wall time wants quotes, such as '1:30:00'." if of_time else ""
        raise ValueError(
            f"{path} has options that dask-jobqueue does not take. {describe_errors(error)}{hint}"
        ) from error
    return options
