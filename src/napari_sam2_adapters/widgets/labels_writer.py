"""Saving a Labels layer as TIFF with its pixel size, which napari's own writer drops."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.utils.notifications import show_warning

from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import write_labels
from napari_sam2_adapters.data.units import convert, unit_name

__all__ = ["write_labels_layer"]

_AXES = {2: "YX", 3: "ZYX", 4: "TZYX"}


def write_labels_layer(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer as OME-TIFF (``.ome.tif``) or ImageJ's TIFF (``.tif``).

    Parameters
    ----------
    path
        Where to; napari has asked before it replaces a file.
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
    ValueError
        When the layer has more than four axes, or values that no label file can hold.
    """
    array = data[0] if attributes.get("multiscale") else data
    axes = _axes(array.ndim, attributes.get("axis_labels", ()))
    geometry = _geometry(axes, attributes)
    written = write_labels(path, array, axes=axes, geometry=geometry, overwrite=True)
    if _is_turned(attributes):
        show_warning(
            f"{Path(path).name} keeps the pixel size. TIFF cannot hold the rotation, shear or flip of the layer."
        )
    return [str(written)]


def _axes(n_axes: int, names: Sequence[str]) -> str:
    if n_axes not in _AXES:
        raise ValueError(
            f"The layer has {n_axes} axes, but labels are saved with 2 to 4 (time, depth, rows, columns). Save a part of it."
        )
    first = str(names[0]).lower() if len(names) else ""
    return "TYX" if n_axes == 3 and first in ("t", "time") else _AXES[n_axes]


def _geometry(axes: str, attributes: Mapping[str, Any]) -> Geometry | None:
    """Lengths of a pixel along Z, Y and X in the unit of X; None when nothing is known."""
    scale = np.abs(np.asarray(attributes.get("scale", np.ones(len(axes))), dtype=float))
    given = attributes.get("units") or ["pixel"] * len(axes)
    units = [unit_name(str(unit)) for unit in given]
    spatial = [place for place, axis in enumerate(axes) if axis in "ZYX"]
    lengths = [convert(float(scale[place]), units[place], units[-1]) for place in spatial]
    if units[-1] is None and all(math.isclose(length, 1) for length in lengths):
        return None
    return Geometry(tuple(lengths), units[-1])


def _is_turned(attributes: Mapping[str, Any]) -> bool:
    """Whether the layer lies otherwise than along its axes."""
    scale = np.asarray(attributes.get("scale", 1.0), dtype=float)
    if (scale < 0).any():
        return True
    linear = [
        np.asarray(attributes[key], dtype=float) for key in ("rotate", "shear") if key in attributes
    ]
    if "affine" in attributes:
        linear.append(np.asarray(attributes["affine"], dtype=float)[:-1, :-1])
    return any(not np.allclose(matrix, _straight(matrix)) for matrix in linear)


def _straight(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What a rotation, shear or affine is that changes nothing; a shear may be a list of its elements."""
    return np.eye(len(matrix)) if matrix.ndim == 2 else np.zeros(matrix.shape)
