"""Locks that the operating system holds, so that two processes do not write one thing."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

__all__ = ["locked", "who_holds"]

_SECOND_TRY_S = 0.1
"""A look at a lock (`who_holds`) holds it for less."""
_HELD = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}
"""What the systems call a lock that somebody else has; anything else is wrong with the drive."""
_UNSUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}


@contextlib.contextmanager
def locked(path: Path, occupied: str, mend: str) -> Iterator[None]:
    """Hold a lock as long as the block lasts.

    The operating system holds it for this process and lets go of it when the process ends, however it ends, so that
    a crash leaves no lock behind. On network drives that know no locks it goes on with a warning.

    Parameters
    ----------
    path
        The lock's file, which is removed at the end; its folder must be there.
    occupied, mend
        What is at work when somebody else holds it, and what can be done then: the words before and after who that is.

    Raises
    ------
    BlockingIOError
        When somebody else holds it, in a sentence that says who.
    """
    descriptor = _open_and_lock(path, occupied, mend)
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


def who_holds(path: Path, occupied: str, mend: str) -> str:
    """What `locked` would say of the one who holds a lock; empty when nobody does, or nobody can tell. Nothing is written."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:  # no file, so no holder; or none that this user may open
        return ""
    try:
        _lock(descriptor)
    except OSError as error:
        return f"{occupied}{_holder(path)}. {mend}" if error.errno in _HELD else ""
    finally:
        os.close(descriptor)
    return ""


def _open_and_lock(path: Path, occupied: str, mend: str) -> int:
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
                raise BlockingIOError(f"{occupied}{_holder(path)}. {mend}") from error
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
