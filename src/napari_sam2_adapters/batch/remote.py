"""What runs in the worker processes of a Dask cluster.

Everything is told to the coordinating process by Dask's events, in the order in which it happened. What a function here would return
stays on the worker, so that nothing has to be fetched from a worker that may have died meanwhile.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import secrets
import signal
import tempfile
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam2_adapters.batch.reasons import reason_of
from napari_sam2_adapters.batch.report import Entry
from napari_sam2_adapters.batch.segment_item import Network
from napari_sam2_adapters.batch.shared_item import Opened, Part, Step
from napari_sam2_adapters.heap import use_huge_pages

if TYPE_CHECKING:
    import torch
    from distributed import Worker

    from napari_sam2_adapters.batch.workers import Model

__all__ = ["Call", "dask_setup", "introduce", "leave", "prepare", "stop", "work"]

_PROCESS = secrets.token_hex(8)
"""Tells this process from the one that had its address before."""
_MOST_NETWORKS = 2
_TELL_INTERVAL_S = 0.1
_SHARED_CARDS = ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES")
"""Processes of one machine with the same values here see the same cards; two jobs on a machine may each number theirs from 0."""

_networks: OrderedDict[str, Network] = OrderedDict()
_stopped: set[str] = set()
_at_work: set[str] = set()
"""Names of the calls of `work` that may still write."""
_loading = threading.Lock()


@dataclass(frozen=True)
class Call:
    """A call from the coordinating process: the run that it belongs to, and its own name."""

    run: str
    name: str

    def tell(self, kind: str, **content: Any) -> None:
        """Send a message back."""
        from distributed import get_worker

        message = {"call": self.name, "kind": kind, "process": _PROCESS, **content}
        get_worker().log_event(self.run, message)


def introduce(call: Call) -> None:
    """Tell ``introduced``, with what this process has in common with those that see the same cards."""
    call.tell("introduced", place=" ".join(os.environ.get(name, "-") for name in _SHARED_CARDS))


def prepare(call: Call, model: Model, content: bytes | None, device: str | None, card: int) -> None:
    """Load a network into this process, unless it is there; tells ``ready``, ``wants_model`` or ``unusable``.

    Parameters
    ----------
    call
        Where to answer.
    model
        The model file.
    content
        Its bytes, for a worker that cannot read it; None to try by its path.
    device
        As in the job; None when no network is needed.
    card
        Which of several GPUs it takes: its place among the workers that see the same ones.
    """
    here = version("napari-sam2-adapters")
    # What tifffile logs of a damaged file comes as a sentence; the terminal is that of the process that gives out the work.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        chosen = None if device is None else _device(device, card)
        key = f"{model.sha256} {chosen}"
        with _loading:
            if chosen is None:
                _networks[key] = Network(None, model.header)
            elif key not in _networks:
                network = _load(model, content, chosen)
                if network is None:
                    call.tell("wants_model")
                    return
                _networks[key] = network
            _networks.move_to_end(key)
            while len(_networks) > _MOST_NETWORKS:
                _networks.popitem(last=False)
    except Exception as error:  # this worker cannot do it, perhaps others can
        call.tell("unusable", reason=reason_of(error), version=here)
    else:
        call.tell("ready", network=key, version=here)


def work(call: Call, process: str, network: str, part: Part, step: Step) -> None:
    """Work on an image; tells ``tiles``, and at last how it ended.

    That is ``done`` with the line of the report, ``opened`` with what is known of an image to share, ``segmented`` for bands, ``stopped``,
    ``disk``, or ``strange``.

    Parameters
    ----------
    call
        Where to answer.
    process
        The process that was made ready. Dask gives the task of a dead process to the next one at its address.
    network
        What it answered to `prepare`.
    part, step
        What to do.
    """
    if process != _PROCESS or network not in _networks:
        call.tell("strange")
        return
    _use_own_threads()
    steps = step(_networks[network], part)
    told, planned = time.monotonic(), False
    _at_work.add(call.name)  # before it looks whether to stop: `leave` goes the other way round
    try:
        while not _stopped & {call.run, call.name}:
            progress = next(steps)
            new = progress.bands or (progress.plan and not planned)
            if new or time.monotonic() - told >= _TELL_INTERVAL_S:
                told, planned = time.monotonic(), planned or bool(progress.plan)
                call.tell("tiles", **dataclasses.asdict(progress))
    except StopIteration as end:
        _tell_end(call, end.value)
    except OSError as error:
        call.tell("disk", reason=str(error))
    else:
        steps.close()  # left at a yield it has written nothing but whole bands
        call.tell("stopped")
    finally:
        _at_work.remove(call.name)  # after its end is told, so that `leave` is heard after that


def _tell_end(call: Call, result: Entry | Opened | None) -> None:
    if isinstance(result, Entry):
        call.tell("done", entry=result.model_dump_json())
    elif isinstance(result, Opened):
        call.tell("opened", opened=result.model_dump_json())
    else:
        call.tell("segmented")


def stop(name: str) -> None:
    """Have a call left after the tile in work."""
    _stopped.add(name)


def leave(run: str, dask_worker: Worker) -> None:
    """Have all images of a run left after the tile in work; tells ``leaving``, with the calls whose end is still to be told.

    What is not among them has told of its end before, or has not begun, and will write nothing.

    Parameters
    ----------
    run
        Its name.
    dask_worker
        Where this runs, given by Dask.
    """
    _stopped.add(run)
    at_work = sorted(_at_work.copy())
    message = {"kind": "leaving", "address": dask_worker.address, "at_work": at_work}
    # behind what the threads at work have told, which waits in this queue
    dask_worker.loop.add_callback(dask_worker.log_event, run, message)


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C to the coordinating process, since a terminal sends it to the workers beside it as well, and prepare the memory."""
    use_huge_pages()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _device(preference: str, card: int) -> torch.device:
    import torch

    from napari_sam2_adapters.models.device import choose_device

    chosen = choose_device(preference)
    count = torch.cuda.device_count()
    if chosen.type != "cuda" or count < 2 or ":" in preference:
        return chosen
    return torch.device("cuda", card % count)


def _load(model: Model, content: bytes | None, device: torch.device) -> Network | None:
    """The network; None where only its bytes, as the coordinating process has them, will do."""
    from napari_sam2_adapters.models.model_file import load_adapter

    _use_own_threads()
    if content is None:
        if not model.is_here():
            return None
        segmenter, header = load_adapter(model.path, device=device)
        # once more, since it may have been replaced before it was read
        return Network(segmenter.folded(), header) if model.is_here() else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / model.path.name
        path.write_bytes(content)
        segmenter, header = load_adapter(path, device=device)
        return Network(segmenter.folded(), header)


def _use_own_threads() -> None:
    """Compute with the threads that Dask gave to this worker."""
    import torch
    from distributed import get_worker

    torch.set_num_threads(max(1, get_worker().state.nthreads))
