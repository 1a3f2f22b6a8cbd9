"""Headers of MRC files: where pixels lie, in angstrom."""

from __future__ import annotations

from typing import Any

import mrcfile
import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import machine_stamp_from_byte_order, mode_from_dtype
from numpy.typing import NDArray

from napari_sam2_adapters.data.formats.patient_space import length_factor, same_place
from napari_sam2_adapters.data.formats.planes import axis_lengths
from napari_sam2_adapters.data.formats.registry import Content, format_of
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.units import length_in_metres

__all__ = [
    "IMOD_ORIGIN",
    "IMOD_SIGNED",
    "IMOD_STAMP",
    "geometry_of",
    "header_for",
    "imod_flags",
    "is_volume_stack",
]

IMOD_STAMP = 1146047817
"""What IMOD writes into a header that carries its flags."""
IMOD_SIGNED = 1
"""Flag: bytes are signed."""
IMOD_ORIGIN = 4
"""Flag: the origin has the other sign than IMOD's own; kept, so that IMOD takes labels as it takes their image."""

_WORLD = "xyz"
_STACKED_GROUPS = range(401, 631)
_KEPT = (
    "nxstart",
    "nystart",
    "nzstart",
    "mx",
    "my",
    "mz",
    "cella",
    "cellb",
    "mapc",
    "mapr",
    "maps",
    "ispg",
    "origin",
)
_VOLUME, _PICTURES = 1, 0
_VERSION = 20141
_STAMP = slice(40, 48)


def is_volume_stack(header: Any) -> bool:
    """Whether a file holds several volumes, one after the other."""
    return int(header.ispg) in _STACKED_GROUPS and header.mz > 0 and header.nz % header.mz == 0


def imod_flags(header: Any) -> int | None:
    """The flags of a file that IMOD wrote; None for files of others."""
    order = header.mode.dtype.byteorder
    extra = header.extra2.tobytes()[_STAMP]
    stamp, flags = (int(n) for n in np.frombuffer(extra, np.dtype("i4").newbyteorder(order)))
    return flags if stamp == IMOD_STAMP else None


def geometry_of(header: Any, axes: str) -> Geometry | None:
    """Pixel sizes, origin and direction in angstrom; None where the voxel size is 0 or 1, which stands for not known.

    Raises
    ------
    ValueError
        When the header names no order of axes, or has a voxel size below 0.
    """
    order = _order(header)
    n = 3 if "Z" in axes else 2
    sizes = _voxel_size(header)
    known = sizes[order][:n]
    if (known < 0).any() or not np.isfinite(known).all():
        raise ValueError(f"its voxel size {sizes.tolist()} is no length")
    if (known == 0).any() or (known == 1).all():
        return None
    origin = np.array([float(header.origin[axis]) for axis in _WORLD])
    if not origin.any():
        origin[order] = [int(header[f"n{axis}start"]) for axis in _WORLD]
        origin *= sizes
    if n == 2:
        place = tuple(origin[1::-1].tolist()) if order[:2] == [0, 1] else None
        return Geometry(tuple(known[::-1].tolist()), "angstrom", place)
    # A column is the axis of the world that an axis of the array lies along, both in the order Z, Y, X.
    turned = np.eye(3)[:, order][::-1, ::-1]
    return Geometry(
        tuple(known[::-1].tolist()),
        "angstrom",
        tuple(origin[::-1].tolist()),
        None if order == [0, 1, 2] else tuple(tuple(row) for row in turned.tolist()),
    )


