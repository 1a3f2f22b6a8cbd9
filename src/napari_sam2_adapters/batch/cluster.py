"""Clusters to start or to join: processes on this machine, a Dask scheduler that runs, or jobs in Slurm's queue."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from napari_sam2_adapters.batch.slurm import slurm_arguments, slurm_jobs
from napari_sam2_adapters.config import Settings

if TYPE_CHECKING:
    from distributed import Client

    from napari_sam2_adapters.batch.workers import Workers

__all__ = ["PATIENCE", "ClusterConfig", "check_cluster", "local_workers", "open_cluster"]

PATIENCE = {"distributed.deploy.lost-worker-timeout": "60s"}
"""Dask's setting of how long a worker that died may take to come back, before another one is started in its place."""
_CONNECT_S = 20
_ADDRESS = re.compile(r"(?:[a-z]+://)?\S+:\d+(?:/\S*)?")
_PRELOAD = "napari_sam2_adapters.batch.remote"


class ClusterConfig(Settings):
    """Who segments the images: workers on this machine, those of a running scheduler, or jobs of Slurm.

    What is not said of Slurm's jobs is as in dask-jobqueue's own configuration.
    """

    workers: Annotated[
        int | None,
        Field(
            ge=1,
            le=10_000,
            title="Workers",
            description="Start this many worker processes, on this machine or in Slurm's queue.",
        ),
    ] = None
    scheduler: Annotated[
        str | None,
        Field(
            title="Scheduler",
            description="Use the workers of a running Dask scheduler, such as tcp://node1:8786.",
        ),
    ] = None
    scheduler_file: Annotated[
        Path | None,
        Field(title="Scheduler file", description="The same, by the file that it has written."),
    ] = None
    slurm: Annotated[
        bool, Field(title="Slurm", description="Start the workers as jobs of Slurm.")
    ] = False
    slurm_queue: Annotated[str | None, Field(title="Queue", description="Slurm's partition.")] = (
        None
    )
    slurm_account: Annotated[
        str | None, Field(title="Account", description="Account that Slurm charges.")
    ] = None
    slurm_walltime: Annotated[
        str | None, Field(title="Wall time", description="Longest time of a job, such as 02:00:00.")
    ] = None
    slurm_memory: Annotated[
        str | None, Field(title="Memory", description="Memory of a job, such as 16GB.")
    ] = None
    slurm_cores: Annotated[
        int | None, Field(ge=1, title="Cores", description="Cores of a job, for all its workers.")
    ] = None
    slurm_gpus: Annotated[
        int, Field(ge=0, title="GPUs", description="Cards of a job; it has a worker for each.")
    ] = 0
    slurm_options: Annotated[
        Path | None,
        Field(
            title="Options",
            description="YAML file with further arguments of dask-jobqueue's SLURMCluster.",
        ),
    ] = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        joined = [name for name in ("scheduler", "scheduler_file") if getattr(self, name)]
        if len(joined) > 1 or (joined and (self.slurm or self.workers)):
            raise ValueError(
                "a batch either joins a running scheduler, which has its workers, or starts workers of its own"
            )
        if not joined and not self.workers:
            raise ValueError("a cluster needs a number of workers, or a running scheduler")
        if self.scheduler and not _ADDRESS.fullmatch(self.scheduler):
            raise ValueError(
                f"a scheduler has an address such as tcp://node1:8786, but {self.scheduler!r} is none"
            )
        asked = sorted(name for name in self.model_fields_set if name.startswith("slurm_"))
        if asked and not self.slurm:
            raise ValueError(f"{asked[0]} is for jobs of Slurm, which are not asked for")
        return self


def check_cluster(config: ClusterConfig) -> None:
    """Look at what can be looked at before a cluster is opened.

    Raises
    ------
    FileNotFoundError
        When there is no file of options for Slurm.
    ValueError
        When it holds no options, or some of a wrong type.
    """
    if config.slurm:
        slurm_arguments(config)


@contextmanager
def open_cluster(config: ClusterConfig, device: str, most_workers: int | None) -> Iterator[Workers]:
    """Start or join a cluster; what was started here ends with the block.

    Parameters
    ----------
    config
        Which one.
    device
        Device of the job, for workers on this machine.
    most_workers
        More workers than that are not started; None when images may be shared by any number.

    Raises
    ------
    ImportError
        When Dask is not installed, in a sentence that names the extra.
    ConnectionError
        When there is no scheduler at the address, or Slurm takes no job.
    ValueError
        When dask-jobqueue does not take the arguments.
    """
    try:
        import dask
        import distributed
    except ImportError as error:
        raise ImportError(
            'Clusters need Dask. Install it with: pip install "napari-sam2-adapters[cluster]"'
        ) from error
    from napari_sam2_adapters.batch.dask_workers import DaskWorkers

    with ExitStack() as stack:
        wanted = min(config.workers or 1, most_workers or config.workers or 1)
        look_after: Callable[[], None] | None = None
        if config.slurm:
            jobs = stack.enter_context(slurm_jobs(config, wanted))
            where, look_after = {"address": jobs.cluster}, jobs.replace_ended
        elif config.workers is not None:
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="sam2-adapters-", ignore_cleanup_errors=True)
            )
            stack.enter_context(dask.config.set(PATIENCE))
            started = distributed.SpecCluster(
                scheduler={
                    "cls": distributed.Scheduler,
                    "options": {
                        "host": "127.0.0.1",
                        "port": 0,
                        "dashboard": False,
                        "dashboard_address": "127.0.0.1:0",
                    },
                },
                workers=local_workers(wanted, device, folder),
                silence_logs=logging.CRITICAL,
            )
            where = {"address": stack.enter_context(started)}
            # Dask starts a dead worker again, but not one that died while it began
            look_after = partial(started.scale, wanted)
        elif config.scheduler_file is not None:
            where = {"scheduler_file": str(_there(config.scheduler_file))}
        else:
            where = {"address": config.scheduler}
        yield DaskWorkers(stack.enter_context(_connected(where)), look_after=look_after)


def local_workers(n_workers: int, device: str, folder: str) -> dict[int, dict[str, Any]]:
    """What Dask's SpecCluster is told of workers on this machine: the cores are shared out, and each takes one card.

    Parameters
    ----------
    n_workers
        How many.
    device
        Device of the job; only workers that may choose among several cards are bound to one.
    folder
        For what Dask writes.
    """
    import distributed

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cards = _cards() if device in ("auto", "cuda") else []
    options = {
        "nthreads": max(1, (cores or 1) // n_workers),
        "host": "127.0.0.1",
        "memory_limit": None,
        "dashboard": False,
        "local_directory": folder,
        "preload": [_PRELOAD],
        "silence_logs": logging.CRITICAL,
    }
    pinned = [
        {"env": {"CUDA_VISIBLE_DEVICES": cards[number % len(cards)]}} if len(cards) > 1 else {}
        for number in range(n_workers)
    ]
    return {
        number: {"cls": distributed.Nanny, "options": {**options, **own}}
        for number, own in enumerate(pinned)
    }


@contextmanager
def _connected(where: dict[str, Any]) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(**where, timeout=_CONNECT_S, set_as_default=False)
    except OSError as error:
        place = where.get("scheduler_file") or where.get("address")
        raise ConnectionError(
            f"There is no scheduler at {place} ({error}). Start it with `dask scheduler`, or correct the address."
        ) from error
    with client:
        yield client


def _there(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no scheduler file {path}. Start `dask scheduler --scheduler-file {path}`, or correct the path."
        )
    return path


def _cards() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]
