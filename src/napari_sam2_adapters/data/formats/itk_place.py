"""Where the voxels of NRRD and MetaImage files lie, as it is read, and as it is handed on to labels of them.

Programs of ITK take the numbers of these files for millimetres, whatever unit stands beside them. So labels that lie where their image lies get the words
of its header: converted to millimetres they would not lie on it there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from napari_sam2_adapters.data.formats.patient_space import from_matrix, same_place
from napari_sam2_adapters.data.formats.text_header import TextHeader, read_header
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.units import convert, unit_name

__all__ = ["META", "NRRD", "kept_place", "matrix_of", "meta_place", "nrrd_place", "reader_of"]

NRRD = (".nrrd", ".nhdr")
META = (".mha", ".mhd")

_PLACES = {"offset", "origin", "position", "transformmatrix", "rotation", "orientation"}
_SIZES = {"elementspacing", "elementsize"}
_META_NAMES = ("TransformMatrix", "Rotation", "Orientation", "Offset", "Origin", "Position", "CenterOfRotation", "AnatomicalOrientation", "DistanceUnits", "ElementSpacing", "ElementSize")  # fmt: skip
_NRRD_WHOLE = ("space", "space dimension")
_NRRD_AFTER = ("space units", "space origin", "measurement frame")
# what stands for an axis that is none of space
_NRRD_PER_AXIS = {
    "space directions": "none",
    "spacings": "nan",
    "thicknesses": "nan",
    "axis mins": "nan",
    "axismins": "nan",
    "axis maxs": "nan",
    "axismaxs": "nan",
    "centers": "???",
    "centerings": "???",
    "units": '""',
}
_TOKEN = re.compile(r'\([^)]*\)|"(?:[^"\\]|\\.)*"|[^\s()"]+')
_SPATIAL_KINDS = {"domain", "space"}


def reader_of(path: Path) -> Any:
    """SimpleITK's reader of such a file."""
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("NrrdImageIO" if path.suffix.lower() in NRRD else "MetaImageIO")
    reader.SetFileName(str(path))
    return reader


def matrix_of(image: Any) -> NDArray[np.float64]:
    """The affine (n + 1, n + 1) of an image of SimpleITK, or of a reader that has its header; n is at most 3: from (i, j, k) to x, y, z in LPS."""
    count = image.GetDimension()
    n = min(count, 3)
    matrix = np.eye(n + 1)
    direction = np.reshape(image.GetDirection(), (count, count))
    matrix[:n, :n] = (direction * image.GetSpacing())[:n, :n]
    matrix[:n, n] = image.GetOrigin()[:n]
    return matrix


def nrrd_place(image: Any, header: TextHeader) -> Geometry | None:
    """Place of an NRRD; None where it says nothing."""
    fields, matrix = header.fields, matrix_of(image)
    quoted = fields.get("space units", fields.get("units", "")).split('"')[1::2]
    units = [unit_name(text) for text in quoted]
    named = next(filter(None, units), None)
    if len(units) == len(matrix) - 1:  # one for each axis, which may differ
        matrix[:-1] *= [[convert(1.0, unit, named)] for unit in units]
    found = from_matrix(matrix, None)
    if "space directions" in fields:
        # A space that is named is the patient's, which is measured in millimetres.
        unit = named or ("millimeter" if "space" in fields else None)
        return Geometry(found.pixel_size, unit, found.origin, found.direction)
    return Geometry(found.pixel_size, named) if "spacings" in fields else None


def meta_place(image: Any, header: TextHeader) -> Geometry | None:
    """Place of a MetaImage; None where it says nothing."""
    found = from_matrix(matrix_of(image), "millimeter")
    if _PLACES & set(header.fields):
        return found
    return Geometry(found.pixel_size, found.unit) if _SIZES & set(header.fields) else None


def kept_place(
    source: Path | None,
    endings: tuple[str, ...],
    geometry: Geometry | None,
    lengths: list[int],
    others: int,
) -> list[str] | None:
    """Lines of the header of a source that say where it lies; None where they do not hold for the labels.

    Parameters
    ----------
    source
        The image that labels belong to.
    endings
        Of the format that is written, `NRRD` or `META`: the source has to be of the same.
    geometry
        Where the labels lie; None for where the source does.
    lengths
        Length of the spatial axes of the labels, the fastest first.
    others
        Number of their other axes, which are the slowest.
    """
    if source is None or source.suffix.lower() not in endings:
        return None
    header, reader = read_header(source), reader_of(source)
    reader.ReadImageInformation()
    there = (nrrd_place if endings == NRRD else meta_place)(reader, header)
    if geometry is not None and not same_place(geometry, there):
        return None
    if list(reader.GetSize())[: len(lengths)] != lengths:
        return None
    if endings == META:
        fitting = header.fields.get("ndims") == str(len(lengths) + others)
        return _meta_lines(header) if fitting else None
    return _nrrd_lines(header, len(lengths), others)


def _meta_lines(header: TextHeader) -> list[str]:
    said = header.fields
    return [f"{name} = {said[name.lower()]}" for name in _META_NAMES if name.lower() in said]


def _nrrd_lines(header: TextHeader, n: int, others: int) -> list[str] | None:
    """Lines for n axes of space and others behind them; None where the header has another number of axes of space."""
    said = header.fields
    spatial = _spatial_axes(said)
    if len(spatial) != n:
        return None
    lines = [f"{name}: {said[name]}" for name in _NRRD_WHOLE if name in said]
    for name, filler in _NRRD_PER_AXIS.items():
        if name in said:
            tokens = _TOKEN.findall(said[name])
            if len(tokens) <= max(spatial):
                return None
            lines.append(f"{name}: {' '.join([tokens[i] for i in spatial] + [filler] * others)}")
    return lines + [f"{name}: {said[name]}" for name in _NRRD_AFTER if name in said]


def _spatial_axes(said: dict[str, str]) -> list[int]:
    """Axes of the file that are axes of space."""
    for name, is_spatial in (
        ("space directions", lambda token: token.lower() != "none"),
        ("kinds", lambda token: token.lower() in _SPATIAL_KINDS),
        ("spacings", lambda token: token.lower() != "nan"),
    ):
        tokens = _TOKEN.findall(said.get(name, ""))
        if found := [i for i, token in enumerate(tokens) if is_spatial(token)]:
            return found
    return list(range(len(said.get("sizes", "").split())))
