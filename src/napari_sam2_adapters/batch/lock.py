"""One run at a time on a folder of results, and one training on an adapter file."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

__all__ = ["LOCK_FILE", "in_use", "locked_folder", "locked_training", "results_folder"]

LOCK_FILE = ".batch.lock"
_SECOND_TRY_S = 0.1
"""A look at a lock (`in_use`) holds it for less."""
_HELD = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}
"""What the systems call a lock that somebody else has; anything else is wrong with the drive."""
_UNSUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


@contextlib.contextmanager
def results_folder(folder: Path) -> Iterator[None]:
    """Make a folder for results, keep other runs off it, and say in a sentence when it cannot be written.

    Raises
    ------
    FileExistsError
        When there is a file in its place.
    OSError
        When the folder is in use by another run, or cannot be written for want of rights or room.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file. Choose a folder for the results.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked_folder(folder):
            yield
    except OSError as error:
        if error.strerror is None:  # a sentence already
            raise
        raise OSError(
            f"Results cannot be written to {folder} ({error.strerror}). Make room or choose another folder."
        ) from error


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keep other runs off a folder.

    The operating system holds the lock for this process and lets go of it when the process ends, however it ends, so that
    a crash leaves no lock behind. On network drives that know no locks it goes on with a warning.

    Raises
    ------
    BlockingIOError
        When another run holds the lock, in a sentence that says which.
    """
    with _locked(folder / LOCK_FILE, f"Another run is at work on {folder}", "folder"):
        yield


@contextlib.contextmanager
def locked_training(state: Path) -> Iterator[None]:
    """Keep other trainings off a checkpoint, which they would overwrite and, at their end, delete; the lock is as that of a folder.

    Raises
    ------
    BlockingIOError
        As `locked_folder`.
    """
    # of the name a checksum, since it may be as long as a file system allows
    mark = hashlib.sha256(os.fsencode(state.name)).hexdigest()[:16]
    lock = state.with_name(f".train-{mark}.lock")
    with _locked(lock, f"Another training is at work on {state}", "name"):
        yield


@contextlib.contextmanager
def _locked(path: Path, occupied: str, choice: str) -> Iterator[None]:
    descriptor = _open_and_lock(path, occupied, choice)
    try:
        _introduce(descriptor)
        yield
    finally:
        # Removed while still locked: who opened it meanwhile sees in _open_and_lock that it is gone. If it is not ours any more,
        # the folder was deleted and made anew, or the drive knows no locks.
        ours = _is_still(descriptor, path)
        if ours and sys.platform != "win32":
            path.unlink(missing_ok=True)
        os.close(descriptor)
        if ours and sys.platform == "win32":
            with contextlib.suppress(OSError):  # another run has opened it already
                path.unlink(missing_ok=True)


def in_use(folder: Path) -> str:
    """That another run is at work on a folder of results, in a sentence; empty when none is, or nobody can tell.

    Nothing is written. What else stands in the way of a run is said when it starts.
    """
    path = folder / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:  # no file, so no run; or none that this user may open
        return ""
    try:
        _lock(descriptor)
    except OSError as error:
        held = error.errno in _HELD
        return _at_work(path, f"Another run is at work on {folder}", "folder") if held else ""
    finally:
        os.close(descriptor)
    return ""


def _at_work(path: Path, occupied: str, choice: str) -> str:
    """Who holds a lock, and what to do."""
    return f"{occupied}{_holder(path)}. Wait until it ends, stop it, or choose another {choice}."


def _open_and_lock(path: Path, occupied: str, choice: str) -> int:
    tried = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                warnings.warn(
                    f"The drive of {path.parent} knows no locks; make sure that no other run writes there.",
                    stacklevel=5,
                )
                return descriptor
            os.close(descriptor)
            if error.errno not in _HELD:
                raise
            if tried:
                raise BlockingIOError(_at_work(path, occupied, choice)) from error
            tried = True
            time.sleep(_SECOND_TRY_S)
            continue
        if _is_still(descriptor, path):
            return descriptor
        os.close(descriptor)  # its holder removed it just now


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one under that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _introduce(descriptor: int) -> None:
    about = {
        "process": os.getpid(),
        "computer": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, _LOCKED_BYTES, os.SEEK_SET)
    os.write(descriptor, json.dumps(about).encode())


def _holder(path: Path) -> str:
    """Who holds the lock, in brackets, as far as it has said so."""
    try:
        with path.open("rb") as file:
            file.seek(_LOCKED_BYTES)
            about = json.load(file)
        return f" (process {about['process']} on {about['computer']}, since {about['since']})"
    except (OSError, ValueError, LookupError, TypeError):
        return ""


if sys.platform == "win32":
    import msvcrt

    _LOCKED_BYTES = 1
    """Windows locks bytes against reading too, so the text stands behind the locked one."""

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, _LOCKED_BYTES)

else:
    import fcntl

    _LOCKED_BYTES = 0

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
