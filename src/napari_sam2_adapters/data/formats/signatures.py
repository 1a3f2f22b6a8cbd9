"""What a file is by its first bytes, for files whose names say something else."""

from __future__ import annotations

from pathlib import Path

__all__ = ["true_kind"]

_SIGNATURES = {
    b"\x89PNG": ("PNG", ".png"),
    b"\xff\xd8\xff": ("JPEG", ".jpg"),
    b"II*\0": ("TIFF", ".tif"),
    b"MM\0*": ("TIFF", ".tif"),
    b"II+\0": ("TIFF", ".tif"),
    b"MM\0+": ("TIFF", ".tif"),
    b"\x93NUMPY": ("NPY", ".npy"),
    b"PK\x03\x04": ("zip archive", ".npz, if it holds arrays of numpy"),
    b"NRRD": ("NRRD", ".nrrd"),
    b"\x1f\x8b": ("gzip archive", ".nii.gz, if it holds NIfTI"),
    b"\x89HDF": ("HDF5", ".h5, which is not read here"),
    b"GIF8": ("GIF", ".gif, which is not read here"),
    b"%PDF": ("PDF", ".pdf, which is not read here"),
}


def true_kind(path: Path) -> tuple[str, str] | None:
    """Name and ending of what a file is by its first bytes; None for what is not known."""
    with path.open("rb") as file:
        head = file.read(max(map(len, _SIGNATURES)))
    return next((kind for start, kind in _SIGNATURES.items() if head.startswith(start)), None)
