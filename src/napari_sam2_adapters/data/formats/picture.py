"""PNG and JPEG: one plane, grey or in colour, without a pixel size.

A PNG's dots per metre are those of a screen or printer, and are left alone.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.config import ClassInfo, default_classes
from napari_sam2_adapters.data.axes import read_plane
from napari_sam2_adapters.data.formats.registry import Content
from napari_sam2_adapters.data.image_file import ImageFile

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile as Picture

__all__ = ["check", "open_picture", "read", "write"]

_CLASSES = "Classes"
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
# neither a stuffed or filling byte, nor a mark to restart at, none of which begins a segment
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]", re.DOTALL)
_PNG_PALETTE = 3
_PNG_DEPTH_BYTE = 24
_PNG_COLOUR_TYPE_BYTE = 25


def read(path: Path, *, as_labels: bool) -> ImageFile:
    """Read a picture; a palette gives its indices when they are labels, and grey values where it has no colours.

    Raises
    ------
    ValueError
        When a JPEG is to hold labels, or was cut short.
    """
    png = path.suffix.lower() == ".png"
    if as_labels and not png:
        raise ValueError(
            f"{path} is a JPEG, which blurs label values. Save the labels as PNG or TIFF."
        )
    indices = _palette_indices(path) if as_labels else None
    if indices is not None:
        return ImageFile(indices, "YX", path, classes=_read_classes(path))
    encoded = path.read_bytes()
    if not png and not _jpeg_ends(encoded):
        # the decoder fills what is missing with grey, and says nothing
        raise ValueError(
            f"{path} cannot be read (it has {len(encoded)} bytes, and no end of a JPEG in them: it was cut short, and "
            "the rows that are missing would be read as grey). Copy it again, or save it again."
        )
    decode = imagecodecs.png_decode if png else imagecodecs.jpeg_decode
    array: NDArray[Any] = decode(encoded)
    if array.ndim == 3 and array.shape[-1] == 2:  # grey and transparency
        array = array[..., 0]
    if array.ndim == 2:
        if not as_labels:
            return ImageFile(array, "YX", path)
        # grey of fewer than 8 bits is stretched to 255 when it is decoded
        depth = encoded[_PNG_DEPTH_BYTE]
        values = array // (255 // (2**depth - 1)) if depth < 8 else array
        return ImageFile(values, "YX", path, classes=_read_classes(path))
    if array.shape[-1] == 4 and not png:
        raise ValueError(
            f"{path} is a JPEG in the four inks of printers (CMYK). Convert it to RGB or grey."
        )
    if png and encoded[_PNG_COLOUR_TYPE_BYTE] == _PNG_PALETTE and _has_grey_palette(path):
        return ImageFile(array[..., 0], "YX", path)
    return ImageFile(array[..., :3], "YXC", path, rgb=True)


def open_picture(path: Path) -> Picture:
    """The head of a PNG or JPEG of any size, by PIL; its own `open` refuses what is larger than photographs are.

    Raises
    ------
    ValueError
        When it is no such picture.
    OSError
        When it cannot be read.
    """
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    try:
        return (PngImageFile if path.suffix.lower() == ".png" else JpegImageFile)(path)
    except SyntaxError as error:  # PIL's word for that
        raise ValueError(str(error)) from error


def _jpeg_ends(encoded: bytes) -> bool:
    """Whether a JPEG has its end; what programs append behind that, and the thumbnails in its header, do not count."""
    if encoded[:2] != _JPEG_START or encoded.endswith(_JPEG_END):
        return True  # what begins otherwise is left to the decoder
    place = 2
    while marker := _JPEG_MARKER.search(encoded, place):
        if marker.group() == _JPEG_END:
            return True
        length = encoded[marker.end() : marker.end() + 2]
        place = marker.end() + int.from_bytes(length, "big")
    return False


def _has_grey_palette(path: Path) -> bool:
    """Whether red, green and blue are the same in each entry of a PNG's palette."""
    with open_picture(path) as picture:
        table = np.reshape(picture.getpalette("RGB") or [], (-1, 3))
    return bool((table == table[:, :1]).all())


def check(path: Path, axes: str, dtype: np.dtype[np.generic] | None) -> None:
    """Refuse what is not one plane of values up to 65535."""
    if set(axes) != {"Y", "X"} or (dtype is not None and dtype.name not in ("uint8", "uint16")):
        raise ValueError(
            f"PNG holds one plane of values up to 65535, but {path.name} would have the axes {axes}"
            f"{f' and {dtype}' if dtype else ''}. Write a TIFF instead."
        )


def write(path: Path, content: Content, *, overwrite: bool) -> Path:
    """Write one plane as PNG; labels up to 255 with named classes as indices of a palette with their colours."""
    check(path, content.axes, content.dtype)
    plane = np.ascontiguousarray(read_plane(content.array, content.axes)[0], content.dtype)
    if content.labels and content.classes:
        encoded = _encode_classes(plane, content.classes)
    else:
        encoded = bytes(imagecodecs.png_encode(plane))
    return write_atomically(path, lambda file: file.write(encoded), overwrite=overwrite)


def _encode_classes(plane: NDArray[Any], classes: Sequence[ClassInfo]) -> bytes:
    """A PNG with the names of the classes as text, and their colours as a palette where the values fit into one."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    known = [info.model_dump() for info in classes]
    text.add_itxt(_CLASSES, json.dumps(known, ensure_ascii=False))
    picture = Image.fromarray(plane)
    if plane.dtype == np.uint8:
        colours = {info.value: info.color for info in default_classes(list(range(256)))}
        colours |= {info.value: info.color for info in classes}
        picture.putpalette(bytes.fromhex("".join(colours[v][1:] for v in range(256))))
    stream = io.BytesIO()
    picture.save(stream, "PNG", pnginfo=text, bits=8)
    return stream.getvalue()


def _read_classes(path: Path) -> tuple[ClassInfo, ...]:
    """The classes that `_encode_classes` wrote; nothing for other files."""
    with open_picture(path) as picture:
        written = getattr(picture, "text", {}).get(_CLASSES)
    try:
        return tuple(ClassInfo(**entry) for entry in json.loads(written or "[]"))
    except (ValueError, TypeError):  # another program's words under the same name
        return ()


def _palette_indices(path: Path) -> NDArray[Any] | None:
    """Indices of a PNG with a palette, None for other PNGs."""
    with path.open("rb") as file:
        head = file.read(_PNG_COLOUR_TYPE_BYTE + 1)
    if len(head) <= _PNG_COLOUR_TYPE_BYTE or head[_PNG_COLOUR_TYPE_BYTE] != _PNG_PALETTE:
        return None
    with open_picture(path) as picture:
        return np.asarray(picture)
