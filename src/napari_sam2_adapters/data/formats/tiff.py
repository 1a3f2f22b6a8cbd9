"""TIFF files with their axes and pixel sizes: ImageJ, OME, tifffile's own and plain ones."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any, cast

import numpy as np
import tifffile

from napari_sam2_adapters.data.axes import ArrayLike, without_alpha
from napari_sam2_adapters.data.formats.tiff_completeness import check_pages, check_pixels, notices
from napari_sam2_adapters.data.formats.tiff_description import describe, missing_parts
from napari_sam2_adapters.data.formats.tiff_writing import ORDER, check, write
from napari_sam2_adapters.data.image_file import ImageFile

__all__ = ["check", "read", "write"]

_EAGER_BYTES = 32 * 2**20
_NO_COLOURS = {
    tifffile.PHOTOMETRIC.SEPARATED: "the inks of printers (CMYK)",
    tifffile.PHOTOMETRIC.CIELAB: "CIE L*a*b* colours",
    tifffile.PHOTOMETRIC.CFA: "the raw mosaic of a camera",
}


def read(path: Path, *, as_labels: bool) -> ImageFile:
    """Read the first series of a TIFF file with its pyramid; files above 32 MB stay on the disk and are read by region.

    Indices of a palette become its colours or grey values, unless they are labels or grey values that ImageJ shows in colours.

    Raises
    ------
    ValueError
        When the file has axes or colours that an image here cannot have, was cut short, or lacks parts.
    """
    with tifffile.TiffFile(path) as file:
        check_pages(file, path)
        if absent := missing_parts(file, path):
            raise ValueError(
                f"{path} is one of several files, of which {', '.join(absent[:3])}{' and more' if len(absent) > 3 else ''} "
                "cannot be found. Put the files together into one folder, under the names that they had."
            )
        if not file.series:
            raise ValueError(f"{path} has no image in it.")
        series = file.series[0]
        axes, picked = _axes(series, path)
        page = series.keyframe
        _refuse_elements(series, page, path)
        rgb, alpha = _colours(page, int(series.shape[series.axes.find("S")]))
        rgb, alpha = (found and "S" in series.axes for found in (rgb, alpha))
        described, ome = describe(file), file.is_ome
        lazy = series.nbytes > _EAGER_BYTES
        check_pixels(file, path, all_pages=not lazy)
        said = notices(file)
        levels = [level for level in series.levels if level.axes == series.axes]
        mapped = lazy and series.dataoffset is not None and page.is_memmappable
        arrays: list[ArrayLike] = [] if lazy else [level.asarray() for level in levels]
        palette = None
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and not (as_labels or file.is_imagej):
            palette = page.colormap
    if lazy:
        first = tifffile.memmap(path, mode="r") if mapped else _open_lazily(path, 0)
        coarser = [_open_lazily(path, number) for number in range(1, len(levels))]
        arrays = [cast("ArrayLike", first), *coarser]
    arrays = [_pick(array, picked) for array in arrays]
    if _only_longer(described.order, axes):
        added = tuple(slice(None) if axis in axes else None for axis in described.order)
        arrays, axes = [_pick(array, added) for array in arrays], described.order
    if alpha:
        arrays, axes = _opaque(arrays, axes, rgb)
    if palette is not None and "C" not in axes:
        arrays, axes, rgb = [_coloured(a, palette) for a in arrays], f"{axes}C", True
        if (palette == palette[0]).all():
            arrays, axes, rgb = [array[..., 0] for array in arrays], axes[:-1], False
    names = described.channel_names
    # ImageJ labels planes, and that of a single plane is the name of some file
    fitting = len(names) == (arrays[0].shape[axes.index("C")] if "C" in axes else int(ome))
    return ImageFile(
        arrays[0],
        axes,
        path,
        rgb,
        described.geometry(axes),
        channel_names=names if fitting and not rgb else (),
        levels=tuple(arrays[1:]),
        classes=described.classes,
        notices=said,
    )


def _open_lazily(path: Path, level: int) -> ArrayLike:
    """A level of the first series as a zarr array that closes its file when it is no longer used."""
    import zarr

    file = tifffile.TiffFile(path)
    array = zarr.open_array(file.series[0].aszarr(level=level), mode="r")
    weakref.finalize(array, file.close)
    return cast("ArrayLike", array)


def _refuse_elements(series: Any, page: Any, path: Path) -> None:
    """Refuse numbers and colours that no image here has."""
    if series.dtype is None or series.dtype.kind not in "biuf":
        raise ValueError(
            f"{path} holds {series.dtype} numbers, but images here are whole or floating point numbers. Convert it."
        )
    if page.photometric in _NO_COLOURS:
        raise ValueError(
            f"{path} is in {_NO_COLOURS[page.photometric]}. Convert it to RGB or grey."
        )


def _coloured(array: ArrayLike, palette: Any) -> ArrayLike:
    """Colours (…, 3) in 8 bits of the indices of a palette of 16-bit colours (3, n)."""
    table = np.ascontiguousarray((np.asarray(palette) >> 8).astype(np.uint8).T)
    if isinstance(array, np.ndarray):
        return cast("ArrayLike", table[array])
    import dask.array

    lazy = dask.array.from_array(array, chunks=getattr(array, "chunks", "auto"))
    coloured = lazy.map_blocks(
        lambda block: table[block],
        dtype=np.uint8,
        chunks=(*lazy.chunks, (3,)),
        new_axis=lazy.ndim,
    )
    return cast("ArrayLike", coloured)


def _axes(series: Any, path: Path) -> tuple[str, tuple[int | slice, ...]]:
    """Our axes for tifffile's, and the index that drops axes of length 1 that have no name here."""
    names = ""
    picked: list[int | slice] = []
    free = [axis for axis in "ZTC" if axis not in series.axes.replace("S", "C")]
    nameless = sum(a in "IQ" and n > 1 for a, n in zip(series.axes, series.shape, strict=True))
    # of several in the order of `guess_axes`: without names time comes before depth
    guessed = iter(sorted(free[:nameless], key="TCZ".index))
    for letter, length in zip(series.axes, series.shape, strict=True):
        known = letter
        if letter == "S":
            known = "C" if "C" not in names else "?"
        elif letter in "IQ" and length > 1:
            known = next(guessed, "?")
        if known in ORDER:
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


def _only_longer(order: str, axes: str) -> bool:
    """Whether an order of axes is that of an array with more axes between."""
    known = set(order) <= set(ORDER) and len(set(order)) == len(order) > len(axes)
    return known and [axis for axis in order if axis in axes] == list(axes)


def _pick(array: ArrayLike, index: tuple[int | slice | None, ...]) -> ArrayLike:
    if all(isinstance(part, slice) for part in index):
        return array
    if not isinstance(array, np.ndarray):
        import dask.array

        array = dask.array.from_array(array, chunks=getattr(array, "chunks", "auto"))
    return cast("ArrayLike", array[index])


def _opaque(arrays: list[ArrayLike], axes: str, rgb: bool) -> tuple[list[ArrayLike], str]:
    """Arrays without transparency, and their axes: those of grey values have no channels then."""
    if rgb:
        return [without_alpha(array, axes) for array in arrays], axes
    grey = tuple(0 if axis == "C" else slice(None) for axis in axes)
    return [_pick(array, grey) for array in arrays], axes.replace("C", "")


def _colours(page: Any, n_samples: int) -> tuple[bool, bool]:
    """Whether the samples of a page are colours, and whether a transparency follows them, or a grey value."""
    colour = page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
    alpha = n_samples == (4 if colour else 2) and any(
        extra in (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)
        for extra in page.extrasamples
    )
    return colour and (n_samples == 3 or alpha), alpha
