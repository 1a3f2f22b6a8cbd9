"""Saving a Labels layer with its place in the world and its classes, which napari's own writers drop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from napari.utils.colormaps import DirectLabelColormap
from napari.utils.notifications import show_warning
from napari.utils.transforms import Affine, CompositeAffine
from numpy.typing import NDArray
from pydantic import ValidationError

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import ome_zarr_kind, write_labels
from napari_sam2_adapters.data.losses import lost_place
from napari_sam2_adapters.data.units import convert, time_unit_name, unit_name
from napari_sam2_adapters.widgets.docks.arrays import without_axis
from napari_sam2_adapters.widgets.docks.layers import name_axes
from napari_sam2_adapters.widgets.docks.spread import plain_matrix, spread_in, without
from napari_sam2_adapters.widgets.docks.turned import turn_back

__all__ = ["write_labels_layer"]

_MOST_CLASSES = 255
_USUAL_ENDING = ".ome.tif"


def write_labels_layer(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer; the ending of the name decides the format, and a name without one gets ``.ome.tif``.

    A name that is an OME-Zarr image already adds the labels to it, under the name of the layer.

    Parameters
    ----------
    path
        Where to; napari has asked before it replaces a file, but not for folders.
    data
        The layer's array; of a multiscale layer all levels, of which the finest is written.
    attributes
        The layer's state as napari gives it to writers: scale, units, axis_labels and so on.

    Returns
    -------
    list of str
        What was written.

    Raises
    ------
    FileExistsError
        When there is a folder of this name, or the image has such labels, or a file of the name with the ending that was left out.
    ValueError
        When the layer has more than four axes, or values that no label file can hold.
    """
    array = data[0] if attributes.get("multiscale") else data
    units = _of_axes(attributes, "units", "pixel", array.ndim)
    names = _of_axes(attributes, "axis_labels", "", array.ndim)
    spread = spread_in(attributes.get("metadata") or {}, array.shape, names)
    matrix = plain_matrix(_world_matrix(array.ndim, attributes), spread)
    units, names = without(spread, units), without(spread, names)
    array = without_axis(array, spread)
    axes = _axes(names, units)
    matrix = turn_back(matrix, attributes.get("metadata") or {}, axes)
    geometry, unheld = _geometry(axes, units, matrix)
    target = Path(path)
    asked = not target.is_dir()
    if ome_zarr_kind(target) == "image":
        target = target / "labels" / str(attributes.get("name") or "labels").replace("/", "-")
    elif not target.suffix and not target.is_dir():
        target, asked = target.with_name(target.name + _USUAL_ENDING), False
    written = write_labels(
        target,
        array,
        axes=axes,
        geometry=geometry,
        classes=_classes(attributes),
        overwrite=asked,
    )
    if note := _lost(written, geometry, unheld):
        show_warning(note)
    return [str(written)]


def _of_axes(attributes: Mapping[str, Any], key: str, usual: str, n_axes: int) -> list[str]:
    """Names or units of all axes, as the layer has them."""
    return [str(value) for value in attributes.get(key) or [usual] * n_axes]


def _axes(names: Sequence[str], units: Sequence[str]) -> str:
    """As the docks name them; what is counted in a unit of time is time, whatever it is called."""
    n_axes = len(names)
    if not 2 <= n_axes <= 4:
        raise ValueError(
            f"The layer has {n_axes} axes, but labels are saved with 2 to 4 (time, depth, rows, columns). Save a part of it."
        )
    return name_axes(
        [
            name if time_unit_name(unit) is None else "t"
            for name, unit in zip(names, units, strict=True)
        ]
    )


