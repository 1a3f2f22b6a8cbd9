"""Which planes of an image, and which part of them, are to be segmented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from napari_sam2_adapters.data.axes import plane_indices, plane_shape

__all__ = ["Region", "overlap", "settle_region"]


def _everything() -> slice:
    return slice(None)


@dataclass(frozen=True)
class Region:
    """A part of an image; the default is all of it.

    Attributes
    ----------
    planes
        Positions along the axes other than Y, X and C, as `plane_indices` gives them; None for all planes.
    rows, columns
        Part of each plane (px), without a step.
    """

    planes: tuple[tuple[int, ...], ...] | None = None
    rows: slice = field(default_factory=_everything)
    columns: slice = field(default_factory=_everything)


def settle_region(
    region: Region, shape: Sequence[int], axes: str
) -> tuple[list[tuple[int, ...]], slice, slice]:
    """Planes, rows and columns of a region in plain numbers.

    Parameters
    ----------
    region
        The region.
    shape, axes
        Those of the image.

    Raises
    ------
    ValueError
        When a plane does not exist, a slice has a step, or nothing of the image is left.
    """
    shape = tuple(shape)
    known = plane_indices(shape, axes)
    planes = known if region.planes is None else list(region.planes)
    strange = sorted(set(planes) - set(known))
    if strange:
        raise ValueError(
            f"There is no plane {strange[0]} in an image of shape {shape} with the axes {axes}. "
            f"Choose planes from {known[0]} to {known[-1]}."
        )
    if not planes:
        raise ValueError("The region has no plane. Choose at least one.")
    height, width = plane_shape(shape, axes)
    return (
        planes,
        _settled(region.rows, height, "rows"),
        _settled(region.columns, width, "columns"),
    )


def _settled(part: slice, length: int, what: str) -> slice:
    start, stop, step = part.indices(length)
    if step != 1:
        raise ValueError(f"The {what} of a region have no step, got {part}. Leave the step out.")
    if not start < stop:
        raise ValueError(
            f"The {what} {part.start} to {part.stop} hold nothing of an image with {length} {what}. "
            "Choose a region that lies on the image."
        )
    return slice(start, stop)


def overlap(wanted: slice, start: int, length: int) -> slice:
    """What a part and ``length`` pixels from ``start`` on have in common, perhaps nothing."""
    first = min(max(wanted.start, start), wanted.stop)
    return slice(first, max(first, min(wanted.stop, start + length)))
