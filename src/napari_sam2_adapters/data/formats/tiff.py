"""TIFF files with their axes and pixel sizes: ImageJ, OME, tifffile's own and plain ones."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.data.axes import ArrayLike, channel_count, read_plane, without_alpha
from napari_sam2_adapters.data.formats.registry import Content
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.units import convert, file_symbol, unit_name

__all__ = ["check", "read", "write"]

_EAGER_BYTES = 32 * 2**20
_CLASSIC_BYTES = 2**32 - 2**25
_COARSEST_MICROSCOPE_UM = 10.0
_ORDER = "TZCYX"
_TYPES = ("uint8", "uint16", "uint32", "float16", "float32")


def read(path: Path, *, as_labels: bool) -> ImageFile:
    """Read the first series of a TIFF file; files above 32 MB stay on the disk and are read by region.

    Raises
    ------
    ValueError
        When the file has axes that an image here cannot have.
    """
    with tifffile.TiffFile(path) as file:
        if not file.series:
            raise ValueError(f"{path} has no image in it.")
        series = file.series[0]
        axes, picked = _axes(series, path)
        page = series.keyframe
        rgb, alpha = _colours(page, int(series.shape[series.axes.find("S")]))
        rgb = rgb and "S" in series.axes
        sizes, unit = _pixel_sizes(file)
        lazy = series.nbytes > _EAGER_BYTES
        mapped = lazy and series.dataoffset is not None and page.is_memmappable
        array: ArrayLike
        if mapped:
            array = cast("ArrayLike", tifffile.memmap(path, mode="r"))
        elif not lazy:
            array = series.asarray()
    if lazy and not mapped:
        array = _open_lazily(path)
    array = _pick(array, picked)
    if rgb and alpha:
        array = without_alpha(array, axes)
    spatial = [axis for axis in axes if axis in "ZYX"]
    pixel_size = tuple(sizes.get(axis, sizes["X"]) for axis in spatial) if sizes else None
    geometry = Geometry(pixel_size, unit) if pixel_size else None
    return ImageFile(array, axes, path, rgb, geometry)


def check(path: Path, axes: str, dtype: np.dtype[np.generic] | None) -> None:
    """Refuse element types that TIFF readers do not know."""
    if dtype is not None and dtype.name not in _TYPES:
        raise ValueError(f"TIFF is written as uint8 to uint32, float16 or float32, got {dtype}.")


def write(path: Path, content: Content, *, overwrite: bool) -> Path:
    """Write plane by plane, deflated, as ImageJ's TIFF where that can hold it, else as OME.

    A name that ends in ``.ome.tif`` is OME in any case. float16, which neither knows, is written with tifffile's own description
    of axes. The axes are stored in the order T, Z, C, Y, X.
    """
    ome = path.name.lower().endswith((".ome.tif", ".ome.tiff"))
    return write_atomically(path, lambda file: _write(file, content, ome), overwrite=overwrite)


def _write(file: BinaryIO, content: Content, ome: bool) -> None:
    array, axes, kind, geometry = content.array, content.axes, content.dtype, content.geometry
    unit = geometry.unit if geometry else None
    order = [axis for axis in _ORDER if axis in axes]
    shape = tuple(int(array.shape[axes.index(axis)]) for axis in order)
    n_bytes = int(np.prod(shape)) * kind.itemsize
    spatial = [axis for axis in order if axis in "ZYX"]
    sizes = dict(zip(spatial, geometry.pixel_size, strict=True)) if geometry else {}
    options: dict[str, Any] = {"metadata": {"axes": "".join(order)}}
    if kind != np.float16 and (
        ome or kind not in (np.uint8, np.uint16, np.float32) or n_bytes > _CLASSIC_BYTES
    ):
        options["ome"] = True
        symbol = file_symbol(unit, ascii_only=False)
        for axis, size in sizes.items():
            options["metadata"] |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": symbol}
    else:
        options["imagej"] = kind != np.float16
        if sizes:
            options["resolution"] = (1 / sizes["X"], 1 / sizes["Y"])
            options["resolutionunit"] = "none"
            options["metadata"]["unit"] = file_symbol(unit, ascii_only=True)
        if "Z" in sizes:
            options["metadata"]["spacing"] = sizes["Z"]
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


def _planes(array: ArrayLike, axes: str, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Planes (Y, X) in the order T, Z, C."""
    others = [axis for axis in axes if axis not in "YXC"]
    lengths = {axis: int(array.shape[axes.index(axis)]) for axis in others}
    ordered = [axis for axis in _ORDER if axis in others]
    for index in np.ndindex(*(lengths[axis] for axis in ordered)):
        place = dict(zip(ordered, index, strict=True))
        planes = read_plane(array, axes, tuple(place[axis] for axis in others))
        for channel in range(channel_count(array.shape, axes)):
            yield np.ascontiguousarray(planes[channel], dtype)


