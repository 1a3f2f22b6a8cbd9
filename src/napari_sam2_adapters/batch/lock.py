"""One run at a time on a folder of results, and one training on an adapter file."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from napari_sam2_adapters.locking import locked, who_holds

__all__ = ["LOCK_FILE", "in_use", "locked_folder", "locked_training", "results_folder"]

LOCK_FILE = ".batch.lock"
_MEND = "Wait until it ends, stop it, or choose another {}."


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
    """Keep other runs off a folder, as `locked` does.

    Raises
    ------
    BlockingIOError
        When another run holds the lock, in a sentence that says which.
    """
    with locked(folder / LOCK_FILE, *_words(folder)):
        yield


def in_use(folder: Path) -> str:
    """That another run is at work on a folder of results, in a sentence; empty when none is, or nobody can tell.

    Nothing is written. What else stands in the way of a run is said when it starts.
    """
    return who_holds(folder / LOCK_FILE, *_words(folder))


def _words(folder: Path) -> tuple[str, str]:
    return f"Another run is at work on {folder}", _MEND.format("folder")


@contextlib.contextmanager
def locked_training(state: Path) -> Iterator[None]:
    """Keep other trainings off a checkpoint, which they would overwrite and, at their end, delete.

    Raises
    ------
    BlockingIOError
        As `locked_folder`.
    """
    # of the name a checksum, since it may be as long as a file system allows
    mark = hashlib.sha256(os.fsencode(state.name)).hexdigest()[:16]
    lock = state.with_name(f".train-{mark}.lock")
    with locked(lock, f"Another training is at work on {state}", _MEND.format("name")):
        yield
