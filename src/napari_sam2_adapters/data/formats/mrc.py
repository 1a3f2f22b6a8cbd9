"""MRC files of electron microscopy: volumes, stacks of pictures and single pictures.

The world is that of the header: X, Y and Z in angstrom, with the header's origin. Files whose axes are stored in another order
(``mapc``, ``mapr``, ``maps``) keep their order, and the direction says where the axes lie.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

import mrcfile
import numpy as np
from mrcfile.utils import data_dtype_from_header
from numpy.typing import NDArray

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.data.axes import plane_indices, read_plane
from napari_sam2_adapters.data.formats.elements import in_memory_order
from napari_sam2_adapters.data.formats.mrc_header import (
    IMOD_SIGNED,
    geometry_of,
    header_for,
    imod_flags,
    is_volume_stack,
)
from napari_sam2_adapters.data.formats.planes import planes_in_order
from napari_sam2_adapters.data.formats.registry import Content
from napari_sam2_adapters.data.image_file import ImageFile

__all__ = ["check", "read", "write"]

_HEADER_BYTES = 1024
_HIGHEST = 2**16 - 1
_COMPLEX = (3, 4)
_WRITTEN = ("uint8", "int8", "uint16", "int16", "float16", "float32")


def read(path: Path, *, as_labels: bool) -> ImageFile:
    """Read an MRC file; those above 32 MB stay on the disk.

    A stack of pictures (``.mrcs``, or space group 0 with one section a picture) has its pictures along T, a volume its sections along Z.

    Raises
    ------
    ValueError
        When its header is broken, the file is shorter than its header says, or its values are complex.
    """
    with mrcfile.open(path, header_only=True) as file:
        header = file.header.copy()
    if int(header.mode) in _COMPLEX:
        raise ValueError(
            f"{path} holds complex numbers (mode {int(header.mode)}), the Fourier transform of an image. Save the image itself."
        )
    dtype = _element_type(header)
    shape, axes = _shape(header, path)
    offset = _HEADER_BYTES + int(header.nsymbt)
    expected = offset + math.prod(shape) * dtype.itemsize
    found = path.stat().st_size
    if min(shape) < 1 or int(header.nsymbt) < 0 or found < expected:
        raise ValueError(
            f"{path} has {found} bytes, but its header tells of {shape} {dtype.name} in {expected} bytes. "
            "It was cut short or its header is damaged; copy it again."
        )
    raw = np.memmap(path, dtype, "r", offset, shape)
    array = in_memory_order(raw, axes)
    return ImageFile(
        array,
        axes,
        path,
        geometry=geometry_of(header, axes),
    )


def check(path: Path, axes: str, dtype: np.dtype[np.generic] | None) -> None:
    """Refuse what the modes of MRC cannot hold."""
    if "C" in axes or (dtype is not None and dtype.name not in _WRITTEN):
        raise ValueError(
            f"MRC holds values up to {_HIGHEST} or float16 and float32, without channels, but {path.name} would hold "
            f"{dtype or 'them'} with the axes {axes}. Write a TIFF instead."
        )


def write(path: Path, content: Content, *, overwrite: bool) -> Path:
    """Write plane by plane: values up to 127 as mode 0 (signed bytes), others up to 65535 as mode 6."""
    check(path, content.axes, content.dtype)
    seen = _statistics(content)
    dtype = content.dtype
    if dtype == np.uint8:  # bytes are signed in MRC
        dtype = np.dtype(np.int8 if seen["dmax"] <= np.iinfo(np.int8).max else np.uint16)
    header = header_for(content, dtype)
    for key, value in seen.items():
        header[key] = value

    def fill(file: BinaryIO) -> None:
        file.write(header.tobytes())
        for plane in planes_in_order(content.array, content.axes, "TZ", dtype.newbyteorder("<")):
            file.write(plane.tobytes())

    return write_atomically(path, fill, overwrite=overwrite)


def _element_type(header: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(data_dtype_from_header(header))
    if dtype.itemsize == 1 and _bytes_are_unsigned(header):
        return np.dtype(np.uint8)
    return dtype


def _bytes_are_unsigned(header: Any) -> bool:
    """Whether mode 0 is unsigned here: IMOD says it by a flag, others by a brightest value that signed bytes do not have."""
    flags = imod_flags(header)
    if flags is not None:
        return not flags & IMOD_SIGNED
    return bool(np.iinfo(np.int8).max < header.dmax <= np.iinfo(np.uint8).max)


def _shape(header: Any, path: Path) -> tuple[tuple[int, ...], str]:
    nx, ny, nz, mz = (int(header[key]) for key in ("nx", "ny", "nz", "mz"))
    group = int(header.ispg)
    if is_volume_stack(header):
        return (nz // mz, mz, ny, nx), "TZYX"
    if nz == 1 and group == 0:
        return (ny, nx), "YX"
    pictures = path.suffix.lower() == ".mrcs" or (group == 0 and mz == 1)
    return (nz, ny, nx), "TYX" if pictures else "ZYX"


def _statistics(content: Content) -> dict[str, float]:
    """Lowest, highest and mean value and deviation, which an MRC header tells."""
    count, total, squares = 0, 0.0, 0.0
    low, high = np.inf, -np.inf
    for index in plane_indices(content.array.shape, content.axes):
        plane: NDArray[np.float64] = read_plane(content.array, content.axes, index).astype(float)
        low, high = min(low, plane.min()), max(high, plane.max())
        count += plane.size
        total += plane.sum()
        squares += (plane**2).sum()
    mean = total / count
    spread = float(np.sqrt(max(squares / count - mean**2, 0)))
    return {"dmin": low, "dmax": high, "dmean": mean, "rms": spread}
