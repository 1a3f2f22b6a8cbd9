"""Telling whether a file is still the one that it was."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Self

from napari_sam2_adapters.config import Settings

__all__ = ["ExtraStamp", "FileStamp", "file_sha256"]

_BLOCK_BYTES = 2**22


class FileStamp(Settings):
    """Size, time and checksum of a file's content."""

    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """Stamp a file; all of it is read."""
        state = path.stat()
        return cls(size=state.st_size, mtime_ns=state.st_mtime_ns, sha256=file_sha256(path))

    def untouched(self, path: Path) -> bool:
        """Whether size and time are the same, without reading the file."""
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
