"""Telling whether a file is still the one that it was."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Self

from napari_sam2_adapters.config import Settings

__all__ = ["ExtraStamp", "FileStamp", "file_sha256"]

_BLOCK_BYTES = 2**22


class FileStamp(Settings):
    """Size, time and checksum of a file's content; of a folder, of the names, sizes and times of all that is in it."""

    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """Stamp a file, all of which is read, or a folder."""
        if path.is_dir():
            return cls._of_folder(path)
        state = path.stat()
        return cls(size=state.st_size, mtime_ns=state.st_mtime_ns, sha256=file_sha256(path))

    @classmethod
    def _of_folder(cls, folder: Path) -> Self:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        states = [path.stat() for path in files]
        digest = hashlib.sha256()
        for path, state in zip(files, states, strict=True):
            name = path.relative_to(folder).as_posix()
            about = f" {state.st_size} {state.st_mtime_ns}\n".encode()
            digest.update(os.fsencode(name) + about)  # names need not be UTF-8
        return cls(
            size=sum(state.st_size for state in states),
            mtime_ns=max((state.st_mtime_ns for state in states), default=0),
            sha256=digest.hexdigest(),
        )

    def untouched(self, path: Path) -> bool:
        """Whether size and time are the same, without reading the file."""
        if path.is_dir():
            return self == FileStamp.of(path)
        try:
            state = path.stat()
        except FileNotFoundError:
            return False
        return (state.st_size, state.st_mtime_ns) == (self.size, self.mtime_ns)

    def matches(self, path: Path) -> bool:
        """Whether the file has this content; it is read only when its time is another one, as after copying."""
        if self.untouched(path):
            return True
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        return file_sha256(path) == self.sha256


class ExtraStamp(FileStamp):
    """A file written besides the labels of an image, with what it was made from."""

    settings_sha256: str
    labels_sha256: str


def file_sha256(path: Path) -> str:
    """Checksum over the bytes of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
