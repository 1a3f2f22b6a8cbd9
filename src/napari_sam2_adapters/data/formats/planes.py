"""The planes of an array in the order in which a file stores them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.data.axes import ArrayLike, read_plane

__all__ = ["axis_lengths", "planes_in_order"]


def axis_lengths(array: ArrayLike, axes: str) -> dict[str, int]:
    """Length of each axis by its letter."""
    return {axis: int(length) for axis, length in zip(axes, array.shape, strict=True)}


def planes_in_order(
    array: ArrayLike, axes: str, order: str, dtype: np.dtype[Any]
) -> Iterator[NDArray[Any]]:
    """Planes (Y, X), one after the other, of an array that may be too large for the memory.

    Parameters
    ----------
    array
        numpy, dask or zarr array.
    axes
        Names of its axes.
    order
        Letters of axes, slowest first; Y and X, and those that the array does not have, are passed over.
    dtype
        Element type of the planes.
    """
    lengths = axis_lengths(array, axes)
    walked = [axis for axis in order if axis in lengths and axis not in "YX"]
    others = [axis for axis in axes if axis not in "YXC"]
    for index in np.ndindex(*(lengths[axis] for axis in walked)):
        place = dict(zip(walked, index, strict=True))
        planes = read_plane(array, axes, tuple(place[axis] for axis in others))
        yield np.ascontiguousarray(planes[place.get("C", 0)], dtype)
