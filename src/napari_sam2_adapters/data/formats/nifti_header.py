"""Headers of NIfTI files: where voxels lie, and in which units."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import nibabel
import numpy as np
from nibabel.nifti1 import unit_codes
from numpy.typing import NDArray

from napari_sam2_adapters.data.formats.patient_space import (
    from_matrix,
    length_factor,
    same_place,
    to_matrix,
)
from napari_sam2_adapters.data.formats.planes import axis_lengths
from napari_sam2_adapters.data.formats.registry import Content, format_of
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.units import convert_time, length_in_metres, time_unit_name

__all__ = ["geometry_of", "header_for"]

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_UNITS = {"meter": "meter", "mm": "millimeter", "micron": "micrometer"}
_TIMES = {"sec": "second", "msec": "millisecond", "usec": "microsecond"}
_SPACE_BITS, _TIME_BITS = 0b111, 0b111000
_SCANNER = 1
_LONGEST_AXIS = 2**15 - 1


def geometry_of(header: Any, axes: str) -> Geometry | None:
    """Where the voxels lie: by the sform, else by the qform, else by their sizes alone.

    Parameters
    ----------
    header
        Of nibabel.
    axes
        Names of the axes of the array here.

    Raises
    ------
    ValueError
        When the affine gives voxels no size.
    """
    space, time = _unit_words(header)
    unit = _UNITS.get(space)
    found: Geometry | None
    if header["sform_code"] > 0 or header["qform_code"] > 0:
        # Programs that leave the unit out mean millimetres, as all that read NIfTI do.
        matrix = _RAS_TO_LPS @ header.get_best_affine()
        found = _in_axes(from_matrix(matrix, unit or "millimeter"), axes)
    else:
        sizes = tuple(float(size) for size in header["pixdim"][1 : 4 if "Z" in axes else 3])
        known = min(sizes) > 0 and not (unit is None and set(sizes) == {1.0})
        found = Geometry(sizes[::-1], unit) if known else None
    step = float(header["pixdim"][4])
    if found is not None and "T" in axes and step > 0 and time in _TIMES:
        found = replace(found, time_step=step, time_unit=_TIMES[time])
    return found


def _unit_words(header: Any) -> tuple[str, str]:
    """Units of space and time as nibabel calls them; unknown where programs wrote a code that is none, at which nibabel itself stops."""
    code, words = int(header["xyzt_units"]), unit_codes.label
    space, time = (str(words.get(code & bits, "unknown")) for bits in (_SPACE_BITS, _TIME_BITS))
    return space, time


def header_for(content: Content) -> Any:
    """The header to write before the content.

    It is that of the source where that is NIfTI, with its affines where the content lies as the source does. A geometry that knows no
    place gives pixel sizes with both codes 0; shear, which the qform cannot hold, is in the sform alone. Units that NIfTI does not have are converted.
    """
    shape = _shape(content)
    source = _source_header(content)
    if source is not None:
        header = source.copy()
        there = geometry_of(source, content.axes)
        placed = _spatial(source.get_data_shape()) == _spatial(shape) and (
            content.geometry is None or same_place(content.geometry, there)
        )
    else:
        kind: Any = nibabel.Nifti2Header if max(shape) > _LONGEST_AXIS else nibabel.Nifti1Header
        header = kind()
        placed = False
    header.set_data_dtype(content.dtype.newbyteorder(header.endianness))
    header.set_data_shape(shape)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    header.set_intent("label" if content.labels else "none")
    if not placed:
        _place(header, content.geometry, shape)
    size = header.single_vox_offset + header.extensions.get_sizeondisk()
    header["vox_offset"] = size + -size % 16
    return header


def _source_header(content: Content) -> Any:
    """Header of the image that labels belong to; None where it is no NIfTI."""
    found = None if content.source is None else format_of(content.source)
    if content.source is None or found is None or found.module != "nifti":
        return None
    return cast("Any", nibabel.load(content.source)).header


def _shape(content: Content) -> tuple[int, ...]:
    """Length of each of nibabel's axes, the fastest first; Z is one long below time or channels."""
    lengths = axis_lengths(content.array, content.axes)
    shape = [lengths["X"], lengths["Y"]]
    if set(content.axes) & set("ZTC"):
        shape.append(lengths.get("Z", 1))
    if set(content.axes) & set("TC"):
        shape.append(lengths.get("T", 1))
    if "C" in content.axes:
        shape.append(lengths["C"])
    return tuple(shape)


def _spatial(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:3], 1)[:3]


def _place(header: Any, geometry: Geometry | None, shape: tuple[int, ...]) -> None:
    """Write units, voxel sizes and affines of a geometry into a header."""
    code = _length_code(geometry)
    header["sform_code"] = header["qform_code"] = 0
    zooms = np.ones(max(len(shape), 4))
    time = "unknown"
    if geometry is not None:
        sizes = np.asarray(geometry.pixel_size[::-1]) * length_factor(
            geometry.unit, _UNITS.get(code)
        )
        zooms[: len(sizes)] = sizes
        if geometry.time_step is not None:
            zooms[3], time = _time_step(geometry.time_step, geometry.time_unit)
    header.set_xyzt_units(code, time)
    header.set_zooms(zooms[: len(shape)])
    if geometry is None or (geometry.origin is None and geometry.direction is None):
        return
    affine = _RAS_TO_LPS @ _in_space(to_matrix(geometry, _UNITS.get(code)))
    header.set_sform(affine, code=_SCANNER)
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.allclose(axes.T @ axes, np.eye(3), atol=1e-4):
        header.set_qform(affine, code=_SCANNER)


def _length_code(geometry: Geometry | None) -> str:
    """The unit of NIfTI for a geometry; for a length that is none of NIfTI's the one that keeps its numbers handy."""
    metres = length_in_metres(geometry.unit) if geometry else None
    if metres is None:
        return "unknown"
    return "micron" if metres <= 1e-6 else "meter" if metres >= 1 else "mm"


def _time_step(step: float, unit: str | None) -> tuple[float, str]:
    """A time step in a unit that NIfTI has, and its code."""
    name = time_unit_name(unit)
    if name is None:
        return step, "unknown"
    code = next((code for code, own in _TIMES.items() if own == name), None)
    code = code or ("usec" if name == "nanosecond" else "sec")
    return convert_time(step, name, _TIMES[code]), code


def _in_space(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """A matrix (4, 4); that of a plane lies across the third axis of the world."""
    if len(matrix) == 4:
        return matrix
    space = np.eye(4)
    space[:2, :2] = matrix[:2, :2]
    space[:2, 3] = matrix[:2, 2]
    return space


def _in_axes(geometry: Geometry, axes: str) -> Geometry:
    """The geometry of a volume, or of its one plane: where that is tilted in space, its sizes alone."""
    if "Z" in axes:
        return geometry
    rotation = geometry.rotation()
    if rotation[0, 1:].any() or rotation[1:, 0].any():
        return Geometry(geometry.pixel_size[1:], geometry.unit)
    plane = rotation[1:, 1:]
    straight = np.array_equal(plane, np.eye(2))
    return Geometry(
        geometry.pixel_size[1:],
        geometry.unit,
        None if geometry.origin is None else geometry.origin[1:],
        None if straight else tuple(tuple(row) for row in plane.tolist()),
    )
