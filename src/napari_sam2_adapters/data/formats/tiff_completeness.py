"""Whether a TIFF file holds all that it tells of.

tifffile tells of pages that lie behind the end of a file in its log alone, and reads what is left. A file that was cut short is refused here; one
that is whole, but says more than it holds, is read with a notice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_sam2_adapters.data.formats.tiff_description import first_image

__all__ = ["check_pages", "check_pixels", "notices"]

_MEND = "Copy it again, or save it again with the program that wrote it."
# size in bytes of an element of each type of tag
_TAG_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # fmt: skip
_NEEDED_TAGS = (270, 273, 279, 324, 325)
"""The description, and where strips and tiles lie and how long they are."""


def check_pages(file: tifffile.TiffFile, path: Path) -> None:
    """Refuse a file of which pages, or what is said of them, lie behind its end.

    Raises
    ------
    ValueError
        With what it says it holds, and what is there.
    """
    own = Path(file.filehandle.path)
    with own.open("rb") as raw:
        size = raw.seek(0, 2)
        if (start := _first_behind_the_end(raw, file.tiff, size)) is None:
            return
    part = "it" if own.name == path.name else f"its part {own.name}"
    raise ValueError(
        f"{path} cannot be read ({part} was cut short or damaged: {_declared(file, size)}it should go on "
        f"to byte {start} at least, but ends at byte {size}). {_MEND}"
    )


def check_pixels(file: tifffile.TiffFile, path: Path, *, all_pages: bool) -> None:
    """Refuse a file of whose first series strips or tiles lie behind its end, or that has too few pages.

    Parameters
    ----------
    file, path
        The file.
    all_pages
        Whether to look at each page; else at the first and the last, which is quick for files of very many pages.

    Raises
    ------
    ValueError
        With what it says it holds, and what is there.
    """
    series = file.series[0]
    others = {page.parent for page in series if page is not None} if series.is_multifile else ()
    for part in others:
        check_pages(part, path)
    if series.dataoffset is not None:
        end, size = series.dataoffset + series.nbytes, file.filehandle.size
    else:
        end, size = max((_overhang(level, all_pages) for level in series.levels), default=(0, 0))
    wanted = math.prod(series.shape) // max(series.keyframe.size, 1)
    if end > size:
        raise ValueError(
            f"{path} cannot be read (it was cut short: {_declared(file, size)}its pixels should end at byte {end}, "
            f"but the file ends at byte {size}). {_MEND}"
        )
    if series.dataoffset is None and len(series) < wanted:
        raise ValueError(
            f"{path} cannot be read (it says that it holds {wanted} planes, but has {len(series)} pages). {_MEND}"
        )
    alone = file.is_imagej and series.kind != "imagej" and len(series) == 1
    if alone and _room(file, file.filehandle.size) > 1:
        # one page before all the pixels, as ImageJ writes more than 4 GB
        size = file.filehandle.size
        raise ValueError(
            f"{path} cannot be read (it was cut short: {_declared(file, size)}it ends at byte {size}). {_MEND}"
        )


def notices(file: tifffile.TiffFile) -> tuple[str, ...]:
    """What of a whole file is not read, a sentence each."""
    series = file.series[0]
    found = []
    wanted = _declared_planes(file)
    if file.is_imagej and series.kind != "imagej" and wanted > len(series):
        found.append(
            f"ImageJ's description tells of {wanted} planes, but there {_are(len(series))} in the file."
        )
    if series.kind == "ome" and (absent := sum(page is None for page in series)):
        found.append(f"{absent} of {len(series)} planes are not in the file, and are read as 0.")
    shapes = [_size(one) for one in file.series[1:] if not _is_beside(one.keyframe)]
    if shapes:
        listed = ", ".join(shapes[:3]) + (" and more" if len(shapes) > 3 else "")
        found.append(
            f"The file holds {len(shapes) + 1} images, of which the first ({_size(series)}) is read; the others "
            f"({listed}) are not. Save each as a file of its own to have them, too."
        )
    return tuple(found)


def _first_behind_the_end(raw: Any, layout: Any, size: int) -> int | None:
    """Byte of the first page, description or table of strips that the file does not reach; None when it reaches all."""
    order = layout.byteorder
    entry = np.dtype(
        [("code", f"{order}u2"), ("type", f"{order}u2"), ("count", f"{order}u{layout.offsetsize}"), ("value", f"{order}u{layout.offsetsize}")]
    )  # fmt: skip
    raw.seek(4 if layout.offsetsize == 4 else 8)
    place, seen = _whole(raw, layout, layout.offsetsize), set()
    while place and place not in seen:
        seen.add(place)
        if place + layout.tagnosize > size:
            return place
        raw.seek(place)
        count = _whole(raw, layout, layout.tagnosize)
        end: int = place + layout.tagnosize + count * entry.itemsize + layout.offsetsize
        if end > size:
            return end
        for tag in np.frombuffer(raw.read(count * entry.itemsize), entry):
            length = _TAG_BYTES.get(int(tag["type"]), 1) * int(tag["count"])
            apart = length > layout.offsetsize and int(tag["code"]) in _NEEDED_TAGS
            if apart and int(tag["value"]) + length > size:
                return int(tag["value"]) + length
        place = _whole(raw, layout, layout.offsetsize)
    return None


def _whole(raw: Any, layout: Any, n_bytes: int) -> int:
    return int.from_bytes(raw.read(n_bytes), "little" if layout.byteorder == "<" else "big")


def _overhang(level: Any, all_pages: bool) -> tuple[int, int]:
    """End of the strip or tile that goes farthest beyond its file, and the size of that file."""
    numbers = range(len(level)) if all_pages else sorted({0, len(level) - 1})
    ends = [(0, 0)]
    for page in (level[number] for number in numbers):
        if page is not None and page.dataoffsets:
            # of pixels that are not packed, some programs write counts that are too large
            plain = page.keyframe.compression == 1 and len(page.dataoffsets) == 1
            counts = [min(page.databytecounts[0], page.nbytes)] if plain else page.databytecounts
            end = max(a + b for a, b in zip(page.dataoffsets, counts, strict=False))
            ends.append((end, page.parent.filehandle.size))
    return max(ends, key=lambda found: found[0] - found[1])


def _declared(file: tifffile.TiffFile, size: int) -> str:
    """What a file says it holds, and for how much of that there is room, as the beginning of a sentence."""
    try:
        wanted, page = _declared_planes(file), file.pages.first
    except IndexError:  # not even the first page is there
        return ""
    if wanted < 2:
        return ""
    there = _room(file, size)
    room = f" and has room for {there}" if there else ""
    return f"it says that it holds {wanted} planes of {page.imagelength} × {page.imagewidth} pixels{room}; "


def _declared_planes(file: tifffile.TiffFile) -> int:
    """Number of planes by the description; 1 where there is none."""
    page = file.pages.first
    if file.imagej_metadata:
        said: Mapping[str, Any] = file.imagej_metadata
        product = math.prod(_count(said.get(key)) for key in ("frames", "slices", "channels"))
        in_page = page.samplesperpixel == _count(said.get("channels"))
        planes = product // int(page.samplesperpixel) if in_page else product
        return max(planes, _count(said.get("images")))
    if file.is_ome and file.ome_metadata:
        ome = tifffile.xml2dict(file.ome_metadata).get("OME") or {}
        pixels = first_image(ome).get("Pixels", {})
        product = math.prod(_count(pixels.get(f"Size{axis}")) for axis in "TZC")
        return product // int(page.samplesperpixel)
    if file.shaped_metadata and page.size:
        shape = file.shaped_metadata[0].get("shape", ())
        return math.prod(_count(length) for length in shape) // int(page.size)
    return 1


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 1


def _room(file: tifffile.TiffFile, size: int) -> int:
    """How many planes fit behind the first byte of the pixels; 0 where they are packed or not in one piece."""
    page = file.pages.first
    if page.compression != 1 or not page.is_contiguous or not page.nbytes:
        return 0
    return max(size - int(page.dataoffsets[0]), 0) // int(page.nbytes)


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"


def _size(series: Any) -> str:
    return " × ".join(map(str, series.shape))


def _is_beside(page: Any) -> bool:
    """Whether a page is a smaller copy or a mask of another."""
    return bool(page.is_reduced or page.is_mask)
