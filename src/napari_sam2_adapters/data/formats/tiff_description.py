"""What TIFF files say of their pixels: ImageJ's description, OME-XML, tifffile's own JSON and plain tags.

What these cannot say is kept beside it. In OME-XML, in map annotations of the namespaces `CLASSES` (label value: colour and name) and
`GEOMETRY` (direction; order of the axes where one has the length 1, which readers leave out); in ImageJ's TIFF as the same lines
in *Info* (Image ▸ Show Info), and in tifffile's JSON under the same keys.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tifffile
from pydantic import ValidationError

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.units import convert, time_unit_name, unit_name

__all__ = [
    "CLASSES",
    "GEOMETRY",
    "Description",
    "class_lines",
    "describe",
    "first_image",
    "geometry_lines",
    "missing_parts",
    "parts_beside",
]

CLASSES = "napari-sam2-adapters/classes"
GEOMETRY = "napari-sam2-adapters/geometry"

_VERSION_OF_TIFFFILE = "1.11a"
"""Of ImageJ, as tifffile writes it; without a spacing, whoever wrote by it said nothing of Z."""
_COARSEST_MICROSCOPE_UM = 10.0
_MICRONS = {tifffile.RESUNIT.CENTIMETER: 1e4, tifffile.RESUNIT.INCH: 25400.0}
_GEOMETRY_KEYS = ("direction", "order")
_CLASS_LINE = re.compile(r"(#[0-9a-fA-F]{6}) (.+)", re.DOTALL)


@dataclass(frozen=True)
class Description:
    """What a file says of its first image.

    Attributes
    ----------
    sizes
        Length of a pixel along X, Y and perhaps Z; empty where the file does not say it.
    unit
        Of sizes and origin.
    origin
        World coordinate of the first pixel's centre along X, Y and Z, as far as it is known.
    direction
        As in `Geometry`.
    time_step, time_unit
        As in `Geometry`.
    channel_names
        In the file's order.
    classes
        Names and colours of label values.
    order
        All axes, those of length 1 among them; empty where that is not known.
    """

    sizes: Mapping[str, float] = field(default_factory=dict)
    unit: str | None = None
    origin: Mapping[str, float] = field(default_factory=dict)
    direction: tuple[tuple[float, ...], ...] | None = None
    time_step: float | None = None
    time_unit: str | None = None
    channel_names: tuple[str, ...] = ()
    classes: tuple[ClassInfo, ...] = ()
    order: str = ""

    def geometry(self, axes: str) -> Geometry | None:
        """Geometry of an array with these axes; None where nothing is known."""
        timed = "T" in axes and self.time_step is not None
        spatial = [axis for axis in "ZYX" if axis in axes]
        if not self.sizes and not timed:
            return None
        sizes = self.sizes or dict.fromkeys("ZYX", 1.0)
        origin = tuple(self.origin.get(axis, 0.0) for axis in spatial)
        fitting = self.direction is not None and len(self.direction) == len(spatial)
        return Geometry(
            tuple(sizes.get(axis, sizes["X"]) for axis in spatial),
            self.unit,
            origin if any(origin) else None,
            self.direction if fitting else None,
            self.time_step if timed else None,
            self.time_unit if timed else None,
        )


def describe(file: tifffile.TiffFile) -> Description:
    """What a file says of its first image."""
    if file.is_ome and file.ome_metadata:
        return _from_ome(tifffile.xml2dict(file.ome_metadata).get("OME") or {})
    page = file.pages.first
    sizes = {axis: _from_resolution(page, f"{axis}Resolution") for axis in "XY"}
    shaped = file.shaped_metadata
    written: dict[str, Any] = file.imagej_metadata or (shaped[0] if shaped else {})
    # anybody can write anything under these names
    found = _own_lines(_lines(written), _timed(written))
    if not (sizes["X"] and sizes["Y"]):
        return found
    unit = unit_name(str(written.get("unit") or ""))
    if "unit" in written or "spacing" in written:
        # some programs write it below 0, which ImageJ takes for its amount
        if spacing := abs(_number(written.get("spacing"))):
            sizes["Z"] = spacing
        elif file.imagej_metadata and str(written.get("ImageJ")) != _VERSION_OF_TIFFFILE:
            sizes["Z"] = 1.0  # which ImageJ leaves out
        for axis in {"Y", "Z"} & {*sizes}:  # written where it is another than that of X
            own = unit_name(str(written.get(f"{axis.lower()}unit") or "")) or unit
            sizes[axis] = convert(sizes[axis], own, unit)
        origins = {axis: -_number(written.get(f"{axis.lower()}origin")) for axis in sizes}
        # ImageJ writes pixels of length 1 without a unit when it knows nothing of their size
        if unit is None and set(sizes.values()) == {1.0} and not any(origins.values()):
            return found
        origin = {axis: origins[axis] * size for axis, size in sizes.items()}
        return replace(found, sizes=sizes, unit=unit, origin=origin)
    microns = _MICRONS.get(page.resolutionunit, math.inf)
    sizes = {axis: size * microns for axis, size in sizes.items()}
    # what is coarser is the dots per inch of a screen or a printer, which programs write that know nothing of a microscope
    if max(sizes.values()) <= _COARSEST_MICROSCOPE_UM:
        return replace(found, sizes=sizes, unit="micrometer")
    return found


def missing_parts(file: tifffile.TiffFile, path: Path) -> list[str]:
    """Names of the files that an OME-TIFF of several files lists and that are not beside it."""
    return [name for name in _other_parts(file, path) if not (path.parent / name).is_file()]


def parts_beside(path: Path) -> list[Path]:
    """The other files of an OME-TIFF of several files, as far as they are there; none of any other file, also where it cannot be read."""
    try:
        with tifffile.TiffFile(path) as file:
            names = _other_parts(file, path)
    except Exception:  # a damaged file is for whoever reads its pixels to say
        return []
    return [path.parent / name for name in names if (path.parent / name).is_file()]


def _other_parts(file: tifffile.TiffFile, path: Path) -> list[str]:
    """Names of the files that an OME-TIFF lists besides itself."""
    if not (file.is_ome and file.ome_metadata and "FileName" in file.ome_metadata):
        return []
    ome = tifffile.xml2dict(file.ome_metadata).get("OME") or {}
    data = _several(first_image(ome).get("Pixels", {}).get("TiffData"))
    names = set()
    for entry in data:
        uuid = entry.get("UUID") if isinstance(entry, Mapping) else None
        if isinstance(uuid, Mapping) and uuid.get("value") != ome.get("UUID"):
            names.add(str(uuid.get("FileName", path.name)))
    return sorted(name for name in names if name.lower() != path.name.lower())


def class_lines(classes: Sequence[ClassInfo]) -> dict[str, str]:
    """Label values with colour and name, such as ``{"2": "#ff0000 membrane"}``."""
    return {str(info.value): f"{info.color} {info.name}" for info in classes}


def geometry_lines(geometry: Geometry | None, order: str, shape: Sequence[int]) -> dict[str, str]:
    """The direction as JSON unless the array lies along the axes of the world, and the axes if others than Y and X have the length 1."""
    lines = {}
    if geometry is not None and not geometry.is_straight:
        lines["direction"] = json.dumps(geometry.direction)
    if any(n == 1 for n, axis in zip(shape, order, strict=True) if axis not in "YX"):
        lines["order"] = order
    return lines


def _from_ome(ome: Mapping[str, Any]) -> Description:
    pixels = first_image(ome).get("Pixels", {})
    found = _own_lines(_annotations(ome), _ome_time(pixels))
    names = [str(c.get("Name") or "") for c in _several(pixels.get("Channel"))]
    found = replace(found, channel_names=tuple(names) if all(names) else ())
    sizes: dict[str, float] = {}
    unit = unit_name(pixels.get("PhysicalSizeXUnit", "µm"))
    for axis in "XYZ":
        size = _number(pixels.get(f"PhysicalSize{axis}"))
        if size > 0:
            own = unit_name(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
            sizes[axis] = convert(size, own, unit)
    if "X" not in sizes or "Y" not in sizes:
        return found
    return replace(found, sizes=sizes, unit=unit, origin=_ome_origin(pixels, unit))


def _ome_time(pixels: Mapping[str, Any]) -> Description:
    step = _number(pixels.get("TimeIncrement"))
    unit = time_unit_name(str(pixels.get("TimeIncrementUnit", "s")))
    return Description(time_step=step, time_unit=unit) if step > 0 else Description()


def _ome_origin(pixels: Mapping[str, Any], unit: str | None) -> dict[str, float]:
    """Position of the first plane; without a unit of length it is one of the microscope's own, and left out."""
    planes = [plane for plane in _several(pixels.get("Plane")) if isinstance(plane, Mapping)]
    first = next((p for p in planes if not any(p.get(f"The{axis}") for axis in "CZT")), {})
    origin = {}
    for axis in "XYZ":
        written = first.get(f"Position{axis}Unit")
        own = unit_name(str(written)) if written else "reference frame"
        if own == unit or convert(1.0, own, unit) != 1.0:
            origin[axis] = convert(_number(first.get(f"Position{axis}")), own, unit)
    return origin if {"X", "Y"} <= set(origin) else {}


