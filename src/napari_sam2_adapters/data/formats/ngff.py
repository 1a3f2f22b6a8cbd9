"""Metadata of OME-Zarr (NGFF 0.4 and 0.5): axes, units and transforms of levels, names of channels, classes of labels.

What the format cannot say, directions, is kept under a key of our own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.units import convert, time_unit_name, unit_name

__all__ = [
    "Level",
    "Multiscale",
    "Version",
    "geometry_attributes",
    "geometry_of",
    "image_label",
    "label_classes",
    "ome_attributes",
    "parse_multiscale",
    "put_under_ome",
]

Version = Literal["0.4", "0.5"]

_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
_OWN = "napari-sam2-adapters"


@dataclass(frozen=True)
class Level:
    """One resolution: the path of its array, and the scale and translation of each of its axes in the axis' unit."""

    path: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]


@dataclass(frozen=True)
class Multiscale:
    """An image of one or more resolutions.

    Attributes
    ----------
    axes
        Names of the axes, as everywhere here.
    units
        Unit of each axis, None where there is none.
    levels
        Finest first, with the transforms that go for all levels worked in.
    version
        Of the format; older ones count as 0.4.
    """

    axes: str
    units: tuple[str | None, ...]
    levels: tuple[Level, ...]
    version: Version

    def without(self, axis: str) -> Multiscale:
        """The same without an axis, if it is there."""
        if axis not in self.axes:
            return self
        at = self.axes.index(axis)
        levels = tuple(
            replace(
                level,
                scale=level.scale[:at] + level.scale[at + 1 :],
                translation=level.translation[:at] + level.translation[at + 1 :],
            )
            for level in self.levels
        )
        units = self.units[:at] + self.units[at + 1 :]
        return replace(self, axes=self.axes.replace(axis, ""), units=units, levels=levels)

    def attributes(self, name: str) -> dict[str, Any]:
        """The list ``multiscales`` for a file."""
        axes = [
            {"name": axis.lower(), "type": _TYPES[axis], **({"unit": unit} if unit else {})}
            for axis, unit in zip(self.axes, self.units, strict=True)
        ]
        datasets = [
            {
                "path": level.path,
                "coordinateTransformations": [
                    {"type": "scale", "scale": list(level.scale)},
                    {"type": "translation", "translation": list(level.translation)},
                ],
            }
            for level in self.levels
        ]
        entry: dict[str, Any] = {"name": name, "axes": axes, "datasets": datasets}
        if self.version == "0.4":
            entry = {"version": "0.4", **entry}
        return {"multiscales": [entry]}


