"""Which process is at work on something on the disk, noted so that others can see whether it still is."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["ProcessId", "is_alive", "this_process"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_START_FIELD = 19
"""Place of the start among what stands behind the name in ``/proc/PID/stat``."""
_ROUNDED_S = 2.0
"""Starts that are nearer are one: notes may round them."""


@dataclass(frozen=True)
class ProcessId:
    """A process of this machine, told apart from a later one that has its number.

    Attributes
    ----------
    number
        Its number.
    started
        When it started: on Linux seconds since the system did, elsewhere since 1970. The time of day that Linux gives a process
        moves whenever the clock is set.
    system
        The start of the system that it belongs to; empty where the time of day tells it.
    """

    number: int
    started: float
    system: str = ""


def this_process() -> ProcessId:
    """The process that asks."""
    number = os.getpid()
    return ProcessId(number, _started(number), _system())


def is_alive(process: ProcessId) -> bool:
    """Whether a process of this machine is still there. One that tells nothing of itself is not: it is another user's, who got the number."""
    if process.number <= 0 or process.system != _system():
        return False
    try:
        return abs(_started(process.number) - process.started) < _ROUNDED_S
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return False


def _system() -> str:
    if sys.platform != "linux":
        return ""
    try:
        return _BOOT_ID.read_text().strip()[:8]
    except OSError:  # some sandboxes hide it
        return ""


def _started(number: int) -> float:
    if sys.platform != "linux":
        return float(psutil.Process(number).create_time())
    content = Path(f"/proc/{number}/stat").read_text(errors="replace")
    behind_name = content.rpartition(")")[2].split()  # names may have brackets and spaces
    if behind_name[0] in ("Z", "X"):  # it has ended, and nobody has asked how
        raise psutil.ZombieProcess(number)
    return int(behind_name[_START_FIELD]) / os.sysconf("SC_CLK_TCK")
