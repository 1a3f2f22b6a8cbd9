"""Grey values under labelled objects, of the pixels that have one, and their totals over many slices.

skimage adds up the channels of an image in the type of its pixels, which for real numbers of 32 bits is wrong by percents in large objects, and
one NaN makes a NaN of the whole object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["grey_columns", "total_grey"]

_NAMES = ("intensity_mean", "intensity_min", "intensity_max", "intensity_left_out")
_MEAN, _LOWEST, _HIGHEST, _LEFT_OUT = _NAMES


def grey_columns(
    found: Mapping[str, NDArray[Any]], numbers: NDArray[Any], grey: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """Mean, lowest and highest grey value of each object, in double precision.

    Of real numbers, which may be NaN or infinite, the finite ones count, and a column says how many were left out; an object without
    any has NaN.

    Parameters
    ----------
    found
        ``label`` and ``bbox-0``, ``bbox-1``, … of the objects, as skimage's `regionprops_table` gives them.
    numbers
        The objects.
    grey
        Image of the same shape, perhaps with a last axis more for channels.

    Returns
    -------
    dict
        Columns by name; with channels each ends in its number.
    """
    n_axes, labels = numbers.ndim, found["label"]
    channels = grey.shape[n_axes:]
    low, high = ([found[f"bbox-{axis + up}"] for axis in range(n_axes)] for up in (0, n_axes))
    seen = np.zeros((len(labels), *(channels or (1,)), 4))
    for row, label in enumerate(labels.tolist()):
        box = tuple(slice(int(a[row]), int(b[row])) for a, b in zip(low, high, strict=True))
        values = grey[box][numbers[box] == label]
        seen[row] = [_seen(channel) for channel in values.reshape(len(values), -1).T]
    columns: dict[str, NDArray[Any]] = {}
    for kind, name in enumerate(_NAMES if grey.dtype.kind == "f" else _NAMES[:-1]):
        for channel in range(seen.shape[1]):
            column = seen[:, channel, kind]
            columns[f"{name}_channel_{channel}" if channels else name] = (
                column.astype(np.int64) if name == _LEFT_OUT else column
            )
    return columns


def _seen(values: NDArray[Any]) -> tuple[float, float, float, int]:
    """Mean, lowest and highest of the finite values, and how many are not."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    n_left_out = values.size - finite.size
    if not finite.size:
        return np.nan, np.nan, np.nan, n_left_out
    return finite.mean(dtype=np.float64), finite.min(), finite.max(), n_left_out


def total_grey(
    table: Mapping[str, NDArray[Any]], place: NDArray[np.intp], n_labels: int
) -> dict[str, NDArray[Any]]:
    """The grey columns of a table with a row for each label, from one with rows for each of many slices.

    Parameters
    ----------
    table
        With ``pixels`` and the columns of `grey_columns`, if there are any.
    place
        Row of the result that each row of the table goes to.
    n_labels
        Rows of the result.
    """
    totals: dict[str, NDArray[Any]] = {}
    for name, column in table.items():
        if name.startswith(_MEAN):
            left_out = table.get(name.replace(_MEAN, _LEFT_OUT), np.zeros(len(column)))
            weights = (table["pixels"] - left_out).astype(float)
            sums = np.bincount(place, np.where(weights > 0, weights * column, 0), n_labels)
            counts = np.bincount(place, weights, n_labels)
            totals[name] = np.divide(sums, counts, out=np.full(n_labels, np.nan), where=counts > 0)
        elif name.startswith((_LOWEST, _HIGHEST)):
            better = np.fmin if name.startswith(_LOWEST) else np.fmax
            extreme = np.full(n_labels, np.nan)
            better.at(extreme, place, column.astype(float))
            totals[name] = extreme
        elif name.startswith(_LEFT_OUT):
            totals[name] = np.bincount(place, column, n_labels).astype(np.int64)
    return totals
