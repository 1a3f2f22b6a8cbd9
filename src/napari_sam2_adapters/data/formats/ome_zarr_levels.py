"""The levels that OME-Zarr is written with: their shapes, chunks and places."""

from __future__ import annotations

from collections.abc import Sequence

from napari_sam2_adapters.data.formats.ngff import Multiscale, Version
from napari_sam2_adapters.data.formats.pyramid import LevelShape, halved_levels
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.units import convert, length_in_metres, time_unit_name, unit_name

__all__ = ["own_levels", "rechunked"]

_NGFF_UNITS = {
    *(f"{prefix}meter" for prefix in ("yotta", "zetta", "exa", "peta", "tera", "giga", "mega", "kilo", "hecto", "", "deci", "centi", "milli", "micro", "nano", "pico", "femto", "atto", "zepto", "yocto")),
    *("angstrom", "inch", "foot", "yard", "mile", "parsec"),
}  # fmt: skip
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
        unit, factor = _written_unit(geometry.unit)
        for axis, size, start in zip(spatial, geometry.pixel_size, origin, strict=True):
            place[axis] = (size * factor, start * factor, unit)
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


def _written_unit(unit: str | None) -> tuple[str | None, float]:
    """The unit as NGFF has it, and how many of it are one of the given; None and 1 for what is no length."""
    metres, name = length_in_metres(unit), unit_name(unit)
    if metres is None or name in _NGFF_UNITS:
        return (None if metres is None else name), 1.0
    wanted = "millimeter" if metres < 1 else "meter"
    return wanted, convert(1.0, name, wanted)


def rechunked(shapes: tuple[LevelShape, ...], chunks: Sequence[int]) -> tuple[LevelShape, ...]:
    """The same levels in chunks of another shape, without shards."""
    return tuple(
        LevelShape(s.shape, tuple(min(int(c), n) for c, n in zip(chunks, s.shape, strict=True)))
        for s in shapes
    )
