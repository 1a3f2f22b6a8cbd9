"""Sizes, places and grey values of labelled objects and classes, in the units of the image.

Objects are measured slice by slice or volume by volume, classes slice by slice, so that one slice or volume at a time is in memory.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.data.axes import ArrayLike, check_axes
from napari_sam2_adapters.inference.intensities import grey_columns, total_grey
from napari_sam2_adapters.inference.postprocess import Block, block_keys
from napari_sam2_adapters.inference.ruler import Ruler

__all__ = [
    "Measured",
    "Table",
    "join_tables",
    "measure",
    "total_by_label",
    "write_csv",
]

Table = dict[str, NDArray[Any]]
"""Columns of equal length by name."""

_SHAPES = {
    "equivalent_diameter_area": "equivalent_diameter",
    "axis_major_length": "major_axis",
    "axis_minor_length": "minor_axis",
}


@dataclass(frozen=True)
class Measured:
    """A slice or volume is measured: its rows of the table, one per label in it; the columns alone where there is none."""

    done: int
    total: int
    table: Table


def measure(
    labels: ArrayLike,
    axes: str,
    ruler: Ruler,
    *,
    together: Literal["slices", "volumes"] = "slices",
    image: ArrayLike | None = None,
    image_axes: str | None = None,
    names: Mapping[int, str] | None = None,
) -> Generator[Measured, None, None]:
    """Measure each label of each slice or volume, yielding after each of these.

    Columns: ``index`` (the label), ``class`` where there are names, one with the position along each axis that parts the blocks
    (``z``, ``t``), ``pixels``, ``area`` or ``volume``, ``equivalent_diameter``; in slices also ``major_axis``, ``minor_axis``,
    ``eccentricity`` and, where pixels are square, ``perimeter``; ``centroid`` along each axis in world coordinates; ``intensity_mean``,
    ``intensity_min`` and ``intensity_max``, per channel, and in images of real numbers ``intensity_left_out``, the pixels that are NaN or
    infinite and count for none of these. Lengths and times end in their unit, such as ``area_um2`` and
    ``centroid_t_sec``; without a known one, lengths are in ``px`` and times without an end.

    Parameters
    ----------
    labels, axes
        Label values, 0 for none.
    ruler
        From pixels to the world.
    together
        Whether Z is cut into slices or measured as a volume, which is then held in memory.
    image, image_axes
        Image of the same shape, perhaps with channels, for intensities.
    names
        What each label is called.

    Raises
    ------
    ValueError
        When the image does not fit the labels.
    """
    _check_image(labels, axes, image, image_axes)
    keys = block_keys(labels.shape, axes, together)
    for done, key in enumerate(keys, 1):
        block = np.asarray(labels[key])
        grey = None if image is None else _grey_block(image, image_axes or axes, axes, key)
        yield Measured(done, len(keys), _measure_block(block, axes, key, ruler, grey, names))


def total_by_label(tables: Sequence[Table], sizes: Sequence[str]) -> Table:
    """One row per label from the rows of many slices: sizes are added, intensities combined; what cannot be combined is left out.

    Parameters
    ----------
    tables
        Tables of `measure`.
    sizes
        Columns to add up, besides ``pixels``.
    """
    whole = join_tables(tables)
    if not whole:
        return {}
    index, first, place = np.unique(whole["index"], return_index=True, return_inverse=True)
    weights = whole["pixels"].astype(float)
    pixels = np.bincount(place, weights)
    result: Table = {"index": index}
    for name, column in whole.items():
        if name == "class":
            result[name] = column[first]
        elif name == "pixels":
            result[name] = pixels.astype(np.int64)
        elif name in sizes:
            result[name] = np.bincount(place, column.astype(float))
        elif name.startswith("centroid"):
            result[name] = np.bincount(place, weights * column) / pixels
    return result | total_grey(whole, place, len(index))


def join_tables(tables: Sequence[Table]) -> Table:
    """The rows of tables with the same columns below each other; the columns alone where no table has a row."""
    filled = [table for table in tables if len(table.get("index", ()))] or list(tables[:1])
    if not filled:
        return {}
    return {name: np.concatenate([table[name] for table in filled]) for name in filled[0]}


def write_csv(path: Path | str, table: Table, *, overwrite: bool = False) -> Path:
    """Write a table as CSV (UTF-8, a row of names first); the file appears only when it is complete.

    There is no mark in front by which Excel knows UTF-8: R's read.csv, numpy and Python's csv take it for a part of the first name.

    Raises
    ------
    FileExistsError
        When the file exists and ``overwrite`` is not set.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(table)
    columns = [column.tolist() for column in table.values()]
    writer.writerows(zip(*columns, strict=True))
    encoded = text.getvalue().encode()
    return write_atomically(path, lambda file: file.write(encoded), overwrite=overwrite)


