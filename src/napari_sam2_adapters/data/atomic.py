"""Files that appear under their names only when they are complete."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["remove_partial_files", "write_atomically"]

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
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists already. Choose another name, or allow it to be overwritten."
        )
    partial_path = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        with partial_path.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        partial_path.replace(path)
    finally:
        partial_path.unlink(missing_ok=True)
    return path


def remove_partial_files(folder: Path) -> None:
    """Remove what `write_atomically` left in a folder when its process was killed.

    Call it only while nobody else writes there.
    """
    for path in folder.glob(".*.partial"):
        if _PARTIAL.fullmatch(path.name):
            path.unlink(missing_ok=True)
