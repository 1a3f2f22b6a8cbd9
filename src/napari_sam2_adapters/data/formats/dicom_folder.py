"""Recognising a folder of DICOM slices, which often have no ending, by their content."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["DICOM_ENDINGS", "is_dicom_folder"]

DICOM_ENDINGS = (".dcm", ".ima")
_PREAMBLE_BYTES = 128
_MAGIC = b"DICM"
_LOOKED_AT = 16
_DIRECTORY = "dicomdir"
"""What the list of all files of a disc is called, which is DICOM, but no slice; those lie in folders below it."""


def is_dicom_folder(path: Path) -> bool:
    """Whether slices lie in this folder itself: one of its first files has a DICOM file's ending or magic word."""
    try:
        with os.scandir(path) as entries:
            files = [entry for entry in entries if _may_be_slice(entry.name) and entry.is_file()]
    except OSError:  # no folder, or one that may not be looked into
        return False
    first = sorted(files, key=lambda entry: entry.name)[:_LOOKED_AT]
    return any(_is_dicom(Path(entry.path)) for entry in first)


def _may_be_slice(name: str) -> bool:
    return name[0] != "." and name.lower() != _DIRECTORY


def _is_dicom(path: Path) -> bool:
    if path.suffix.lower() in DICOM_ENDINGS:
        return True
    # Other formats, and large files, are not opened for nothing.
    if path.suffix and not path.suffix[1:].isdecimal():
        return False
    try:
        with path.open("rb") as file:
            return file.read(_PREAMBLE_BYTES + len(_MAGIC))[_PREAMBLE_BYTES:] == _MAGIC
    except OSError:  # somebody else's, or in use: the images beside it are there all the same
        return False
