"""How glibc, the C library of most Linux systems, keeps the memory that arrays let go of; elsewhere nothing changes."""

from __future__ import annotations

import ctypes
import os
import sys

import numpy as np

__all__ = ["keep_freed_memory", "share_one_heap"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST_KEPT = 2**25
"""Bytes of an array whose memory is kept; glibc takes no larger number."""
_DASK_TRIM = "65536"


def keep_freed_memory() -> None:
    """Have glibc keep what a pass lets go of for the next one, instead of giving it back and taking it over again.

    glibc maps arrays anew that are larger than any freed before, and gives back more than twice that size; freeing one array of the
    largest size that it adapts to (32 MiB) moves both limits to their ends. It is never written to, so it takes no memory. On the CPU an
    image takes a fifth longer without it: 10,000 page faults.

    In a worker of Dask glibc does not adapt: the nanny has it give back all above 64 kB at once (MALLOC_TRIM_THRESHOLD_), with which a
    network takes nearly twice as long. Only that setting is undone; another one is somebody's wish.
    """
    np.empty(_LARGEST_KEPT - 2**16, np.uint8)
    if os.environ.get("MALLOC_TRIM_THRESHOLD_") == _DASK_TRIM:
        _set(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        _set(_M_TRIM_THRESHOLD, 2 * _LARGEST_KEPT)


def share_one_heap() -> None:
    """Have all threads of this program take memory from one heap, and leave what they free to each other.

    glibc gives threads heaps of their own, and each keeps what was freed there: those that read, decode and write a huge image keep far more than it
    takes. It is for programs of ours alone, at their start, before there are threads: a viewer's memory is not ours to govern. A number of
    heaps that the user has set (MALLOC_ARENA_MAX) stays.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        _set(_M_ARENA_MAX, 1)


def _set(parameter: int, value: int) -> None:
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:  # not every C library has it
            mallopt(parameter, value)