def _open_lazily(path: Path) -> ArrayLike:
    """The first series as a zarr array that closes its file when it is no longer used."""
    import zarr

    file = tifffile.TiffFile(path)
    array = zarr.open_array(file.series[0].aszarr(level=0), mode="r")
    weakref.finalize(array, file.close)
    return cast("ArrayLike", array)


def _axes(series: Any, path: Path) -> tuple[str, tuple[int | slice, ...]]:
    """Our axes for tifffile's, and the index that drops axes of length 1 that have no name here."""
    names = ""
    picked: list[int | slice] = []
    free = [axis for axis in "ZTC" if axis not in series.axes]
    for letter, length in zip(series.axes, series.shape, strict=True):
        known = letter
        if letter == "S":
            known = "C" if "C" not in names else "?"
        elif letter in "IQ" and length > 1:
            known = free.pop(0) if free else "?"
        if known in _ORDER:
            names += known
            picked.append(slice(None))
        elif length == 1:
            picked.append(0)
        else:
            raise ValueError(
                f"{path} has the axes {series.axes} with the shape {tuple(series.shape)}, but images here "
                "have time, depth, channels, rows and columns. Save the part that you need."
            )
    return names, tuple(picked)


def _pick(array: ArrayLike, index: tuple[int | slice, ...]) -> ArrayLike:
    if all(isinstance(part, slice) for part in index):
        return array
    if not isinstance(array, np.ndarray):
        import dask.array

        array = dask.array.from_array(array, chunks=getattr(array, "chunks", "auto"))
    return cast("ArrayLike", array[index])


def _colours(page: Any, n_samples: int) -> tuple[bool, bool]:
    """Whether the samples of a page are colours, and whether a transparency follows them."""
    colour = page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
    alpha = n_samples == 4 and any(
        extra in (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)
        for extra in page.extrasamples
    )
    return colour and (n_samples == 3 or alpha), alpha


def _pixel_sizes(file: tifffile.TiffFile) -> tuple[dict[str, float], str | None]:
    """Length of a pixel by axis and its unit; nothing where the file does not say it."""
    if file.is_ome and file.ome_metadata:
        return _ome_sizes(file.ome_metadata)
    page = file.pages.first
    sizes = {axis: _from_resolution(page, f"{axis}Resolution") for axis in "XY"}
    if not (sizes["X"] and sizes["Y"]):
        return {}, None
    shaped = file.shaped_metadata
    written: dict[str, Any] = file.imagej_metadata or (shaped[0] if shaped else {})
    # anybody can write anything under these names
    unit = unit_name(str(written.get("unit") or ""))
    if "unit" in written or "spacing" in written:
        spacing = written.get("spacing")
        found = dict(sizes)
        if isinstance(spacing, int | float) and 0 < spacing < math.inf:
            found["Z"] = float(spacing)
        # ImageJ writes pixels of length 1 without a unit when it knows nothing of their size
        unknown = unit is None and set(found.values()) == {1.0}
        return ({}, None) if unknown else (found, unit)
    if page.resolutionunit == tifffile.RESUNIT.CENTIMETER:
        # cameras write centimetres; what is coarser is the dots per inch of a printer
        found = {axis: size * 1e4 for axis, size in sizes.items()}
        if found["X"] <= _COARSEST_MICROSCOPE_UM:
            return found, "micrometer"
    return {}, None


def _from_resolution(page: Any, name: str) -> float:
    """Length of a pixel from pixels per unit, 0 where the tag is missing or senseless."""
    tag = page.tags.get(name)
    if tag is None:
        return 0.0
    above, below = tag.value
    return below / above if above and below else 0.0


def _ome_sizes(xml: str) -> tuple[dict[str, float], str | None]:
    image = tifffile.xml2dict(xml).get("OME", {}).get("Image", {})
    first = image[0] if isinstance(image, list | tuple) else image
    pixels = first.get("Pixels", {})
    sizes: dict[str, float] = {}
    unit = unit_name(pixels.get("PhysicalSizeXUnit", "µm"))
    for axis in "XYZ":
        size = pixels.get(f"PhysicalSize{axis}")
        if isinstance(size, int | float) and size > 0:
            own = unit_name(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
            sizes[axis] = convert(float(size), own, unit)
    if "X" not in sizes or "Y" not in sizes:
        return {}, None
    return sizes, unit
