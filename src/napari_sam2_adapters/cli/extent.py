"""The part of each image that ``predict`` segments, from what was typed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from napari_sam2_adapters.data.axes import plane_indices
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.inference.region import Region

__all__ = ["Extent", "read_extent"]

_RANGE = re.compile(r"\s*(\d*)\s*:\s*(\d*)\s*")


@dataclass(frozen=True)
class Extent:
    """Rows and columns of each plane (px), and numbers of planes, which are counted through all of them from 0."""

    rows: slice
    columns: slice
    planes: slice

    def region_of(self, image: ImageFile) -> Region:
        """The part of an image.

        Raises
        ------
        ValueError
            When it has no such plane.
        """
        known = plane_indices(image.array.shape, image.axes)
        planes = tuple(known[self.planes])
        if not planes:
            raise ValueError(
                f"The planes from {self.planes.start or 0} on are asked for, but the image has {len(known)}, counted from 0. "
                "Correct --planes."
            )
        return Region(planes, self.rows, self.columns)


def read_extent(region: str | None, planes: str | None) -> Extent | None:
    """The extent of two flags; None for whole images.

    Parameters
    ----------
    region
        ``TOP:BOTTOM,LEFT:RIGHT``; a number may be left out.
    planes
        ``FIRST:STOP`` or one number.

    Raises
    ------
    ValueError
        When it is written in another way, or holds nothing.
    """
    if region is None and planes is None:
        return None
    rows, columns = slice(None), slice(None)
    if region is not None:
        parts = [_range(text) for text in region.split(",")]
        if len(parts) != 2 or None in parts:
            raise ValueError(
                f"--region takes TOP:BOTTOM,LEFT:RIGHT in pixels, such as 0:512,100:612, where each is larger than the one before it, "
                f"but got {region!r}. Correct it."
            )
        rows, columns = parts[0] or rows, parts[1] or columns
    wanted = slice(None)
    if planes is not None:
        one = planes.strip()
        found = slice(int(one), int(one) + 1) if one.isdecimal() else _range(planes)
        if found is None:
            raise ValueError(
                f"--planes takes a number or FIRST:STOP, counted from 0, such as 10:20, but got {planes!r}. Correct it."
            )
        wanted = found
    return Extent(rows, columns, wanted)


def _range(text: str) -> slice | None:
    """``a:b`` as a slice; None when it is none or empty."""
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    start, stop = (int(number) if number else None for number in match.groups())
    return None if stop is not None and stop <= (start or 0) else slice(start, stop)
