"""Writing TIFF plane by plane: ImageJ's, OME's or tifffile's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.data.axes import ArrayLike, channel_count, read_plane
from napari_sam2_adapters.data.formats.registry import Content
from napari_sam2_adapters.data.formats.tiff_description import (
    CLASSES,
    GEOMETRY,
    class_lines,
    geometry_lines,
)
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.units import file_symbol, time_symbol

__all__ = ["ORDER", "check", "write"]

ORDER = "TZCYX"
"""Axes as they are stored."""
_LARGEST_RESOLUTION = 2e9
"""Of pixels to a unit of length, and of units to a pixel, well below 2**32."""
_CLASSIC_BYTES = 2**32 - 2**25
_TYPES = ("uint8", "uint16", "uint32", "float16", "float32")


def check(path: Path, axes: str, dtype: np.dtype[np.generic] | None) -> None:
    """Refuse element types that TIFF readers do not know."""
    if dtype is not None and dtype.name not in _TYPES:
        raise ValueError(f"TIFF is written as uint8 to uint32, float16 or float32, got {dtype}.")
    if dtype == np.float16 and _is_ome(path):
        raise ValueError(f"OME-TIFF has no float16, as which {path.name} would be written.")


def write(path: Path, content: Content, *, overwrite: bool) -> Path:
    """Write plane by plane, deflated, as ImageJ's TIFF where that can hold it, else as OME (float16 as float32, where pixels are too small or large for others).

    A name that ends in ``.ome.tif`` is OME in any case. float16, which neither knows, is written in others with tifffile's own description
    of axes. The axes are stored in the order T, Z, C, Y, X.
    """
    ome = _is_ome(path)
    return write_atomically(path, lambda file: _write(file, content, ome), overwrite=overwrite)


def _is_ome(path: Path) -> bool:
    return path.name.lower().endswith((".ome.tif", ".ome.tiff"))


def _write(file: BinaryIO, content: Content, ome: bool) -> None:
    array, axes, kind = content.array, content.axes, content.dtype
    if not _as_resolution(content.geometry):
        ome = True
        kind = np.dtype(np.float32) if kind == np.float16 else kind
    order = "".join(axis for axis in ORDER if axis in axes)
    shape = tuple(int(array.shape[axes.index(axis)]) for axis in order)
    n_bytes = int(np.prod(shape)) * kind.itemsize
    options: dict[str, Any]
    imagej = kind in (np.uint8, np.uint16, np.float32) and n_bytes <= _CLASSIC_BYTES
    imagej = imagej and shape[-1] > 1  # tifffile takes a last axis of length 1 for samples there
    if ome or not (imagej or kind == np.float16):
        options = {"ome": True, "metadata": _ome_metadata(content, order, shape)}
    else:
        options = _imagej_options(content, order, shape, plain=kind == np.float16)
    options["metadata"]["axes"] = order
    tifffile.imwrite(
        file,
        _planes(array, axes, kind),
        shape=shape,
        dtype=kind,
        photometric="minisblack",
        compression="zlib",
        bigtiff=n_bytes > _CLASSIC_BYTES,
        **options,
    )


def _as_resolution(geometry: Geometry | None) -> bool:
    """Whether the tags of ImageJ's TIFF, pixels per unit as whole numbers of 32 bits, hold the size of a pixel; OME has words for any."""
    sizes = () if geometry is None else geometry.pixel_size[-2:]
    return all(1 / _LARGEST_RESOLUTION <= size <= _LARGEST_RESOLUTION for size in sizes)


def _ome_metadata(content: Content, order: str, shape: tuple[int, ...]) -> dict[str, Any]:
    geometry = content.geometry
    metadata: dict[str, Any] = {}
    if geometry is not None:
        symbol = file_symbol(geometry.unit, ascii_only=False)
        for axis, size in _spatial(order, geometry.pixel_size).items():
            metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": symbol}
        if geometry.time_step is not None:
            metadata["TimeIncrement"] = geometry.time_step
            metadata["TimeIncrementUnit"] = time_symbol(geometry.time_unit, ascii_only=False)
        if geometry.origin is not None:
            metadata["Plane"] = _positions(geometry, order, shape, symbol)
    if names := content.channel_names:
        metadata["Channel"] = {"Name": list(names)}
    notes = []
    if content.classes and content.labels:
        notes.append({"Namespace": CLASSES, "Value": class_lines(content.classes)})
    if lines := geometry_lines(geometry, order, shape):
        notes.append({"Namespace": GEOMETRY, "Value": lines})
    return {**metadata, **({"MapAnnotation": notes} if notes else {})}


def _positions(
    geometry: Geometry, order: str, shape: tuple[int, ...], symbol: str
) -> dict[str, list[Any]]:
    """Position of each plane, in the order in which planes are stored."""
    origin = _spatial(order, geometry.origin or ())
    lengths = [n for n, axis in zip(shape, order, strict=True) if axis not in "YX"]
    leading = [axis for axis in order if axis not in "YX"]
    indices = list(np.ndindex(*lengths))
    positions = {f"Position{axis}": [origin[axis]] * len(indices) for axis in "XY"}
    if "Z" in order:
        at, size = leading.index("Z"), geometry.pixel_size[0]
        positions["PositionZ"] = [origin["Z"] + index[at] * size for index in indices]
    units = {f"{name}Unit": [symbol] * len(indices) for name in positions}
    return {**positions, **units}


def _imagej_options(
    content: Content, order: str, shape: tuple[int, ...], *, plain: bool
) -> dict[str, Any]:
    """Options for ImageJ's TIFF, or for a plain one with the same words in tifffile's JSON."""
    geometry = content.geometry
    metadata: dict[str, Any] = {}
    options: dict[str, Any] = {"imagej": not plain, "metadata": metadata}
    lines = class_lines(content.classes) if content.labels else {}
    place = geometry_lines(geometry, order, shape)
    if plain:
        metadata |= {"classes": lines} if lines else {}
        metadata |= place
    else:
        info = [f"label {value} = {' '.join(line.splitlines())}" for value, line in lines.items()]
        info += [f"{key} = {line}" for key, line in place.items()]
        metadata |= {"Info": "\n".join(info)} if info else {}
    if names := content.channel_names:
        # the channels of a plane lie together
        metadata["Labels"] = list(names) * (1 if plain else content.n_planes)
    if geometry is None:
        return options
    sizes = _spatial(order, geometry.pixel_size)
    options["resolution"] = (1 / sizes["X"], 1 / sizes["Y"])
    options["resolutionunit"] = "none"
    metadata["unit"] = file_symbol(geometry.unit, ascii_only=True)
    if "Z" in sizes:
        metadata["spacing"] = sizes["Z"]
    if geometry.time_step is not None:
        metadata["finterval"] = geometry.time_step
        metadata["tunit"] = time_symbol(geometry.time_unit, ascii_only=True)
    for axis, start in _spatial(order, geometry.origin or ()).items():
        metadata[f"{axis.lower()}origin"] = -start / sizes[axis]
    return options


def _spatial(order: str, values: tuple[float, ...]) -> dict[str, float]:
    """Values over Z, Y and X by the names of the axes."""
    return dict(zip([axis for axis in order if axis in "ZYX"], values, strict=False))


def _planes(array: ArrayLike, axes: str, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Planes (Y, X) in the order T, Z, C."""
    others = [axis for axis in axes if axis not in "YXC"]
    lengths = {axis: int(array.shape[axes.index(axis)]) for axis in others}
    ordered = [axis for axis in ORDER if axis in others]
    for index in np.ndindex(*(lengths[axis] for axis in ordered)):
        place = dict(zip(ordered, index, strict=True))
        planes = read_plane(array, axes, tuple(place[axis] for axis in others))
        for channel in range(channel_count(array.shape, axes)):
            yield np.ascontiguousarray(planes[channel], dtype)
