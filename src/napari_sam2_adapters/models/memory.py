"""How much memory the work may take and takes, the plan made from both before it starts, and the way out when a memory is full all the same.

On a GPU, PyTorch's allocator says how much a pass takes at most. On the CPU nobody does, so the tensors that a pass makes are counted.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from napari_sam2_adapters.models.memory_plan import MemoryPlan

__all__ = [
    "attempt",
    "is_out_of_memory",
    "memory_share",
    "peak_bytes",
    "plan_memory",
    "usable_memory",
]

SHARE_VARIABLE = "SAM2_ADAPTERS_MEMORY_SHARE"
_DEFAULT_SHARE = 0.8
_GPU_SHARE = 0.9
"""The rest of a GPU's free memory is lost between blocks, and in workspaces of its libraries."""
_MARGIN = 1.6
"""What a pass really takes, relative to its tensors: by measurement 1.1 to 1.6 (training with pages of 2 MB; libraries that it loads are in it)."""
_LOADED_LATER = 128 * 1024**2
"""Main memory (bytes) that small passes take over that, 30 to 110 MB by measurement: for libraries, threads, and plans of convolutions."""
_GROUPS, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
"""Linux's control groups, and those that this process is in."""

_FULL_MEMORY = (
    "MPS backend out of memory",
    "DefaultCPUAllocator",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "unable to find an engine to execute this computation",  # cuDNN, when no algorithm gets its workspace
)
"""What a full memory sounds like where PyTorch has no exception of its own for it."""

_Result = TypeVar("_Result")


def plan_memory(
    what: str,
    device: torch.device,
    *,
    sides: list[int],
    most: int,
    bytes_of_one: Callable[[int], float] | None,
    held_bytes: Callable[[int], int],
) -> MemoryPlan:
    """Choose the largest side of which at least one fits, and how many of them go through at once.

    Parameters
    ----------
    what
        ``tile`` or ``crop``.
    device
        Where it is computed.
    sides
        Sides (px) to choose from, the wanted one first; the last is taken when none fits.
    most
        Most that may go through at once.
    bytes_of_one
        Gives what tensors take in a pass over one of a side; None: not known, and then one of the wanted side goes through at a time.
    held_bytes
        Gives what is in memory besides for a side.
    """
    usable = usable_memory(device)
    if bytes_of_one is None:
        return MemoryPlan(what, str(device), sides[0], 1, sides[0], 0, usable)
    plans = []
    for side in sides:
        one = max(1, round(bytes_of_one(side) * _MARGIN))
        held = held_bytes(side)
        at_once = min(most, max(1, (usable - held) // one))
        plans.append(
            MemoryPlan(what, str(device), side, at_once, sides[0], held + at_once * one, usable)
        )
    return next((plan for plan in plans if plan.fits), plans[-1])


def memory_share() -> float:
    """Share of the main memory that this program may take: what ``SAM2_ADAPTERS_MEMORY_SHARE`` says, else 0.8.

    Raises
    ------
    ValueError
        When it is no number above 0 and up to 1.
    """
    text = os.environ.get(SHARE_VARIABLE, "")
    try:
        share = float(text) if text else _DEFAULT_SHARE
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ValueError(
            f"The share of the memory should be a number above 0 and up to 1, such as 0.8, got {text!r}. Correct --memory-share or {SHARE_VARIABLE}."
        )
    return share


def usable_memory(device: torch.device) -> int:
    """Bytes that further work may take on a device.

    On the CPU this program as a whole stays below its share of the main memory (see `memory_share`), or of what its container or its job
    in a queue may have, and takes no more than is free; 128 MiB of that are left for what libraries take later.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int((free + kept) * _GPU_SHARE)
    memory = psutil.virtual_memory()
    total = min([memory.total, *_limits_of_groups()])
    below_share = total * memory_share() - psutil.Process().memory_info().rss
    usable = int(max(0, min(below_share, memory.available) - _LOADED_LATER))
    if device.type == "mps":  # its memory is a part of the main memory
        on_gpu = torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
        return int(max(0, min(usable, on_gpu)))
    return usable


def _limits_of_groups() -> Iterator[int]:
    """Bytes that the control groups of this process may have, and all those that they lie in."""
    own = _OWN_GROUPS.read_text().splitlines() if _OWN_GROUPS.is_file() else []
    for line in ("0::/", *own):  # a container need not see where it is itself
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        first_version = bool(controllers)
        root = _GROUPS / "memory" if first_version else _GROUPS
        place = root / group.lstrip("/")
        for folder in (place, *place.parents):
            if not folder.is_relative_to(root):
                break
            file = folder / ("memory.limit_in_bytes" if first_version else "memory.max")
            limit = file.read_text().strip() if file.is_file() else ""
            if limit.isdigit():
                yield int(limit)


def peak_bytes(device: torch.device, work: Callable[[], object]) -> int:
    """Most memory that tensors of some work take at a time, over what is there before it."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return int(torch.cuda.max_memory_allocated(device) - before)
    with _CountedTensors() as tensors:
        work()
    return int(tensors.peak)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of PyTorch or NumPy says that the memory of a device is full."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        part in said for part in _FULL_MEMORY
    )


def attempt(device: torch.device, work: Callable[[], _Result]) -> _Result | None:
    """Do some work and give its result, or None when the memory is full; then what PyTorch keeps for later is given back to the device.

    Other errors are passed on.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Only here, past the except, has the error let go of the tensors that fill the memory.
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    return None


class _CountedTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the memory of tensors that are made while it is on, and takes off what is let go of."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        for value in tree_leaves((args, kwargs)):
            self._see(value, counts=False)
        result = function(*args, **kwargs)
        for value in tree_leaves(result):
            self._see(value, counts=True)
        return result

    def _see(self, value: object, *, counts: bool) -> None:
        """Count the memory of a tensor unless it is known; that of one which was there before is known and counts nothing."""
        if not isinstance(value, Tensor) or value.layout is not torch.strided:
            return  # a sparse matrix has no memory of its own; its parts are seen when they are asked for
        storage = value.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        size = storage.nbytes() if counts else 0

        def gone(_: object) -> None:
            del self._alive[key]
            self._now -= size

        self._alive[key] = weakref.ref(storage, gone)
        self._now += size
        self.peak = max(self.peak, self._now)