def _measure_block(
    block: NDArray[Any],
    axes: str,
    key: Block,
    ruler: Ruler,
    grey: NDArray[Any] | None,
    names: Mapping[int, str] | None,
) -> Table:
    from skimage.measure import regionprops_table

    inner = [i for i, part in enumerate(key) if isinstance(part, slice)]
    flat = len(inner) == 2
    numbers, offset = _from_one(block)
    spacing = ruler.spacing(inner)
    square = flat and bool(np.isclose(spacing[0], spacing[1]))
    if square:
        spacing = (
            spacing[0],
        ) * 2  # skimage measures outlines only where the two are just the same
    wanted = ["label", "num_pixels", "bbox", "equivalent_diameter_area"]
    wanted += ["axis_major_length", "axis_minor_length", "eccentricity"] if flat else []
    wanted += ["perimeter"] if square else []
    found = regionprops_table(
        numbers, properties=wanted, spacing=spacing, extra_properties=(middle,)
    )
    index = found["label"].astype(np.int64) + offset
    table: Table = {"index": index}
    if names is not None:
        table["class"] = np.array([names.get(number, "") for number in index.tolist()], object)
    for axis, part in enumerate(key):
        if not isinstance(part, slice):
            table[axes[axis].lower()] = np.full(len(index), part)
    table |= _sizes(found, ruler, inner)
    table |= _places(found, ruler, key, inner, axes)
    if grey is not None:
        table |= grey_columns(found, numbers, grey)
    return table


def _from_one(block: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """The labels of a block counted from 1, in the smallest type that holds them, and what they are less than before; 0 is none.

    skimage works through all numbers up to the largest, and objects of late slices have large ones.
    """
    if block.dtype == bool:
        block = block.view(np.uint8)
    present = block > 0
    largest = int(block.max(initial=0))
    offset = int(block.min(where=present, initial=max(largest, 1))) - 1
    numbers = np.zeros(block.shape, np.min_scalar_type(largest - offset))
    np.subtract(block, offset, out=numbers, where=present, casting="unsafe")
    return numbers, offset


def middle(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean position of the pixels of a mask, as skimage's centroid, which lists them all first: 74 bytes for each of them."""
    axes = range(mask.ndim)
    along = [mask.sum(axis=tuple(other for other in axes if other != axis)) for axis in axes]
    return np.array([counts @ np.arange(len(counts)) / counts.sum() for counts in along])


def _sizes(found: Mapping[str, NDArray[Any]], ruler: Ruler, inner: Sequence[int]) -> Table:
    unit, what = ruler.symbol, {2: "area", 3: "volume"}[len(inner)]
    table: Table = {"pixels": found["num_pixels"].astype(np.int64)}
    table[f"{what}_{unit}{len(inner)}"] = found["num_pixels"] * ruler.content(inner)
    for name, ours in _SHAPES.items():
        if name in found:
            table[f"{ours}_{unit}"] = found[name]
    if "eccentricity" in found:
        table["eccentricity"] = found["eccentricity"]
    if "perimeter" in found:
        table[f"perimeter_{unit}"] = found["perimeter"]
    return table


def _places(
    found: Mapping[str, NDArray[Any]],
    ruler: Ruler,
    key: Block,
    inner: Sequence[int],
    axes: str,
) -> Table:
    """Centroids in world coordinates, over all axes of the labels."""
    positions = np.zeros((len(found["label"]), len(key)))
    for axis, part in enumerate(key):
        if not isinstance(part, slice):
            positions[:, axis] = part
    for number, axis in enumerate(inner):
        positions[:, axis] = found[f"bbox-{number}"] + found[f"middle-{number}"]
    world = ruler.to_world(positions)
    return {ruler.column("centroid", name): world[:, axis] for axis, name in enumerate(axes)}


def _grey_block(image: ArrayLike, image_axes: str, axes: str, key: Block) -> NDArray[Any]:
    """The image under a block of labels, channels last as skimage takes them."""
    at = dict(zip(axes, key, strict=True))
    block = np.asarray(image[tuple(at.get(axis, slice(None)) for axis in image_axes)])
    kept = [axis for axis in image_axes if isinstance(at.get(axis, slice(None)), slice)]
    return np.moveaxis(block, kept.index("C"), -1) if "C" in kept else block


def _check_image(
    labels: ArrayLike, axes: str, image: ArrayLike | None, image_axes: str | None
) -> None:
    check_axes(tuple(labels.shape), axes)
    if image is None:
        return
    names = image_axes or axes
    check_axes(tuple(image.shape), names)
    plain = tuple(int(n) for n, axis in zip(image.shape, names, strict=True) if axis != "C")
    if plain != tuple(labels.shape) or names.replace("C", "") != axes:
        raise ValueError(
            f"The labels have shape {tuple(labels.shape)}, but the image has {plain} besides channels. "
            "Choose the image, and the resolution of it, that the labels belong to."
        )
