"""Image and label files: reading with axes and pixel sizes, and writing that never destroys.

TIFF (ImageJ, OME, plain), PNG and JPEG. Large TIFF files stay on the disk and are read by region.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.data.axes import (
    ArrayLike,
    check_axes,
    plane_indices,
    read_plane,
)
from napari_sam2_adapters.data.matching import (
    IMAGE_SUFFIXES,
    find_images,
    image_stem,
    match_labels,
)
from napari_sam2_adapters.data.tiff import TiffContent, read_tiff, write_tiff

__all__ = [
    "IMAGE_SUFFIXES",
    "ImageFile",
    "find_images",
    "image_stem",
    "match_labels",
    "read_image",
    "read_labels",
    "write_array",
    "write_labels",
]

_TIFF = (".tif", ".tiff")
_PNG_PALETTE = 3
_PNG_COLOUR_TYPE_BYTE = 25


@dataclass(frozen=True)
class ImageFile:
    """An image or label file.

    Attributes
    ----------
    array
        numpy array, or a memory map or zarr array of a large file.
    axes
        Names of its axes.
    path
        Where it was read.
    rgb
        Whether the channels are red, green and blue; transparency is left out.
    pixel_size
        Length of a pixel along Z, Y and X, those that ``axes`` has; None when the file does not say it.
    unit
        Unit of the pixel size, such as ``micrometer``; None for pixels.
    """

    array: ArrayLike
    axes: str
    path: Path
    rgb: bool = False
    pixel_size: tuple[float, ...] | None = None
    unit: str | None = None


def read_image(path: Path | str) -> ImageFile:
    """Read a TIFF, PNG or JPEG image.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is of another kind, damaged, or has axes that an image here cannot have.
    """
    path = _checked(path)
    content = _decoded(path, read_tiff if path.suffix.lower() in _TIFF else _read_picture)
    return ImageFile(
        content.array, content.axes, path, content.rgb, content.pixel_size, content.unit
    )


def read_labels(path: Path | str) -> ImageFile:
    """Read whole-number labels without channels from TIFF or PNG; a coloured PNG palette gives its indices.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is no image, or it is in colour, in floating point or lossy.
    """
    path = _checked(path)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise ValueError(
            f"{path} is a JPEG, which blurs label values. Save the labels as PNG or TIFF."
        )
    if path.suffix.lower() == ".png":
        indices = _palette_indices(path)
        if indices is not None:
            return ImageFile(indices, "YX", path)
    found = read_image(path)
    if "C" in found.axes:
        raise ValueError(
            f"{path} has channels or colours (axes {found.axes}), but labels have one number per pixel. "
            "Save the labels without colours, as 8- or 16-bit grey."
        )
    if found.array.dtype.kind not in "biu":
        raise ValueError(
            f"{path} holds {found.array.dtype}, but labels are whole numbers. Save them as 8- or 16-bit."
        )
    return found


def write_labels(
    path: Path | str,
    labels: ArrayLike,
    *,
    axes: str,
    pixel_size: tuple[float, ...] | None = None,
    unit: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write labels in the smallest type that holds them, as TIFF or, in two dimensions, PNG.

    The file appears under its name only when it is complete.

    Parameters
    ----------
    path
        Where to; the suffix decides the format.
    labels
        numpy, dask or zarr array of values from 0 up; read plane by plane.
    axes
        Names of its axes.
    pixel_size
        Length of a pixel along Z, Y and X, those that ``axes`` has; kept by TIFF.
    unit
        Unit of the pixel size.
    overwrite
        Whether to replace a file.

    Raises
    ------
    FileExistsError
        When the file exists and ``overwrite`` is not set.
    ValueError
        When the labels or the format do not fit.
    """
    check_axes(labels.shape, axes)
    if "C" in axes or np.dtype(labels.dtype).kind not in "biu":
        raise ValueError(
            f"Labels are whole numbers without channels, got {labels.dtype} with axes {axes}."
        )
    dtype = _smallest_dtype(labels, axes)
    if Path(path).suffix.lower() != ".png":
        return _write_tiff(path, labels, axes, dtype, pixel_size, unit, overwrite)
    if set(axes) != {"Y", "X"} or dtype.itemsize > 2:
        raise ValueError(
            f"PNG holds one plane of values up to 65535, got axes {axes} and {dtype}. Write a TIFF instead."
        )
    encoded = imagecodecs.png_encode(np.ascontiguousarray(read_plane(labels, axes)[0], dtype))
    return write_atomically(path, lambda file: file.write(encoded), overwrite=overwrite)


