from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_sam2_adapters.atomic import (
    check_writable,
    new_partial_folder,
    publish_folder,
    remove_orphans,
    remove_partial_files,
    write_atomically,
)


def test_a_failure_leaves_neither_a_new_nor_a_damaged_file(tmp_path: Path) -> None:
    target = tmp_path / "mask.tif"
    target.write_bytes(b"precious")

    def fill(file) -> None:
        file.write(b"half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_atomically(target, fill, overwrite=True)
    assert target.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    target = tmp_path / "mask.tif"
    write_atomically(target, lambda file: file.write(b"first"))
    with pytest.raises(FileExistsError, match="Choose another name"):
        write_atomically(target, lambda file: file.write(b"second"))
    assert target.read_bytes() == b"first"
    write_atomically(target, lambda file: file.write(b"second"), overwrite=True)
    assert target.read_bytes() == b"second"


def test_what_came_while_it_was_written_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "mask.tif"

    def fill(file) -> None:
        file.write(b"ours")
        target.write_bytes(b"theirs")

    with pytest.raises(FileExistsError, match="Choose another name"):
        write_atomically(target, fill)
    assert target.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [target]


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 251 + ".tif")
    assert write_atomically(target, lambda file: file.write(b"x")).read_bytes() == b"x"


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path: Path) -> None:
    earlier = tmp_path / ".0123456789abcdef.partial"
    earlier.write_bytes(b"half")
    os.utime(earlier, (time.time() - 7200,) * 2)
    theirs = [tmp_path / ".notes.partial", tmp_path / "0123456789abcdef.partial"]
    for path in theirs:
        path.write_bytes(b"precious")
    remove_partial_files(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(theirs)


def test_what_another_process_or_thread_is_writing_is_no_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `predict` into a folder in which a batch begins."""
    writes = (
        "from napari_sam2_adapters.atomic import write_atomically; import pathlib, sys;"
        "write_atomically(pathlib.Path(sys.argv[1]), lambda file: (print('at work', flush=True), input()))"
    )
    arguments = [sys.executable, "-c", writes, str(tmp_path / "theirs")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        monkeypatch.chdir(tmp_path)
        write_atomically(tmp_path / "ours", lambda _: remove_partial_files(Path()))
        other.stdin.write(b"\n")
    assert other.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "theirs"]


def test_what_another_machine_has_written_into_within_an_hour_is_no_leftover(
    tmp_path: Path,
) -> None:
    """As a batch that begins in a folder on a shared drive into which another machine writes."""
    begun = [tmp_path / f".{number:016x}.00000000-7.partial" for number in range(3)]
    for folder in begun[:2]:
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "chunk").write_bytes(b"theirs")
    begun[2].write_bytes(b"theirs")
    old = (time.time() - 3700,) * 2
    for path in (begun[0], *begun[0].rglob("*"), begun[1], begun[1] / "inner", begun[2]):
        os.utime(path, old)
    remove_partial_files(tmp_path)
    assert list(tmp_path.iterdir()) == [begun[1]]
    assert (begun[1] / "inner" / "chunk").read_bytes() == b"theirs"


def test_only_what_dead_processes_of_this_machine_left_is_an_orphan(tmp_path: Path) -> None:
    writes = "from napari_sam2_adapters.atomic import new_partial_folder; import pathlib, sys; new_partial_folder(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", writes, str(tmp_path)], check=True)
    (dead,) = tmp_path.iterdir()
    alive = new_partial_folder(tmp_path)
    machine = dead.name.split(".")[2].split("-")[0]
    elsewhere = tmp_path / dead.name.replace(machine, "00000000")
    named = tmp_path / ".mine.partial"
    for path in (elsewhere, named):
        path.write_bytes(b"precious")
    remove_orphans(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([alive, elsewhere, named])


def draft(parent: Path, content: str) -> Path:
    folder = new_partial_folder(parent)
    (folder / "inner").mkdir()
    (folder / "inner" / "file").write_text(content)
    return folder


def test_a_folder_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "a.zarr"
    assert publish_folder(draft(tmp_path, "first"), target) == target
    with pytest.raises(FileExistsError, match="Choose another name"):
        publish_folder(draft(tmp_path, "second"), target)
    assert (target / "inner" / "file").read_text() == "first"
    publish_folder(draft(tmp_path, "third"), target, overwrite=True)
    assert (target / "inner" / "file").read_text() == "third"
    remove_partial_files(tmp_path)  # what the refused one left
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_replaced_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.zarr"
    publish_folder(draft(tmp_path, "precious"), target)
    new, rename = draft(tmp_path, "new"), Path.rename

    def fails(self: Path, goal: Path) -> Path:
        if self == new:
            raise PermissionError(errno.EACCES, "a program has it open", str(self))
        return rename(self, goal)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(PermissionError):
        publish_folder(new, target, overwrite=True)
    assert (target / "inner" / "file").read_text() == "precious"
    remove_partial_files(tmp_path)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_drive_that_knows_no_forcing_is_written_to_and_one_that_fails_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As shared folders of virtual machines answer for folders."""

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    partial = draft(tmp_path, "new")
    monkeypatch.setattr(os, "fsync", refuse)
    if number == errno.EIO:
        with pytest.raises(OSError, match="Input/output error"):
            write_atomically(tmp_path / "file", lambda file: file.write(b"x"))
        with pytest.raises(OSError, match="Input/output error"):
            publish_folder(partial, tmp_path / "folder")
        assert list(tmp_path.iterdir()) == [partial]
    else:
        write_atomically(tmp_path / "file", lambda file: file.write(b"x"))
        publish_folder(partial, tmp_path / "folder")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_full_disk_is_told_with_the_name_of_the_target(tmp_path: Path) -> None:
    def full(file) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: .*mask.tif") as caught:
        write_atomically(tmp_path / "mask.tif", full)
    assert caught.value.errno == errno.ENOSPC
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as no_folder:
        write_atomically(tmp_path / "file" / "mask.tif", lambda file: file.write(b"x"))
    assert no_folder.value.filename == str(tmp_path / "file" / "mask.tif")


def test_a_file_that_cannot_be_read_is_not_taken_for_the_target(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(
            tmp_path / "copy.tif", lambda file: file.write((tmp_path / "source").read_bytes())
        )
    assert caught.value.filename == str(tmp_path / "source")


def test_a_folder_is_made_and_tried(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder")
    assert not list((tmp_path / "new" / "folder").iterdir())
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OSError, match=r"written into the folder .*file.*Choose another folder"):
        check_writable(tmp_path / "file" / "folder")


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="a file system that takes no files"
)
def test_a_folder_that_takes_no_files_is_refused() -> None:
    with pytest.raises(OSError, match="Nothing can be written into the folder /proc/self"):
        check_writable(Path("/proc/self"))
