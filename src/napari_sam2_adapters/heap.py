"""How Linux and glibc, its usual C library, give memory to arrays and keep what they let go of; elsewhere nothing changes."""

from __future__ import annotations

import ctypes
import os
import sys

import numpy as np

__all__ = ["keep_freed_memory", "share_one_heap", "use_huge_pages"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST_KEPT = 2**25
"""Bytes of an array whose memory is kept; glibc takes no larger number."""
_DASK_TRIM = "65536"
_HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""PyTorch reads it when it takes memory for the first time."""


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


def use_huge_pages() -> None:
    """Have PyTorch ask Linux for pages of 2 MB for large arrays, here and in processes begun from here; it must not have made an array yet.

    Arrays beyond what `keep_freed_memory` keeps are taken over from the kernel again and again, 4 kB at a time: 75,000 times in a training step of
    LW on tiny with eight crops, and 1000 times so. What the user has set stays.
    """
    if sys.platform == "linux":
        os.environ.setdefault(_HUGE_PAGES, "1")


def _set(parameter: int, value: int) -> None:
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:  # not every C library has it
            mallopt(parameter, value)