def header_for(content: Content, dtype: np.dtype[Any]) -> Any:
    """The header to write before the content; that of its source where it is MRC and lies at the same place.

    Raises
    ------
    ValueError
        When the pixel size has no unit of length, or the direction is none along the axes of the world.
    """
    lengths = axis_lengths(content.array, content.axes)
    header = np.zeros((), HEADER_DTYPE.newbyteorder("<")).view(np.recarray)
    header.nx, header.ny = lengths["X"], lengths["Y"]
    header.nz = lengths.get("Z", 1) * lengths.get("T", 1)
    header.mode = mode_from_dtype(dtype)
    header.map, header.nversion = b"MAP ", _VERSION
    header.machst = machine_stamp_from_byte_order("<")
    source = _source_header(content)
    if source is not None and all(source[key] == header[key] for key in ("nx", "ny", "nz")):
        there = geometry_of(source, content.axes)
        if content.geometry is None or same_place(content.geometry, there):
            _keep(header, source)
            return header
    header.mx, header.my, header.mz = header.nx, header.ny, lengths.get("Z", 1)
    volumes = _STACKED_GROUPS.start if "T" in content.axes else _VOLUME
    header.ispg = volumes if "Z" in content.axes else _PICTURES
    header.cellb = (90, 90, 90)
    header.mapc, header.mapr, header.maps = 1, 2, 3
    if content.geometry is not None:
        _place(header, content.geometry)
    return header


def _source_header(content: Content) -> Any:
    """Header of the image that labels belong to; None where it is no MRC."""
    found = None if content.source is None else format_of(content.source)
    if found is None or found.module != "mrc":
        return None
    with mrcfile.open(content.source, header_only=True) as file:
        return file.header.copy()


def _keep(header: Any, source: Any) -> None:
    """Take over where an image lies, with the sign that IMOD gives its origin."""
    for key in _KEPT:
        header[key] = source[key]
    flags = imod_flags(source)
    if flags is not None:
        marks = np.array([IMOD_STAMP, flags & IMOD_ORIGIN | IMOD_SIGNED], "<i4").tobytes()
        header.extra2 = np.void(bytes(_STAMP.start) + marks + bytes(84 - _STAMP.stop))


def _place(header: Any, geometry: Geometry) -> None:
    if length_in_metres(geometry.unit) is None:
        raise ValueError(
            f"MRC holds lengths in angstrom, but the pixel size {geometry.pixel_size} has no unit of length. Give it one, or write a TIFF."
        )
    factor = length_factor(geometry.unit, "angstrom")
    turned = geometry.rotation()[::-1, ::-1]
    order = turned.argmax(axis=0)
    if not np.allclose(turned, np.eye(len(order))[:, order], atol=1e-6):
        raise ValueError(
            "MRC cannot hold the direction in which these labels lie. Write NIfTI (.nii.gz) or NRRD."
        )
    if int(header.ispg) in _STACKED_GROUPS and order.tolist() != [0, 1, 2]:
        # which has no number of sections in a volume but that along Z of the world
        raise ValueError(
            "MRC holds a series of volumes only along the axes of the world, but these labels are turned. Write NIfTI (.nii.gz) instead."
        )
    if len(order) == 2 and order[0] != 0:
        raise ValueError("MRC cannot hold a plane whose axes are exchanged. Write a TIFF instead.")
    sizes, origin = np.ones(3), np.zeros(3)
    sizes[: len(order)] = geometry.pixel_size[::-1]
    along = [*order.tolist(), 2][:3]
    grid = np.array([header.mx, header.my, header.mz])
    cell = np.empty(3)
    cell[along] = sizes * factor * grid
    header.mx, header.my, header.mz = (int(grid[along.index(axis)]) for axis in range(3))
    header.cella = tuple(cell)
    header.mapc, header.mapr, header.maps = (axis + 1 for axis in along)
    if geometry.origin is not None:
        origin[: len(order)] = geometry.origin[::-1]
        header.origin = tuple(origin * factor)


def _voxel_size(header: Any) -> NDArray[np.float64]:
    """Lengths of a voxel along X, Y and Z of the world; 0 where there is no grid."""
    grid = np.array([header.mx, header.my, header.mz], float)
    cell = np.array([float(header.cella[axis]) for axis in _WORLD])
    sizes: NDArray[np.float64] = np.divide(cell, grid, out=np.zeros(3), where=grid > 0)
    return sizes


def _order(header: Any) -> list[int]:
    """Axis of the world that columns, rows and sections lie along; X, Y, Z where nothing is said."""
    order = [int(header.mapc), int(header.mapr), int(header.maps)]
    if order == [0, 0, 0]:
        return [0, 1, 2]
    if sorted(order) != [1, 2, 3]:
        raise ValueError(f"its axes are ordered as {order}, not as some order of 1, 2 and 3")
    return [axis - 1 for axis in order]
