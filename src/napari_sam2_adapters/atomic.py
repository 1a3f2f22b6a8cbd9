"""Files that appear under their names only when they are complete."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import psutil

__all__ = [
    "check_writable",
    "force_to_disk",
    "machine_id",
    "new_partial_folder",
    "publish_folder",
    "remove_orphans",
    "remove_partial_files",
    "write_atomically",
]

# Short and free of the target's name, which may be as long as a file system allows.
_PARTIAL = re.compile(r"\.[0-9a-f]{16}(?:\.([0-9a-f]{8})-(\d+))?\.partial")
_SYNC_THREADS = 8
_ABANDONED_S = 3600
_UNKNOWN_REQUEST = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_in_work: set[str] = set()
"""Names of the files that threads of this process are writing, which are drawn by lot; their folder may be spelt in several ways."""


def write_atomically(
    path: Path | str, fill: Callable[[BinaryIO], Any], *, overwrite: bool = False
) -> Path:
    """Write beside the target, force it to the disk, and only then give it its name.

    Parameters
    ----------
    path
        The file.
    fill
        Writes the content into a file that is open in binary mode.
    overwrite
        Whether to replace a file that is there.

    Raises
    ------
    FileExistsError
        When the file exists and ``overwrite`` is not set.
    OSError
        When it cannot be written, with the target's name; what was there before is still there then.
    """
    path = Path(path)
    _refuse_what_is_there(path, overwrite=overwrite)
    partial_path = _partial_path(path.parent)
    _in_work.add(partial_path.name)
    try:
        with partial_path.open("wb") as file:
            fill(file)
            force_to_disk(file)
        _refuse_what_is_there(path, overwrite=overwrite)  # it may have come in the meantime
        partial_path.replace(path)
    except OSError as error:
        # A file that `fill` reads from may be what fails; nobody knows the partial file's name.
        if error.errno is None or error.filename not in (None, str(partial_path)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        _in_work.discard(partial_path.name)
        if partial_path.exists():  # unlink would raise anew where there is no folder, and hide why
            partial_path.unlink()
    return path


def new_partial_folder(parent: Path) -> Path:
    """Make an empty folder that :func:`publish_folder` gives its name, and `remove_partial_files` takes away.

    Raises
    ------
    OSError
        When it cannot be made.
    """
    folder = _partial_path(parent)
    folder.mkdir(parents=True)
    return folder


def publish_folder(partial: Path, path: Path, *, overwrite: bool = False) -> Path:
    """Force a folder of `new_partial_folder` to the disk, and only then give it its name.

    Where a folder is replaced there is none of the name for a moment; whatever happens, the old one or the new one is on the disk.

    Raises
    ------
    FileExistsError
        When there is something of that name and ``overwrite`` is not set.
    OSError
        When it cannot be renamed; what was there before is still there then.
    """
    _refuse_what_is_there(path, overwrite=overwrite)
    _force_to_disk(partial)
    if not path.exists():
        partial.rename(path)
        _sync_folder(path.parent)
        return path
    aside = partial.with_suffix(".replaced")
    path.rename(aside)
    try:
        partial.rename(path)
    except OSError:
        aside.rename(path)
        raise
    _sync_folder(path.parent)
    # From here on it may be removed by anybody, until then it was the only copy.
    _remove(aside.rename(_partial_path(path.parent)))
    return path


def _refuse_what_is_there(path: Path, *, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists already. Choose another name, or allow it to be overwritten."
        )


def check_writable(folder: Path) -> None:
    """Make a folder, if it is not there, and find out whether files can be written into it.

    Raises
    ------
    OSError
        When the folder cannot be made or written to, in a sentence.
    """
    probe = _partial_path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise type(error)(
            f"Nothing can be written into the folder {folder}: {error.strerror or error}. Choose another folder, "
            "or get the right to write there."
        ) from error


def remove_partial_files(folder: Path, keep: Collection[Path] = ()) -> None:
    """Remove what `write_atomically` and `new_partial_folder` left in a folder when their process was killed.

    What is in ``keep`` stays, and so does what other processes of this machine, or threads of this one, may be writing. Of processes of other
    machines nothing is known: what they began stays until nothing has been written into it for an hour.
    """
    now = None
    for path, machine, process in _partials(folder):
        if path.name in _in_work or path in keep:
            continue
        if machine == machine_id():
            alive = process != os.getpid() and psutil.pid_exists(process)
        else:
            now = now or _time_of_disk(folder)
            alive = _last_written(path) > now - _ABANDONED_S
        if not alive:
            _remove(path)


def remove_orphans(folder: Path) -> None:
    """Remove what processes of this machine that are no more have left in a folder; others may be writing there."""
    for path, machine, process in _partials(folder):
        if machine == machine_id() and not psutil.pid_exists(process):
            _remove(path)


def _partials(folder: Path) -> Iterator[tuple[Path, str, int]]:
    """What is not complete in a folder, with the machine and the process that began it; files of earlier versions do not tell."""
    for path in folder.glob(".*.partial"):
        named = _PARTIAL.fullmatch(path.name)
        if named:
            yield path, named[1] or "", int(named[2] or 0)


def _time_of_disk(folder: Path) -> float:
    """The time by the clock that dates the files of a folder, which on a shared drive is another machine's."""
    probe = _partial_path(folder)
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def _last_written(path: Path) -> float:
    """When anything in a file or folder was written last; 0 when it is gone."""
    times = [0.0]
    inside = (Path(folder, name) for folder, *names in os.walk(path) for name in chain(*names))
    for part in chain([path], inside):
        with suppress(FileNotFoundError):  # it got its name meanwhile
            times.append(part.stat().st_mtime)
    return max(times)


def _partial_path(folder: Path) -> Path:
    return folder / f".{secrets.token_hex(8)}.{machine_id()}-{os.getpid()}.partial"


@cache
def machine_id() -> str:
    """Tells machines that share a disk apart: a process number says nothing on another one."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _force_to_disk(folder: Path) -> None:
    """Wait until all files of a folder are on the disk; several at once, as disks can."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    with ThreadPoolExecutor(_SYNC_THREADS) as pool:
        for _ in pool.map(_sync_file, files):
            pass
    for inner in {path.parent for path in files} | {folder}:
        _sync_folder(inner)


def _sync_file(path: Path) -> None:
    with path.open("r+b") as file:
        force_to_disk(file)


def _sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can be asked for that."""
    if os.name == "nt":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        _sync(number)
    finally:
        os.close(number)


def force_to_disk(file: BinaryIO) -> None:
    """Wait until all that was written into a file is on the disk, where the drive can be asked for that."""
    file.flush()
    _sync(file.fileno())


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Network drives and shared folders of virtual machines may know no such request, above all for folders.
        if error.errno not in _UNKNOWN_REQUEST:
            raise