def ome_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What a group says of its image: in 0.5 below ``ome``, before that at the top."""
    inner = attributes.get("ome")
    return dict(inner) if isinstance(inner, Mapping) else dict(attributes)


def put_under_ome(entries: Mapping[str, Any], version: Version) -> dict[str, Any]:
    """The opposite of `ome_attributes`."""
    return {"ome": {"version": "0.5", **entries}} if version == "0.5" else dict(entries)


def parse_multiscale(entries: Mapping[str, Any], path: Path) -> Multiscale:
    """Read the first of ``multiscales``.

    Raises
    ------
    ValueError
        When it has axes that an image here cannot have, or is not as the specification says.
    """
    try:
        return _parse(entries["multiscales"][0], str(entries.get("version", "")), path)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} describes its resolutions in a way that OME-Zarr does not know ({type(error).__name__}: {error}). "
            "Write it again with a program that follows OME-Zarr 0.4 or 0.5."
        ) from error


def _parse(entry: Mapping[str, Any], version: str, path: Path) -> Multiscale:
    axes = _axes(entry, path)
    n = len(axes)
    common_scale, common_shift = _transform(entry.get("coordinateTransformations"), n, path)
    levels = []
    for dataset in entry["datasets"]:
        scale, shift = _transform(dataset.get("coordinateTransformations"), n, path)
        levels.append(
            Level(
                str(dataset["path"]),
                tuple(float(s) for s in scale * common_scale),
                tuple(float(s) for s in shift * common_scale + common_shift),
            )
        )
    if not levels:
        raise ValueError(f"{path} lists no resolution, so there is no image in it.")
    given = entry.get("axes") or []
    units = tuple(axis.get("unit") if isinstance(axis, Mapping) else None for axis in given)
    kept: Version = "0.5" if version.startswith("0.5") else "0.4"
    return Multiscale(axes, units or (None,) * n, tuple(levels), kept)


def _axes(entry: Mapping[str, Any], path: Path) -> str:
    given = entry.get("axes")
    if not given:  # 0.1 and 0.2 had these five
        return "TCZYX"
    letters = [_letter(axis) for axis in given]
    names = [axis["name"] if isinstance(axis, Mapping) else axis for axis in given]
    if "?" in letters or len(set(letters)) < len(letters):
        raise ValueError(
            f"{path} has the axes {', '.join(map(str, names))}, but images here have time, depth, channels, rows and "
            "columns (t, z, c, y, x). Save the part that you need."
        )
    return "".join(letters)


def _letter(axis: Mapping[str, Any] | str) -> str:
    name = (axis["name"] if isinstance(axis, Mapping) else axis).upper()
    kind = axis.get("type") if isinstance(axis, Mapping) else None
    if kind in ("time", "channel"):
        return "T" if kind == "time" else "C"
    return name if name in _TYPES else "?"


def _transform(given: Any, n_axes: int, path: Path) -> tuple[Any, Any]:
    """Scale and translation of a list of transforms, applied one after the other."""
    scale, shift = np.ones(n_axes), np.zeros(n_axes)
    for step in given or []:
        kind = step["type"]
        if kind not in ("identity", "scale", "translation") or "path" in step:
            raise ValueError(
                f"{path} places its pixels by {kind!r}, but scale and translation are known here. Write it with these."
            )
        if kind == "identity":
            continue
        values = np.asarray(step[kind], dtype=float)
        if values.shape != (n_axes,):
            raise ValueError(
                f"{path} gives a {kind} of {values.size} numbers for {n_axes} axes. Write it again with one for each."
            )
        scale, shift = (
            (scale * values, shift * values) if kind == "scale" else (scale, shift + values)
        )
    return scale, shift


def geometry_of(multiscale: Multiscale, attributes: Mapping[str, Any]) -> Geometry | None:
    """Where the pixels of the finest level lie; None when the file does not say it.

    Parameters
    ----------
    multiscale
        As parsed.
    attributes
        All attributes of the group, among them perhaps our own.
    """
    finest = multiscale.levels[0]
    place = {
        axis: (scale, shift, unit)
        for axis, scale, shift, unit in zip(
            multiscale.axes, finest.scale, finest.translation, multiscale.units, strict=True
        )
    }
    spatial = [axis for axis in "ZYX" if axis in place]
    unit = unit_name(place["X"][2])
    sizes = [convert(place[a][0], unit_name(place[a][2]), unit) for a in spatial]
    origin = tuple(convert(place[a][1], unit_name(place[a][2]), unit) for a in spatial)
    if not all(0 < abs(size) < math.inf for size in sizes) or not np.isfinite(origin).all():
        return None
    step, _, named = place.get("T", (1.0, 0.0, None))
    time_unit = time_unit_name(named)
    timed = "T" in place and (time_unit is not None or step != 1) and 0 < step < math.inf
    direction = attributes.get(_OWN, {}).get("direction")
    if direction is None and min(sizes) < 0:
        direction = np.diag(np.sign(sizes)).tolist()
    geometry = Geometry(
        tuple(abs(size) for size in sizes),
        unit,
        origin if any(origin) else None,
        tuple(tuple(float(x) for x in row) for row in direction) if direction else None,
        step if timed else None,
        time_unit if timed else None,
    )
    return None if geometry == Geometry((1.0,) * len(spatial)) else geometry


def geometry_attributes(geometry: Geometry | None) -> dict[str, Any]:
    """Attributes of our own for what the format cannot say."""
    if geometry is None or geometry.is_straight or geometry.direction is None:
        return {}
    return {_OWN: {"direction": [list(row) for row in geometry.direction]}}


def image_label(
    classes: Sequence[ClassInfo], source: str | None, version: Version
) -> dict[str, Any]:
    """The entry ``image-label``: colours and names of label values; 0 is transparent."""
    entry: dict[str, Any] = {"version": version} if version == "0.4" else {}
    if classes:
        entry["colors"] = [
            {"label-value": info.value, "rgba": [*_rgb(info.color), 255 if info.value else 0]}
            for info in classes
        ]
        entry["properties"] = [{"label-value": info.value, "class": info.name} for info in classes]
    if source is not None:
        entry["source"] = {"image": source}
    return {"image-label": entry}


def label_classes(entries: Mapping[str, Any]) -> tuple[ClassInfo, ...]:
    """Names and colours of label values; values with a name but no colour are grey, and those with neither left out."""
    about = entries.get("image-label")
    if not isinstance(about, Mapping):
        return ()
    colours = {_value(c): c.get("rgba") for c in about.get("colors") or []}
    names = {_value(p): _name(p) for p in about.get("properties") or []}
    found = []
    for value in sorted(value for value in colours.keys() | names.keys() if value >= 0):
        look: dict[str, Any] = {"value": value, "name": names.get(value) or _plain_name(value)}
        rgba = colours.get(value)
        if isinstance(rgba, Sequence) and len(rgba) >= 3:
            look["color"] = "#" + "".join(f"{int(part) & 255:02x}" for part in rgba[:3])
        try:
            found.append(ClassInfo(**look))
        except ValidationError:  # numbers of single objects may be larger than those of classes
            return ()
    return tuple(found)


def _plain_name(value: int) -> str:
    return f"class {value}" if value else "background"


def _value(entry: Mapping[str, Any]) -> int:
    value = entry.get("label-value", -1)
    return int(value) if isinstance(value, int | float) else -1


def _name(entry: Mapping[str, Any]) -> str:
    """The first of a property's texts that is called as names are."""
    return next((str(entry[key])[:80] for key in ("class", "name", "label") if entry.get(key)), "")


def _rgb(color: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue
