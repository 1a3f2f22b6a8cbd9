"""Writing NRRD and MetaImage files plane by plane."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.data.formats.itk_place import META, NRRD, kept_place
from napari_sam2_adapters.data.formats.patient_space import length_factor, to_matrix
from napari_sam2_adapters.data.formats.planes import axis_lengths, planes_in_order
from napari_sam2_adapters.data.formats.registry import Content
from napari_sam2_adapters.data.formats.text_header import read_header, segment_lines
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.units import length_in_metres

__all__ = ["check", "write"]

_ORDER = "CTZ"
_META_TYPES = {
    "uint8": "MET_UCHAR",
    "int8": "MET_CHAR",
    "uint16": "MET_USHORT",
    "int16": "MET_SHORT",
    "uint32": "MET_UINT",
    "int32": "MET_INT",
    "float32": "MET_FLOAT",
    "float64": "MET_DOUBLE",
}
_NRRD_TYPES = {"float32": "float", "float64": "double"}
_SIZE_DIGITS = 20
_SEGMENTATION = ".seg.nrrd"


def check(path: Path, axes: str, dtype: np.dtype[np.generic] | None) -> None:
    """Refuse element types and axes that the formats do not have."""
    if dtype is not None and dtype.name not in _META_TYPES:
        raise ValueError(
            f"{path.name} can hold integers of up to 32 bits, float32 and float64, got {dtype}. Write a TIFF instead."
        )
    if "C" in axes and ("T" in axes or path.suffix.lower() in META):
        raise ValueError(
            f"{path.name} cannot hold channels with the axes {axes}. Write a TIFF instead, or NRRD without time."
        )
    if "T" in axes and path.name.lower().endswith(_SEGMENTATION):
        # 3D Slicer takes a further axis there for layers of segments that overlap, and the classes for those of the first one
        raise ValueError(
            f"{path.name} cannot hold time: a segmentation of 3D Slicer is a single volume. Save it as .nrrd or .nii.gz instead."
        )


def write(path: Path, content: Content, *, overwrite: bool) -> Path:
    """Write a file, or its data and then its header, which names them: ``.nhdr`` and ``.mhd``."""
    meta = path.suffix.lower() in META
    head = _meta_head(content) if meta else _nrrd_head(content)
    if path.suffix.lower() in (".mhd", ".nhdr"):
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"{path} exists already. Choose another name, or allow it to be overwritten."
            )
        data = path.with_suffix(".zraw" if meta else ".raw.gz")
        write_atomically(data, lambda file: _data(file, content, meta), overwrite=overwrite)
        ending = (
            f"CompressedDataSize = {data.stat().st_size}\nElementDataFile = {data.name}\n"
            if meta
            else f"data file: {data.name}\n"
        )
        text = (head + ending).encode()
        return write_atomically(path, lambda file: file.write(text), overwrite=overwrite)
    if meta:
        return write_atomically(path, lambda file: _meta(file, head, content), overwrite=overwrite)
    return write_atomically(path, lambda file: _nrrd(file, head, content), overwrite=overwrite)


def _nrrd(file: BinaryIO, head: str, content: Content) -> None:
    file.write(head.encode() + b"\n")
    _data(file, content, False)


def _meta(file: BinaryIO, head: str, content: Content) -> None:
    """The header says how long the data are, which is known after they are written."""
    file.write(f"{head}CompressedDataSize = ".encode())
    place = file.tell()
    file.write(b" " * _SIZE_DIGITS + b"\nElementDataFile = LOCAL\n")
    start = file.tell()
    _data(file, content, True)
    size = file.tell() - start
    file.seek(place)
    file.write(str(size).ljust(_SIZE_DIGITS).encode())


def _data(file: BinaryIO, content: Content, bare: bool) -> None:
    """Planes, deflated: bare for MetaImage, as gzip without a time stamp for NRRD."""
    if bare:
        packer = zlib.compressobj(6)
        for plane in _planes(content):
            file.write(packer.compress(plane.tobytes()))
        file.write(packer.flush())
        return
    with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
        for plane in _planes(content):
            packed.write(plane.tobytes())


def _planes(content: Content) -> Iterator[NDArray[np.generic]]:
    dtype = content.dtype.newbyteorder("<")
    return planes_in_order(content.array, content.axes, _ORDER, dtype)


def _lengths(content: Content) -> tuple[list[int], list[int]]:
    """Length of the spatial axes, the fastest first, and of time or channels."""
    lengths = axis_lengths(content.array, content.axes)
    spatial = [lengths[axis] for axis in "XYZ" if axis in lengths]
    return spatial, [lengths[axis] for axis in "TC" if axis in lengths]


def _nrrd_head(content: Content) -> str:
    spatial, others = _lengths(content)
    n = len(spatial)
    kinds = ["domain"] * n + (["vector" if "C" in content.axes else "list"] if others else [])
    place = kept_place(content.source, NRRD, content.geometry, spatial, len(others))
    lines = [
        "NRRD0005",
        f"type: {_NRRD_TYPES.get(content.dtype.name, content.dtype.name)}",
        f"dimension: {len(kinds)}",
        *(place if place is not None else _nrrd_place(content.geometry, n, len(others))),
        f"sizes: {' '.join(map(str, spatial + others))}",
        f"kinds: {' '.join(kinds)}",
        "endian: little",
        "encoding: gzip",
    ]
    pairs = _kept_pairs(content) + (
        segment_lines(content.classes, tuple(spatial)) if content.labels else []
    )
    return "\n".join([*lines, *pairs]) + "\n"


def _nrrd_place(geometry: Geometry | None, n: int, others: int) -> list[str]:
    if geometry is None:
        return []
    known = length_in_metres(geometry.unit) is not None
    if geometry.origin is None and geometry.direction is None:
        factor = length_factor(geometry.unit, "millimeter")
        sizes = [repr(size * factor) for size in geometry.pixel_size[::-1]] + ["nan"] * others
        named = ['"mm"'] * n + ['""'] * others
        return [f"spacings: {' '.join(sizes)}", *([f"units: {' '.join(named)}"] if known else [])]
    matrix = to_matrix(geometry, "millimeter")
    columns = [f"({','.join(map(repr, column))})" for column in matrix[:n, :n].T.tolist()]
    patient = known and n == 3
    return [
        "space: left-posterior-superior" if patient else f"space dimension: {n}",
        f"space directions: {' '.join(columns + ['none'] * others)}",
        *(["space units: " + " ".join(['"mm"'] * n)] if known else []),
        f"space origin: ({','.join(map(repr, matrix[:n, n].tolist()))})",
    ]


def _kept_pairs(content: Content) -> list[str]:
    """What programs have noted in the header of an NRRD that labels belong to, segments apart."""
    source = content.source
    if source is None or source.suffix.lower() not in NRRD:
        return []
    pairs = read_header(source).pairs
    return [
        f"{key}:=" + text.replace("\n", "\\n")
        for key, text in pairs.items()
        if not key.startswith("Segment")
    ]


def _meta_head(content: Content) -> str:
    spatial, others = _lengths(content)
    if "T" in content.axes and len(spatial) == 2:
        spatial.append(1)  # the third axis is depth to whoever reads it, the fourth is time
    sizes = spatial + others
    place = kept_place(content.source, META, content.geometry, spatial, len(others))
    lines = [
        "ObjectType = Image",
        f"NDims = {len(sizes)}",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        *(place if place is not None else _meta_place(content.geometry, len(spatial), len(sizes))),
        f"DimSize = {' '.join(map(str, sizes))}",
        f"ElementType = {_META_TYPES[content.dtype.name]}",
    ]
    return "\n".join(lines) + "\n"


def _meta_place(geometry: Geometry | None, n: int, count: int) -> list[str]:
    if geometry is None:
        return []
    matrix = to_matrix(geometry, "millimeter")
    n = min(n, len(matrix) - 1)  # a depth that was added has no place
    lengths = np.linalg.norm(matrix[:n, :n], axis=0)
    spacing = np.ones(count)
    spacing[:n] = lengths
    lines = [f"ElementSpacing = {_numbers(spacing)}"]
    if geometry.origin is None and geometry.direction is None:
        return lines
    turned, offset = np.eye(count), np.zeros(count)
    turned[:n, :n] = matrix[:n, :n] / lengths
    offset[:n] = matrix[:n, n]
    # Row after row are the axes of the array in the world.
    return [
        f"TransformMatrix = {_numbers(turned.T.ravel())}",
        f"Offset = {_numbers(offset)}",
        *lines,
    ]


def _numbers(values: NDArray[np.float64]) -> str:
    return " ".join(map(repr, values.tolist()))
