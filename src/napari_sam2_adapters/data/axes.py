"""Names of array axes, and single planes of arrays that may be too large for the memory.

Axes are strings of the letters T (time), Z (depth), C (channel or colour), Y (row) and X (column), such as
``"YX"``, ``"TZYX"`` or ``"YXC"``. Arrays may be numpy, dask or zarr; only the region asked for is computed.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ArrayLike",
    "channel_count",
    "check_axes",
    "chunk_width",
    "guess_axes",
    "in_axes",
    "label_axes",
    "plane_indices",
    "plane_shape",
    "read_plane",
    "without_alpha",
]

_LETTERS = "TZCYX"
_LEADING = {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}


class ArrayLike(Protocol):
    """What numpy, dask and zarr arrays have in common."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        ...

    def __getitem__(self, key: Any) -> Any:
        """Give a region, computed or to be computed."""
        ...


def guess_axes(shape: tuple[int, ...], *, rgb: bool | None = None) -> str:
    """Axes of an array that carries no names.

    Leading axes are taken as ``ZYX``, ``TZYX`` or ``TCZYX``; colour is a last axis of 3 or 4.

    Parameters
    ----------
    shape
        Length of each axis.
    rgb
        Whether the last axis is colour; None takes a last axis of 3 or 4 behind two axes longer than that
        as colour.

    Raises
    ------
    ValueError
        When the number of axes fits no picture, or ``rgb`` is set and the last axis is not 3 or 4 long.
    """
    if rgb is None:
        rgb = len(shape) >= 3 and shape[-1] in (3, 4) and min(shape[-3:-1]) > 4
    if rgb and (len(shape) < 3 or shape[-1] not in (3, 4)):
        raise ValueError(
            f"An RGB image ends in an axis of 3 or 4, but the shape is {tuple(shape)}. "
            "Move the colour axis to the end, or say that the image is not RGB."
        )
    if not 2 <= len(shape) <= 5:
        raise ValueError(
            f"Images have 2 to 5 axes, but the shape is {tuple(shape)}. Pick a part of it."
        )
    return _LEADING[len(shape) - 1] + "C" if rgb else _LEADING[len(shape)]


def check_axes(shape: tuple[int, ...], axes: str) -> None:
    """Refuse axes that do not name this shape.

    Raises
    ------
    ValueError
        When a letter is unknown or doubled, Y or X is missing or in the wrong order, the number of letters is
        not the number of axes, or an axis is empty.
    """
    if len(set(axes)) != len(axes) or not set(axes) <= set(_LETTERS):
        raise ValueError(
            f"Axes are made of the letters {', '.join(_LETTERS)}, each at most once; got {axes!r}."
        )
    if "Y" not in axes or "X" not in axes or axes.index("Y") > axes.index("X"):
        raise ValueError(
            f"Axes need Y and then X; got {axes!r}. Name the axes in the array's order."
        )
    if len(axes) != len(shape):
        raise ValueError(
            f"The axes {axes!r} name {len(axes)} dimensions, but the shape {tuple(shape)} has {len(shape)}."
        )
    if 0 in shape:
        raise ValueError(f"The array of shape {tuple(shape)} has no pixels; load one that has.")


def label_axes(axes: str) -> str:
    """Axes of the labels of an image with these axes: the same without C."""
    return axes.replace("C", "")


def channel_count(shape: tuple[int, ...], axes: str) -> int:
    """Length of the channel axis, 1 when there is none."""
    check_axes(shape, axes)
    return int(shape[axes.index("C")]) if "C" in axes else 1


def plane_shape(shape: tuple[int, ...], axes: str) -> tuple[int, int]:
    """Height and width of a plane in pixels."""
    check_axes(shape, axes)
    return int(shape[axes.index("Y")]), int(shape[axes.index("X")])


def plane_indices(shape: tuple[int, ...], axes: str) -> list[tuple[int, ...]]:
    """Index of each plane over the axes other than Y, X and C, in the array's order; ``[()]`` for one plane."""
    check_axes(shape, axes)
    lengths = [int(n) for n, axis in zip(shape, axes, strict=True) if axis not in "YXC"]
    return [tuple(int(i) for i in index) for index in np.ndindex(*lengths)]


def read_plane(
    array: ArrayLike,
    axes: str,
    index: tuple[int, ...] = (),
    rows: slice = slice(None),
    columns: slice = slice(None),
) -> NDArray[Any]:
    """One region of one plane, channels first.

    Parameters
    ----------
    array
        numpy, dask or zarr array; only the region is computed.
    axes
        Names of its axes.
    index
        Position along the axes other than Y, X and C, as given by :func:`plane_indices`.
    rows, columns
        Region of the plane.

    Returns
    -------
    ndarray
        (C, h, w) in the array's dtype, C = 1 for an array without channels.

    Raises
    ------
    ValueError
        When the axes do not fit the array or the index does not fit the axes.
    """
    check_axes(array.shape, axes)
    others = [axis for axis in axes if axis not in "YXC"]
    if len(index) != len(others):
        raise ValueError(
            f"A plane of axes {axes!r} is named by {len(others)} numbers, got {tuple(index)}."
        )
    place: dict[str, int | slice] = dict(zip(others, index, strict=True))
    place |= {"Y": rows, "X": columns, "C": slice(None)}
    region = np.asarray(array[tuple(place[axis] for axis in axes)])
    if "C" not in axes:
        return region[np.newaxis]
    return np.moveaxis(region, "".join(a for a in axes if a in "YXC").index("C"), 0)


def in_axes(array: ArrayLike, axes: str, wanted: str) -> ArrayLike:
    """An array with its axes in another order, and with or without some of length 1; still lazy.

    Formats store axes in an order of their own, and some leave out a time of one frame, or add a depth of one slice.

    Raises
    ------
    ValueError
        When an axis that is not wanted is longer than 1.
    """
    check_axes(array.shape, axes)
    if axes == wanted:
        return array
    over = [
        f"{a} ({n})" for n, a in zip(array.shape, axes, strict=True) if a not in wanted and n > 1
    ]
    if over:
        raise ValueError(
            f"The array has the axes {axes}, but {wanted} are wanted, without {', '.join(over)}. Pick a part of it."
        )
    if not isinstance(array, np.ndarray) and not hasattr(array, "compute"):
        import dask.array

        array = dask.array.from_array(array, chunks=getattr(array, "chunks", "auto"))
    kept = [axis for axis in axes if axis in wanted]
    picked: Any = array[tuple(slice(None) if axis in wanted else 0 for axis in axes)]
    ordered = picked.transpose([kept.index(axis) for axis in wanted if axis in kept])
    return cast("ArrayLike", ordered[tuple(slice(None) if a in kept else None for a in wanted)])


def chunk_width(array: ArrayLike, axes: str) -> int:
    """Pixels along X of the widest chunk of a dask or zarr array; 1 for an array of which any part is read alone."""
    chunks = getattr(array, "chunks", None)
    if chunks is None:
        return 1
    return int(np.max(chunks[axes.index("X")]))


def without_alpha(array: ArrayLike, axes: str) -> ArrayLike:
    """An RGBA array without its transparency, still lazy; any other array as it is."""
    if channel_count(array.shape, axes) != 4:
        return array
    if not isinstance(array, np.ndarray) and not hasattr(array, "compute"):
        import dask.array

        array = dask.array.from_array(array, chunks=getattr(array, "chunks", "auto"))
    colour = tuple(slice(3) if axis == "C" else slice(None) for axis in axes)
    return cast("ArrayLike", array[colour])
