from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from napari_sam2_adapters import processes
from napari_sam2_adapters.processes import ProcessId, is_alive, this_process

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_this_process_is_alive_also_by_a_rounded_start() -> None:
    own = this_process()
    assert is_alive(own)
    assert is_alive(dataclasses.replace(own, started=float(round(own.started))))


def test_a_process_that_has_ended_and_a_later_one_of_its_number_are_told_apart() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    own = this_process()
    known = ProcessId(child.pid, processes._started(child.pid), own.system)
    assert is_alive(known)
    assert not is_alive(dataclasses.replace(known, started=known.started - 60))
    child.communicate(b"\n")
    assert not is_alive(known)
    assert not is_alive(ProcessId(0, 0.0, own.system))


@linux_only
def test_a_process_that_was_killed_is_gone_although_nobody_has_asked_for_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        known = ProcessId(child.pid, processes._started(child.pid), this_process().system)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert psutil.pid_exists(child.pid)
        assert not is_alive(known)


@linux_only
def test_setting_the_clock_ends_no_process(monkeypatch) -> None:
    own = this_process()
    created = psutil.Process().create_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: created + 3600)
    assert is_alive(own)
    assert this_process() == own


@linux_only
def test_a_process_from_before_the_system_started_anew_is_gone() -> None:
    own = this_process()
    assert len(own.system) == 8
    assert not is_alive(dataclasses.replace(own, system="01234567"))


@linux_only
def test_the_name_of_a_program_may_have_brackets(tmp_path: Path) -> None:
    odd = tmp_path / "a) b (c"
    odd.symlink_to(shutil.which("sleep") or "/bin/sleep")
    child = subprocess.Popen([odd, "60"])
    try:
        started = processes._started(child.pid)
        assert this_process().started <= started < this_process().started + 3600
    finally:
        child.kill()
        child.wait()


@linux_only
def test_what_a_system_hides_is_no_error(monkeypatch, tmp_path: Path) -> None:
    own = this_process()

    def refuse(path: Path, **how: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as hidden:
        hidden.setattr(processes, "_BOOT_ID", tmp_path / "none")
        assert is_alive(this_process())
        assert this_process().system == ""
    with monkeypatch.context() as hidden:
        hidden.setattr(processes, "_system", lambda: own.system)
        hidden.setattr(Path, "read_text", refuse)
        assert not is_alive(own)
