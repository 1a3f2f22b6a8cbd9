"""Locks of the operating system: one holder at a time, whatever becomes of folders and drives."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from napari_sam2_adapters import locking
from napari_sam2_adapters.batch.lock import LOCK_FILE, locked_folder, results_folder
from napari_sam2_adapters.locking import locked


def test_it_is_held_by_one_says_by_whom_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path, "A cook is at work", "Wait."):
        said = rf"^A cook is at work \(process {os.getpid()} on .*, since .*\)\. Wait\.$"
        with pytest.raises(BlockingIOError, match=said), locked(path, "A cook is at work", "Wait."):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_look_at_a_lock_is_in_no_runs_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [True]

    def take(descriptor: int) -> None:
        if held:
            held.clear()
            raise BlockingIOError(errno.EWOULDBLOCK, "held for a moment")

    monkeypatch.setattr(locking, "_lock", take)
    with locked_folder(tmp_path):
        assert (tmp_path / LOCK_FILE).exists()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    holds = (
        "from napari_sam2_adapters.locking import locked; import pathlib, sys\n"
        "with locked(pathlib.Path(sys.argv[1]), '', ''): print('held', flush=True); input()"
    )
    arguments = [sys.executable, "-c", holds, str(path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(BlockingIOError), locked(path, "", ""):
            pass
        other.kill()
    assert path.exists()
    with locked(path, "", ""):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="nobody deletes an open file there")
def test_a_run_whose_folder_was_deleted_leaves_the_lock_of_the_next_one(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    with locked_folder(folder):
        shutil.rmtree(folder)
        folder.mkdir()
        after = locked_folder(folder)
        after.__enter__()
    with pytest.raises(BlockingIOError, match="Another run is at work"), locked_folder(folder):
        pass
    after.__exit__(None, None, None)
    assert list(folder.iterdir()) == []


def test_a_drive_on_which_locking_fails_is_not_taken_for_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(locking, "_lock", broken)
    said = r"Results cannot be written to .* \(Input/output error\)"
    with pytest.raises(OSError, match=said), results_folder(tmp_path):
        pass


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOLCK])
def test_a_drive_that_knows_no_locks_is_used_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def unknown(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locking, "_lock", unknown)
    with pytest.warns(UserWarning, match="knows no locks"), results_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