def _annotations(ome: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of our own map annotations: values of labels, and ``direction``."""
    entries: dict[str, Any] = {}
    written = ome.get("StructuredAnnotations")
    for note in _several(written.get("MapAnnotation") if isinstance(written, Mapping) else None):
        value = note.get("Value") if note.get("Namespace") in (CLASSES, GEOMETRY) else None
        for line in _several(value.get("M") if isinstance(value, Mapping) else None):
            entries[str(line.get("K"))] = line.get("value")
    return entries


def _lines(written: Mapping[str, Any]) -> dict[str, Any]:
    """The same entries from ImageJ's *Info*, or from tifffile's JSON."""
    own = written.get("classes")
    entries = dict(own) if isinstance(own, Mapping) else {}
    entries |= {key: written.get(key) for key in _GEOMETRY_KEYS}
    for line in str(written.get("Info") or "").splitlines():
        key, mark, value = line.partition(" = ")
        if mark and (key.startswith("label ") or key in _GEOMETRY_KEYS):
            entries[key.removeprefix("label ")] = value
    return entries


def _own_lines(entries: Mapping[str, Any], found: Description) -> Description:
    """What the lines of `class_lines` and `direction_line` say, added to a description."""
    classes = []
    for key, value in entries.items():
        line = _CLASS_LINE.fullmatch(str(value))
        if key.isdecimal() and line:
            try:
                classes.append(ClassInfo(value=int(key), color=line[1], name=line[2]))
            except ValidationError:  # changed by hand: the labels are still there
                return replace(found, classes=())
    found = replace(found, classes=tuple(classes))
    try:
        rows = json.loads(str(entries.get("direction") or "null"))
        direction = tuple(tuple(float(x) for x in row) for row in rows) if rows else None
    except (ValueError, TypeError):
        direction = None
    square = direction is not None and all(len(row) == len(direction) for row in direction)
    order = str(entries.get("order") or "")
    return replace(found, direction=direction if square else None, order=order)


def _timed(written: Mapping[str, Any]) -> Description:
    step = _number(written.get("finterval"))
    unit = time_unit_name(str(written.get("tunit") or "sec"))
    return Description(
        time_step=step if step > 0 else None,
        time_unit=unit if step > 0 else None,
        channel_names=_channel_names(written),
    )


def _channel_names(written: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels of planes where they name the channels, again and again."""
    labels = written.get("Labels")
    if not isinstance(labels, list) or not labels or not all(labels):
        return ()
    channels = written.get("channels", len(labels))
    names = labels[:channels] if isinstance(channels, int) else []
    again = bool(names) and names * (len(labels) // len(names)) == labels
    return tuple(str(name) for name in names) if again else ()


def _number(value: object) -> float:
    """A number of a file; 0 for what is none."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and math.isfinite(value) else 0.0  # type: ignore[arg-type]


def _several(value: Any) -> list[Any]:
    """Elements of XML, of which one alone is no list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def first_image(ome: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first ``Image`` of OME-XML as a dict; empty where there is none."""
    images = _several(ome.get("Image"))
    return images[0] if images and isinstance(images[0], Mapping) else {}


def _from_resolution(page: Any, name: str) -> float:
    """Length of a pixel from pixels per unit, 0 where the tag is missing or senseless."""
    tag = page.tags.get(name)
    if tag is None:
        return 0.0
    above, below = tag.value
    return below / above if above and below else 0.0
