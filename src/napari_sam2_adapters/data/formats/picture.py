"""PNG and JPEG: one plane, grey or in colour, without a pixel size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.data.axes import read_plane
from napari_sam2_adapters.data.formats.registry import Content
from napari_sam2_adapters.data.image_file import ImageFile

__all__ = ["check", "read", "write"]

_PNG_PALETTE = 3
_PNG_COLOUR_TYPE_BYTE = 25


def read(path: Path, *, as_labels: bool) -> ImageFile:
    """Read a picture; a coloured palette gives its indices when they are labels.

    Raises
    ------
    ValueError
        When a JPEG is to hold labels.
    """
    png = path.suffix.lower() == ".png"
    if as_labels and not png:
        raise ValueError(
            f"{path} is a JPEG, which blurs label values. Save the labels as PNG or TIFF."
        )
    indices = _palette_indices(path) if as_labels else None
    if indices is not None:
        return ImageFile(indices, "YX", path)
    decode = imagecodecs.png_decode if png else imagecodecs.jpeg_decode
    array: NDArray[Any] = decode(path.read_bytes())
    if array.ndim == 2:
        return ImageFile(array, "YX", path)
    if array.shape[-1] == 2:  # grey and transparency
        return ImageFile(array[..., 0], "YX", path)
    return ImageFile(array[..., :3], "YXC", path, rgb=True)


def check(path: Path, axes: str, dtype: np.dtype[np.generic] | None) -> None:
    """Refuse what is not one plane of values up to 65535."""
    if set(axes) != {"Y", "X"} or (dtype is not None and dtype.name not in ("uint8", "uint16")):
        raise ValueError(
            f"PNG holds one plane of values up to 65535, but {path.name} would have the axes {axes}"
            f"{f' and {dtype}' if dtype else ''}. Write a TIFF instead."
        )


def write(path: Path, content: Content, *, overwrite: bool) -> Path:
    """Write one plane as PNG."""
    check(path, content.axes, content.dtype)
    plane = read_plane(content.array, content.axes)[0]
    encoded = imagecodecs.png_encode(np.ascontiguousarray(plane, content.dtype))
    return write_atomically(path, lambda file: file.write(encoded), overwrite=overwrite)


def _palette_indices(path: Path) -> NDArray[Any] | None:
    """Indices of a PNG with a palette, None for other PNGs."""
    with path.open("rb") as file:
        head = file.read(_PNG_COLOUR_TYPE_BYTE + 1)
    if len(head) <= _PNG_COLOUR_TYPE_BYTE or head[_PNG_COLOUR_TYPE_BYTE] != _PNG_PALETTE:
        return None
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture)
