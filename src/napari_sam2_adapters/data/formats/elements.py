"""Element types as files hold them, and as arrays here have them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.data.axes import ArrayLike, plane_indices, read_plane

__all__ = ["EAGER_BYTES", "in_memory_order", "planes_of", "whole_numbers"]

EAGER_BYTES = 32 * 2**20
"""Arrays up to this size are read into memory, larger ones stay on the disk where the format allows it."""


def in_memory_order(array: NDArray[Any], axes: str) -> ArrayLike:
    """A memory map with the byte order of this machine; small ones are read, foreign ones are turned plane by plane."""
    if array.nbytes <= EAGER_BYTES:
        return np.array(array, array.dtype.newbyteorder("="))
    if array.dtype.isnative:
        return cast("ArrayLike", array)
    return cast("ArrayLike", planes_of(array, axes).astype(array.dtype.newbyteorder("=")))


def planes_of(array: ArrayLike, axes: str) -> Any:
    """A dask array with one chunk for each plane, its channels together."""
    import dask.array

    chunks = tuple(n if a in "YXC" else 1 for n, a in zip(array.shape, axes, strict=True))
    return dask.array.from_array(array, chunks=chunks, name=False)


def whole_numbers(array: ArrayLike, axes: str) -> ArrayLike:
    """Labels that a program saved in floating point as the integers that they are.

    Returns
    -------
    array
        In the smallest unsigned type; the array itself when it is no floating point, or a value is no whole number from 0 up.
    """
    if np.dtype(array.dtype).kind != "f":
        return array
    highest = 0
    for index in plane_indices(array.shape, axes):
        plane = read_plane(array, axes, index)
        if not (np.isfinite(plane).all() and plane.min() >= 0 and (plane % 1 == 0).all()):
            return array
        highest = max(highest, int(plane.max()))
    if highest >= 2**32:
        return array
    dtype = np.min_scalar_type(highest)
    if isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        return array.astype(dtype)
    import dask.array

    lazy = array if isinstance(array, dask.array.Array) else planes_of(array, axes)
    return cast("ArrayLike", lazy.astype(dtype))