def write_array(
    path: Path | str,
    array: ArrayLike,
    *,
    axes: str,
    pixel_size: tuple[float, ...] | None = None,
    unit: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write probabilities, uncertainty or an image as TIFF, in the array's own type; as :func:`write_labels`.

    Raises
    ------
    FileExistsError
        When the file exists and ``overwrite`` is not set.
    ValueError
        When the suffix is not a TIFF's, or the type is not 8-, 16- or 32-bit.
    """
    check_axes(array.shape, axes)
    dtype = np.dtype(array.dtype)
    if dtype.name not in ("uint8", "uint16", "uint32", "float16", "float32"):
        raise ValueError(f"TIFF is written as uint8 to uint32, float16 or float32, got {dtype}.")
    return _write_tiff(path, array, axes, dtype, pixel_size, unit, overwrite)


def _write_tiff(
    path: Path | str,
    array: ArrayLike,
    axes: str,
    dtype: DTypeLike,
    pixel_size: tuple[float, ...] | None,
    unit: str | None,
    overwrite: bool,
) -> Path:
    path = Path(path)
    if path.suffix.lower() not in _TIFF:
        raise ValueError(f"{path} ends in {path.suffix!r}, but this is written as .tif. Rename it.")
    n_spatial = sum(axis in "ZYX" for axis in axes)
    if pixel_size is not None and (len(pixel_size) != n_spatial or min(pixel_size) <= 0):
        raise ValueError(
            f"The axes {axes} need {n_spatial} positive pixel sizes (Z, Y, X), got {pixel_size}."
        )
    ome = path.name.lower().endswith((".ome.tif", ".ome.tiff"))
    fill = partial(
        write_tiff, array=array, axes=axes, dtype=dtype, pixel_size=pixel_size, unit=unit, ome=ome
    )
    return write_atomically(path, fill, overwrite=overwrite)


def _smallest_dtype(labels: ArrayLike, axes: str) -> np.dtype[Any]:
    low, high = 0, 0
    for index in plane_indices(labels.shape, axes):
        plane = read_plane(labels, axes, index)
        low, high = min(low, int(plane.min())), max(high, int(plane.max()))
    if low < 0 or high >= 2**32:
        raise ValueError(f"Label values lie between 0 and 4294967295, got {low} to {high}.")
    return np.dtype(np.min_scalar_type(high))


def _checked(path: Path | str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}. Check the path.")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(
            f"{path} is of the kind {path.suffix!r}; images end in {', '.join(IMAGE_SUFFIXES)}. Convert it."
        )
    return path


def _decoded(path: Path, read: Callable[[Path], TiffContent]) -> TiffContent:
    try:
        return read(path)
    except (RuntimeError, ValueError, OSError) as error:
        # tifffile and imagecodecs raise kinds of their own below these three
        if str(path) in str(error):
            raise
        raise ValueError(
            f"{path} cannot be read ({error}). It may be damaged or of another kind; save it again."
        ) from error


def _read_picture(path: Path) -> TiffContent:
    decode = imagecodecs.png_decode if path.suffix.lower() == ".png" else imagecodecs.jpeg_decode
    array: NDArray[Any] = decode(path.read_bytes())
    if array.ndim == 2:
        return TiffContent(array, "YX", False, None, None)
    if array.shape[-1] == 2:  # grey and transparency
        return TiffContent(array[..., 0], "YX", False, None, None)
    return TiffContent(array[..., :3], "YXC", True, None, None)


def _palette_indices(path: Path) -> NDArray[Any] | None:
    """Indices of a PNG with a palette, None for other PNGs."""
    with path.open("rb") as file:
        head = file.read(_PNG_COLOUR_TYPE_BYTE + 1)
    if len(head) <= _PNG_COLOUR_TYPE_BYTE or head[_PNG_COLOUR_TYPE_BYTE] != _PNG_PALETTE:
        return None
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture)
