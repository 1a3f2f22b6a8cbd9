"""NPY and NPZ: arrays as numpy keeps them, and labels with all that belongs to them as plain arrays.

An NPZ written here holds ``array`` and ``axes`` (text), and as far as they are known ``pixel_size``, ``unit``, ``origin`` and
``direction`` (over Z, Y, X), ``time_step``, ``time_unit``, ``class_values``, ``class_names`` and ``class_colors``.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.axes import (
    channel_count,
    check_axes,
    guess_axes,
    plane_indices,
    read_plane,
)
from napari_sam2_adapters.data.formats.registry import Content
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.image_file import ImageFile

__all__ = ["check", "read", "write"]

_EAGER_BYTES = 32 * 2**20


def read(path: Path, *, as_labels: bool) -> ImageFile:
    """Read an array; an NPY file above 32 MB stays on the disk.

    Raises
    ------
    ValueError
        When it holds no array of numbers with 2 to 5 axes, or an NPZ several arrays.
    """
    lazy = path.suffix.lower() == ".npy" and path.stat().st_size > _EAGER_BYTES
    try:
        if lazy:
            return _described(np.load(path, mmap_mode="r", allow_pickle=False), {}, path)
        with path.open("rb") as stream:
            found = np.load(stream, allow_pickle=False)
            if not isinstance(found, np.lib.npyio.NpzFile):
                return _described(found, {}, path)
            with found as file:
                entries = _entries(file, path)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} is not complete ({error}). Save the arrays again.") from error
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise ValueError(
            f"{path} holds no plain array of numbers; Python objects are never loaded. Save the image as an array."
        ) from error
    return _described(entries.pop("array"), entries, path)


def check(path: Path, axes: str, dtype: np.dtype[np.generic] | None) -> None:
    """Refuse what is no number."""
    if dtype is not None and dtype.kind not in "biuf":
        raise ValueError(f"NPZ is written as whole or floating point numbers, got {dtype}.")


def write(path: Path, content: Content, *, overwrite: bool) -> Path:
    """Write an NPZ plane by plane, deflated; channels are stored before rows and columns."""
    return write_atomically(path, lambda file: _write(file, content), overwrite=overwrite)


def _write(file: BinaryIO, content: Content) -> None:
    array, axes = content.array, content.axes
    others = "".join(axis for axis in axes if axis not in "YXC")
    stored = others + ("C" if "C" in axes else "") + "YX"
    shape = tuple(int(array.shape[axes.index(axis)]) for axis in stored)
    head = {
        "descr": np.lib.format.dtype_to_descr(content.dtype),
        "fortran_order": False,
        "shape": shape,
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("array.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_2_0(member, head)
            for index in plane_indices(array.shape, axes):
                planes = read_plane(array, axes, index)
                for channel in range(channel_count(array.shape, axes)):
                    member.write(np.ascontiguousarray(planes[channel], content.dtype).tobytes())
        about = _about(stored, content.geometry, content.classes if content.labels else ())
        if names := content.channel_names:
            about["channel_names"] = np.asarray(names)
        for name, entry in about.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, entry, allow_pickle=False)


def _about(
    axes: str, geometry: Geometry | None, classes: tuple[ClassInfo, ...]
) -> dict[str, NDArray[Any]]:
    found: dict[str, Any] = {"axes": axes}
    if geometry is not None:
        found |= {
            "pixel_size": geometry.pixel_size,
            "unit": geometry.unit,
            "origin": geometry.origin,
            "direction": geometry.direction,
            "time_step": geometry.time_step,
            "time_unit": geometry.time_unit,
        }
    if classes:
        found |= {
            "class_values": [info.value for info in classes],
            "class_names": [info.name for info in classes],
            "class_colors": [info.color for info in classes],
        }
    return {name: np.asarray(entry) for name, entry in found.items() if entry is not None}


def _entries(file: Mapping[str, NDArray[Any]], path: Path) -> dict[str, NDArray[Any]]:
    """The array and what is said of it."""
    names = list(file)
    if {"array", "axes"} <= set(names):
        return {name: file[name] for name in names}
    if len(names) != 1:
        raise ValueError(
            f"{path} holds the arrays {', '.join(names) or 'none'}, but an image is one. Save the one that you need."
        )
    return {"array": file[names[0]]}


def _described(array: NDArray[Any], entries: Mapping[str, NDArray[Any]], path: Path) -> ImageFile:
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"{path} holds {array.dtype}, but images here are whole or floating point numbers. Convert it."
        )
    try:
        axes = str(entries["axes"]) if "axes" in entries else guess_axes(array.shape)
        check_axes(array.shape, axes)
        geometry = _geometry(entries)
        if geometry is not None:
            geometry.check_axes(axes)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    rgb = "axes" not in entries and axes.endswith("C")
    names = tuple(str(name) for name in entries.get("channel_names", ()))
    fitting = "C" in axes and len(names) == array.shape[axes.index("C")]
    return ImageFile(
        array,
        axes,
        path,
        rgb,
        geometry,
        channel_names=names if fitting else (),
        classes=_classes(entries),
    )


def _geometry(entries: Mapping[str, NDArray[Any]]) -> Geometry | None:
    if "pixel_size" not in entries:
        return None
    given = {name: entry.tolist() for name, entry in entries.items() if name != "array"}
    direction = given.get("direction")
    return Geometry(
        _numbers(given["pixel_size"]),
        given.get("unit"),
        _numbers(given["origin"]) if "origin" in given else None,
        tuple(_numbers(row) for row in direction) if direction is not None else None,
        given.get("time_step"),
        given.get("time_unit"),
    )


def _numbers(entry: Any) -> tuple[float, ...]:
    return tuple(float(number) for number in entry)


def _classes(entries: Mapping[str, NDArray[Any]]) -> tuple[ClassInfo, ...]:
    columns = [entries.get(f"class_{name}") for name in ("values", "names", "colors")]
    if any(column is None for column in columns):
        return ()
    rows = zip(*(column.tolist() for column in columns if column is not None), strict=True)
    return tuple(ClassInfo(value=v, name=str(n), color=str(c)) for v, n, c in rows)
