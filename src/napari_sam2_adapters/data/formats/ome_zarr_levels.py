"""The levels that OME-Zarr is written with: their shapes, chunks and places."""

from __future__ import annotations

from collections.abc import Sequence

from napari_sam2_adapters.data.formats.ngff import Multiscale, Version
from napari_sam2_adapters.data.formats.pyramid import LevelShape, halved_levels
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.units import time_unit_name, unit_name

__all__ = ["own_levels", "rechunked"]

_CHUNK_PX = {"T": 1, "C": 1, "Z": 16, "Y": 512, "X": 512}


def own_levels(
    shape: tuple[int, ...],
    axes: str,
    geometry: Geometry | None,
    chunks: Sequence[int] | None,
    version: Version,
) -> tuple[Multiscale, tuple[LevelShape, ...]]:
    """Levels of an image that follows no other."""
    spatial = [axis for axis in "ZYX" if axis in axes]
    place: dict[str, tuple[float, float, str | None]] = {"T": (1.0, 0.0, None)}
    if geometry is not None:
        origin = geometry.origin or (0.0,) * len(spatial)
        for axis, size, start in zip(spatial, geometry.pixel_size, origin, strict=True):
            place[axis] = (size, start, unit_name(geometry.unit))
        place["T"] = (geometry.time_step or 1.0, 0.0, time_unit_name(geometry.time_unit))
    placed = [place.get(axis, (1.0, 0.0, None)) for axis in axes]
    levels = halved_levels(shape, axes, [p[0] for p in placed], [p[1] for p in placed])
    grain = chunks or [_CHUNK_PX[axis] for axis in axes]
    shapes = tuple(
        LevelShape(lengths, tuple(min(int(g), n) for g, n in zip(grain, lengths, strict=True)))
        for _, lengths in levels
    )
    units = tuple(p[2] for p in placed)
    return Multiscale(axes, units, tuple(level for level, _ in levels), version), shapes


def rechunked(shapes: tuple[LevelShape, ...], chunks: Sequence[int]) -> tuple[LevelShape, ...]:
    """The same levels in chunks of another shape, without shards."""
    return tuple(
        LevelShape(s.shape, tuple(min(int(c), n) for c, n in zip(chunks, s.shape, strict=True)))
        for s in shapes
    )
