"""Files that appear under their names only when they are complete."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["check_writable", "remove_partial_files", "write_atomically"]

# Short and free of the target's name, which may be as long as a file system allows.
_PARTIAL = re.compile(r"\.[0-9a-f]{16}\.partial")


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
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists already. Choose another name, or allow it to be overwritten."
        )
    partial_path = _partial_path(path.parent)
    try:
        with partial_path.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        partial_path.replace(path)
    except OSError as error:
        # A file that `fill` reads from may be what fails; nobody knows the partial file's name.
        if error.errno is None or error.filename not in (None, str(partial_path)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        if partial_path.exists():  # unlink would raise anew where there is no folder, and hide why
            partial_path.unlink()
    return path


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


def remove_partial_files(folder: Path) -> None:
    """Remove what `write_atomically` left in a folder when its process was killed.

    Call it only while nobody else writes there.
    """
    for path in folder.glob(".*.partial"):
        if _PARTIAL.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _partial_path(folder: Path) -> Path:
    return folder / f".{secrets.token_hex(8)}.partial"
