"""Arrays that the results of the Segment dock are written into: in memory, or on the disk when they are large."""

from __future__ import annotations

import atexit
import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_sam2_adapters.inference.outputs import bytes_in_memory
from napari_sam2_adapters.inference.rules import PostprocessConfig

__all__ = [
    "Both",
    "PerClass",
    "ResultArrays",
    "WithAxis",
    "WithoutAxis",
    "new_array",
    "new_arrays",
    "new_label_array",
    "with_axis",
    "without_axis",
]

IN_MEMORY_BYTES = 2**30


@dataclass(frozen=True)
class ResultArrays:
    """Results of the runs of one adapter on one image, each shaped as the image without channels.

    Attributes
    ----------
    labels
        Class values as the network gave them.
    shown
        Class values after the tidying; the same array as ``labels`` where nothing is tidied.
    planes
        Which planes hold results.
    rules
        What ``shown`` and ``objects`` were made with.
    untidied
        Planes that hold results but are not by these rules yet: the run or the tidying was stopped before.
    objects
        Numbers of single objects (uint32), or None.
    object_classes
        Class value of each object.
    probabilities
        One array per class, or None; float32, for napari would turn narrower numbers into it with every drawing.
    uncertainty
        Normalised entropy (float32), or None.
    """

    labels: Any
    shown: Any
    planes: frozenset[tuple[int, ...]] = frozenset()
    rules: PostprocessConfig = field(default_factory=PostprocessConfig)
    untidied: frozenset[tuple[int, ...]] = frozenset()
    objects: Any = None
    object_classes: dict[int, int] = field(default_factory=dict)
    probabilities: tuple[Any, ...] | None = None
    uncertainty: Any = None


class Both:
    """Two arrays of one shape that are written into together."""

    def __init__(self, first: Any, second: Any) -> None:
        self._arrays = (first, second)
        self.shape, self.dtype = tuple(first.shape), first.dtype
        self.bytes_in_memory = sum(map(bytes_in_memory, self._arrays))

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write a region of each."""
        for array in self._arrays:
            array[key] = value


class PerClass:
    """One array per class, written into as if they were one array with the classes first."""

    def __init__(self, arrays: Sequence[Any]) -> None:
        self._arrays = arrays
        self.shape = (len(arrays), *arrays[0].shape)
        self.bytes_in_memory = sum(map(bytes_in_memory, arrays))

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write a region of all classes; the key begins with ``slice(None)``."""
        for array, part in zip(self._arrays, value, strict=True):
            array[key[1:]] = part


class WithAxis:
    """A zarr array seen with one more axis of length 1, for a layer that lines up with an image's channels.

    Parameters
    ----------
    array
        The array.
    axis
        Where the axis is.
    """

    def __init__(self, array: Any, axis: int) -> None:
        self.array, self.axis = array, axis
        self.shape = (*array.shape[:axis], 1, *array.shape[axis:])
        self.ndim, self.dtype = len(self.shape), array.dtype
        self.size = math.prod(self.shape)  # napari sorts the levels of a pyramid by it

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a region; the axis goes where a number picks it."""
        inner, own = self._split(key)
        region = np.asarray(self.array[inner])
        if not all(isinstance(part, int | np.integer | slice) for part in inner):
            return region  # single pixels, as a brush asks for them
        before = sum(isinstance(part, slice) for part in inner[: self.axis])
        result: NDArray[Any] = np.expand_dims(region, before)[(slice(None),) * before + (own,)]
        return result

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write a region."""
        inner, own = self._split(key)
        values = np.asarray(value)
        if isinstance(own, slice) and values.ndim == self.ndim:
            values = values.squeeze(self.axis)
        self.array[inner] = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All of it in memory."""
        return np.asarray(self[...], dtype)

    def _split(self, key: Any) -> tuple[tuple[Any, ...], Any]:
        """Index of the array itself, and what is asked of the added axis."""
        parts = list(key) if isinstance(key, tuple) else [key]
        if any(part is Ellipsis for part in parts):
            at = next(i for i, part in enumerate(parts) if part is Ellipsis)
            parts[at : at + 1] = [slice(None)] * (self.ndim - len(parts) + 1)
        parts += [slice(None)] * (self.ndim - len(parts))
        own = parts.pop(self.axis)
        return tuple(parts), own


class WithoutAxis:
    """A lazy array seen without an axis of length 1, for numpy alone leaves one out without reading.

    Parameters
    ----------
    array
        The array.
    axis
        The axis to leave out.
    """

    def __init__(self, array: Any, axis: int) -> None:
        self.array, self.axis = array, axis
        self.shape = (*array.shape[:axis], *array.shape[axis + 1 :])
        self.ndim, self.dtype = len(self.shape), array.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a region, given by numbers and slices."""
        return np.asarray(self.array[self._with(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write a region, given by numbers and slices."""
        self.array[self._with(key)] = value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All of it in memory."""
        return np.asarray(self[()], dtype)

    def _with(self, key: Any) -> tuple[Any, ...]:
        """Index of the array itself."""
        parts = key if isinstance(key, tuple) else (key,)
        parts += (slice(None),) * (self.ndim - len(parts))
        return (*parts[: self.axis], 0, *parts[self.axis :])


def with_axis(array: Any, axis: int | None) -> Any:
    """The same pixels with one more axis of length 1; the array itself when there is none to add."""
    if axis is None:
        return array
    return np.expand_dims(array, axis) if isinstance(array, np.ndarray) else WithAxis(array, axis)


def without_axis(array: Any, axis: int | None) -> Any:
    """The opposite of `with_axis`; nothing is read."""
    if axis is None:
        return array
    if isinstance(array, WithAxis) and array.axis == axis:
        return array.array
    if isinstance(array, np.ndarray) or hasattr(array, "dask"):
        return array[(slice(None),) * axis + (0,)]
    return WithoutAxis(array, axis)


def new_label_array(shape: tuple[int, ...], dtype: DTypeLike) -> Any:
    """Zeros for label values; as `new_array`."""
    return new_array(shape, dtype)


def new_array(shape: tuple[int, ...], dtype: DTypeLike) -> Any:
    """Zeros in memory or, above a gigabyte or a quarter of the free memory, in a zarr folder that lives as long as the program.

    Parameters
    ----------
    shape
        The last two axes are rows and columns.
    dtype
        Element type.
    """
    return new_arrays(1, shape, dtype)[0]


def new_arrays(number: int, shape: tuple[int, ...], dtype: DTypeLike) -> list[Any]:
    """As many as this of `new_array`, which together take no more than a quarter of the free memory.

    One by one they would all find it free: zeros take none before they are written to.
    """
    import psutil

    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    free = psutil.virtual_memory().available
    if n_bytes <= IN_MEMORY_BYTES and number * n_bytes <= free // 4:
        return [np.zeros(shape, dtype) for _ in range(number)]
    return [_on_disk(shape, dtype) for _ in range(number)]


def _on_disk(shape: tuple[int, ...], dtype: DTypeLike) -> Any:
    import zarr

    chunks = (1,) * (len(shape) - 2) + tuple(min(n, 1024) for n in shape[-2:])
    folder = tempfile.mkdtemp(prefix="napari-sam2-adapters-", suffix=".zarr")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return zarr.open(folder, mode="w", shape=shape, chunks=chunks, dtype=dtype, fill_value=0)
