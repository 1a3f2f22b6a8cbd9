"""Telling whether a file is still the one that it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from napari_sam2_adapters.config import Settings
from napari_sam2_adapters.data.formats.registry import image_folder
from napari_sam2_adapters.data.formats.text_header import data_beside

__all__ = ["ExtraStamp", "FileStamp", "file_sha256"]

_BLOCK_BYTES = 2**22


class FileStamp(Settings):
    """Size, time and checksum of a file's content, and of what else of it lies beside it (pixels of a header, parts of an OME-TIFF); of a folder, of the names, sizes and times of what belongs to it."""

    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """Stamp a file, all of which is read, or a folder."""
        if path.is_dir():
            return cls._of_folder(path)
        size, mtime_ns = _size_and_time(path)
        sums = [file_sha256(part) for part in _parts(path)]
        whole = sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()
        return cls(size=size, mtime_ns=mtime_ns, sha256=whole)

    @classmethod
    def _of_folder(cls, folder: Path) -> Self:
        files = sorted(path for path in _inside(folder) if path.is_file())
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
            return _size_and_time(path) == (self.size, self.mtime_ns)
        except FileNotFoundError:
            return False

    def matches(self, path: Path) -> bool:
        """Whether the file has this content; it is read only when its time is another one, as after copying."""
        if self.untouched(path):
            return True
        if not path.is_file() or _size_and_time(path)[0] != self.size:
            return False
        return FileStamp.of(path).sha256 == self.sha256


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


def _parts(path: Path) -> list[Path]:
    if path.suffix.lower() in (".tif", ".tiff"):
        from napari_sam2_adapters.data.formats.tiff_description import parts_beside

        return [path, *parts_beside(path)]
    data = data_beside(path)
    return [path] if data is None else [path, data]


def _inside(folder: Path) -> Iterator[Path]:
    """All that is in an OME-Zarr; of a folder of slices only what lies there itself, since results may lie below."""
    if image_folder(folder / "inside") is not None:
        return folder.rglob("*")
    return (path for path in folder.iterdir() if path.name[0] != ".")


def _size_and_time(path: Path) -> tuple[int, int]:
    states = [part.stat() for part in _parts(path)]
    return sum(state.st_size for state in states), max(state.st_mtime_ns for state in states)
