"""NIfTI volumes, as they are and gzipped.

nibabel's axes (i, j, k, t, c) are here C, T, Z, Y, X: the array is transposed, never reoriented. The world is that of `patient_space`.
Labels of a NIfTI image get its header with both its affines bit by bit, shear included.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.data.axes import ArrayLike
from napari_sam2_adapters.data.formats.elements import (
    EAGER_BYTES,
    in_memory_order,
    planes_of,
)
from napari_sam2_adapters.data.formats.nifti_header import geometry_of, header_for
from napari_sam2_adapters.data.formats.planes import planes_in_order
from napari_sam2_adapters.data.formats.registry import Content
from napari_sam2_adapters.data.image_file import ImageFile

__all__ = ["check", "read", "write"]

_ORDER = "CTZYX"
_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")

_DAMAGES = (EOFError, zlib.error, OSError, ValueError, ImageFileError, HeaderDataError)


def read(path: Path, *, as_labels: bool) -> ImageFile:
    """Read a NIfTI file; uncompressed ones above 32 MB stay on the disk.

    Scaled values are float32 where that suffices, others have the file's type. A time axis of one frame is left out.

    Raises
    ------
    ValueError
        When it is no NIfTI, damaged, or no picture of real numbers.
    """
    try:
        image: Any = nibabel.load(path, mmap="r")
        array, axes, rgb = _array(image)
        geometry = geometry_of(image.header, axes)
    except _DAMAGES as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ValueError(
            f"{path} cannot be read as NIfTI ({reason}). It may be damaged or of another kind; copy or save it again."
        ) from error
    return ImageFile(array, axes, path, rgb, geometry)


def check(path: Path, axes: str, dtype: np.dtype[np.generic] | None) -> None:
    """Refuse element types that NIfTI does not have."""
    if dtype is not None and dtype.name not in _TYPES:
        raise ValueError(
            f"NIfTI holds integers of up to 32 bits, float32 and float64, but {path.name} would hold {dtype}. "
            "Write a TIFF instead."
        )


def write(path: Path, content: Content, *, overwrite: bool) -> Path:
    """Write plane by plane, gzipped without a time stamp where the name ends in ``.gz``."""
    check(path, content.axes, content.dtype)
    header = header_for(content)

    def fill(file: BinaryIO) -> None:
        if not path.name.lower().endswith(".gz"):
            _write(file, header, content)
            return
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
            _write(cast("BinaryIO", packed), header, content)

    return write_atomically(path, fill, overwrite=overwrite)


def _write(file: BinaryIO, header: Any, content: Content) -> None:
    header.write_to(file)
    file.write(b"\x00" * (int(header["vox_offset"]) - file.tell()))
    for plane in planes_in_order(content.array, content.axes, _ORDER, header.get_data_dtype()):
        file.write(plane.tobytes())


def _array(image: Any) -> tuple[ArrayLike, str, bool]:
    """The array in the order C, T, Z, Y, X, with its axes, and whether it is in colour."""
    if not isinstance(image, (nibabel.Nifti1Image, nibabel.Nifti2Image)):
        raise ImageFileError(f"it holds {type(image).__name__}")
    proxy: Any = image.dataobj
    stored = np.asanyarray(proxy.get_unscaled())
    shape = list(stored.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    axes = _ORDER[-len(shape) :]
    if len(shape) == 5 and shape[3] == 1:
        del shape[3]
        axes = "CZYX"
    if not 2 <= len(shape) <= 5 or 0 in shape:
        raise ImageFileError(f"its shape is {stored.shape}, not that of an image of 2 to 5 axes")
    raw = stored.reshape(shape, order="F").T
    if raw.dtype.names is not None:
        return _colours(raw, axes)
    if raw.dtype.kind not in "biuf" or raw.dtype.itemsize > 8:
        raise ImageFileError(f"it holds {raw.dtype}, not real numbers of up to 64 bits")
    if (proxy.slope, proxy.inter) == (1, 0):
        return in_memory_order(raw, axes), axes, False
    return _scaled(raw, axes, proxy.slope, proxy.inter), axes, False


def _colours(raw: NDArray[Any], axes: str) -> tuple[ArrayLike, str, bool]:
    names = raw.dtype.names or ()
    if "C" in axes or names[:3] != ("R", "G", "B"):
        raise ImageFileError(f"it holds {raw.dtype} with the axes {axes}, not one colour a pixel")
    parts = np.ascontiguousarray(raw).view(np.uint8).reshape(*raw.shape, len(names))
    return in_memory_order(parts[..., :3], f"{axes}C"), f"{axes}C", True


def _scaled(raw: NDArray[Any], axes: str, slope: float, inter: float) -> ArrayLike:
    """Grey values as nibabel scales them, in float32 where the file's own type allows it."""

    def scale(block: NDArray[Any]) -> NDArray[Any]:
        return apply_read_scaling(block, np.float32(slope), np.float32(inter))

    if raw.nbytes <= EAGER_BYTES:
        return scale(np.asarray(raw))
    dtype = scale(np.zeros(1, raw.dtype)).dtype
    return cast("ArrayLike", planes_of(raw, axes).map_blocks(scale, dtype=dtype))
