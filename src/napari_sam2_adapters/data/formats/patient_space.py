"""The world of medical images, the same for all their formats.

Its axes point to the patient's left, to the back and to the head (LPS), as in DICOM and ITK. In the order Z, Y, X of `Geometry` a
direction of None thus means: Z runs to the head, Y to the back, X to the left. Formats that are written otherwise, as NIfTI (right,
front, head), are turned when they are read and written; the pixels themselves are never moved.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.units import convert, unit_name

__all__ = ["apart_px", "from_matrix", "length_factor", "same_place", "shifted_px", "to_matrix"]


def from_matrix(matrix: NDArray[Any], unit: str | None) -> Geometry:
    """The geometry of an affine as medical formats write it.

    Parameters
    ----------
    matrix
        (n + 1, n + 1), from the indices (i, j, k) of a voxel, the fastest first, to x, y, z in LPS. It may hold shear.
    unit
        Unit of the world.

    Raises
    ------
    ValueError
        When the matrix flattens the image or is not finite.
    """
    n = len(matrix) - 1
    linear = np.asarray(matrix, float)[:n, :n][::-1, ::-1]
    origin = np.asarray(matrix, float)[:n, n][::-1]
    sizes = np.sqrt((linear**2).sum(axis=0))
    if not np.isfinite(matrix).all() or not (sizes > 0).all():
        raise ValueError(
            f"Its affine {np.asarray(matrix).tolist()} gives pixels no size. Repair the header, or save the image again."
        )
    direction = linear / sizes
    straight = np.array_equal(direction, np.eye(n))
    return Geometry(
        tuple(sizes.tolist()),
        unit,
        tuple(origin.tolist()),
        None if straight else tuple(tuple(row) for row in direction.tolist()),
    )


def to_matrix(geometry: Geometry, unit: str | None) -> NDArray[np.float64]:
    """The affine (n + 1, n + 1) from (i, j, k) to x, y, z in LPS and in this unit, as far as that can be converted to."""
    n = len(geometry.pixel_size)
    matrix = np.eye(n + 1)
    affine = geometry.affine() * length_factor(geometry.unit, unit)
    matrix[:n, :n] = affine[:n, :n][::-1, ::-1]
    matrix[:n, n] = affine[:n, n][::-1]
    return matrix


def length_factor(unit: str | None, wanted: str | None) -> float:
    """How long one unit is in the wanted one; 1 where either is none, or no length that is known."""
    return convert(1.0, unit_name(unit), wanted)


def same_place(one: Geometry | None, other: Geometry | None) -> bool:
    """Whether two geometries put pixels at the same place, to a hundred-thousandth of a pixel."""
    if one is None or other is None or len(one.pixel_size) != len(other.pixel_size):
        return False
    if unit_name(one.unit) != unit_name(other.unit):
        return False
    smallest = min(*one.pixel_size, *other.pixel_size)
    return np.allclose(one.affine(), other.affine(), rtol=1e-6, atol=1e-5 * smallest)


def apart_px(one: Geometry, other: Geometry, lengths: Sequence[int]) -> float:
    """How far apart two geometries put the same pixel of an array, at most, along an axis and in pixels of the first.

    Parameters
    ----------
    one, other
        The geometries.
    lengths
        Of the spatial axes of the array, in the order Z, Y, X.
    """
    in_units = other.affine()
    in_units[:-1] *= length_factor(other.unit, one.unit)
    return shifted_px(one.affine(), in_units, lengths)


def shifted_px(
    one: NDArray[np.float64], other: NDArray[np.float64], lengths: Sequence[int]
) -> float:
    """As `apart_px`, of homogeneous matrices from pixels to the same world, over all axes of the array."""
    corners = np.array([*itertools.product(*((0, n - 1) for n in lengths))], float)
    places = np.hstack([corners, np.ones((len(corners), 1))]).T
    return float(np.abs(np.linalg.solve(one, other @ places) - places).max())