def _geometry(
    axes: str, units: Sequence[str], matrix: NDArray[np.float64]
) -> tuple[Geometry | None, list[str]]:
    """Where the layer's pixels lie, in the unit of X; None when nothing is known.

    Also what else there is of its place, which no file can say: a layer may lean along time, and begin later.
    """
    spatial = [place for place, axis in enumerate(axes) if axis in "ZYX"]
    unit = unit_name(units[-1])
    to_unit = [convert(1.0, unit_name(units[place]), unit) for place in spatial]
    linear = matrix[np.ix_(spatial, spatial)] * np.asarray(to_unit)[:, None]
    origin = matrix[spatial, -1] * to_unit
    sizes = np.linalg.norm(linear, axis=0)
    direction = linear / sizes
    straight = np.allclose(direction, np.eye(len(spatial)), atol=1e-6)
    step, time_unit = None, None
    if "T" in axes:
        at = axes.index("T")
        time_unit, length = time_unit_name(units[at]), float(abs(matrix[at, at]))
        step = length if time_unit or length != 1 else None
    geometry = Geometry(
        tuple(float(size) for size in sizes),
        unit,
        tuple(float(o) for o in origin) if np.any(origin) else None,
        None if straight else tuple(tuple(float(x) for x in row) for row in direction),
        step,
        time_unit,
    )
    others = [place for place in range(len(axes)) if place not in spatial]
    unheld = []
    if matrix[np.ix_(others, spatial)].any() or matrix[np.ix_(spatial, others)].any():
        unheld.append("that the layer leans along time")
    if matrix[others, -1].any():
        unheld.append("the time at which the layer begins")
    plain = Geometry((1.0,) * len(spatial))
    return (None if geometry == plain else geometry), unheld


def _world_matrix(n_axes: int, attributes: Mapping[str, Any]) -> NDArray[np.float64]:
    """Homogeneous matrix from pixels to the world, as napari puts scale, shear, rotation, translation and affine together."""
    state = {key: attributes.get(key) for key in ("scale", "translate", "rotate", "shear")}
    inner = CompositeAffine(
        np.ones(n_axes) if state["scale"] is None else state["scale"],
        np.zeros(n_axes) if state["translate"] is None else state["translate"],
        rotate=state["rotate"],
        shear=state["shear"],
        ndim=n_axes,
    )
    outer = Affine(affine_matrix=attributes.get("affine", np.eye(n_axes + 1)), ndim=n_axes)
    matrix: NDArray[np.float64] = outer.affine_matrix @ inner.affine_matrix
    return matrix


def _classes(attributes: Mapping[str, Any]) -> tuple[ClassInfo, ...]:
    """Names from the table of features (``index`` and ``class``), colours as the layer shows them.

    A row without a name is of a label that was measured, but is no class. One that was painted since the classes were named has a colour alone.
    """
    features = attributes.get("features")
    if features is None or not {"index", "class"} <= set(features):
        return ()
    pairs = zip(features["index"], features["class"], strict=True)
    try:
        rows = [(int(value), name) for value, name in pairs if pd.notna(value)]
    except (ValueError, TypeError):  # the rows are no labels
        return ()
    named = [(value, name) for value, name in rows if pd.notna(name) and str(name).strip()]
    if len(named) > _MOST_CLASSES:
        return ()
    colormap = attributes.get("colormap")
    if isinstance(colormap, DirectLabelColormap):
        known = {0, None, *(value for value, _ in rows)}
        named += [(v, f"class {v}") for v in sorted(set(colormap.color_dict) - known)]
    found = []
    for value, name in named:
        look: dict[str, Any] = {"value": value, "name": str(name)[:80]}
        look |= _shown_color(colormap, value)
        try:
            found.append(ClassInfo(**look))
        except ValidationError:  # a table of single objects, whose numbers may be larger
            return ()
    return tuple(found)


def _shown_color(colormap: Any, value: int) -> dict[str, str]:
    """The colour of a value; nothing where it is shown in none."""
    if colormap is None:
        return {}
    *color, opacity = np.asarray(colormap.map(np.array([value])), float).reshape(-1)[:4]
    return {"color": "#" + "".join(f"{round(c * 255):02x}" for c in color)} if opacity else {}


def _lost(path: Path, geometry: Geometry | None, unheld: list[str]) -> str:
    """Sentences when other programs, or all, do not see the layer where it was."""
    said = [lost_place(path, geometry)]
    if unheld:
        said.append(f"{path.name} does not hold {' and '.join(unheld)}.")
    return " ".join(filter(None, said))
