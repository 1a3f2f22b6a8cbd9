"""Grey values of any range and type to float32 between 0 and 1, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_sam2_adapters.config import Normalization
from napari_sam2_adapters.data.axes import (
    ArrayLike,
    channel_count,
    check_axes,
    plane_indices,
    plane_shape,
    read_plane,
)

__all__ = [
    "NO_NUMBER",
    "Limits",
    "advise_on_values",
    "has_no_number",
    "intensity_limits",
    "normalize_plane",
    "resolve_normalization",
    "sample_pixels",
]

NO_NUMBER = (
    "All pixels of this image are NaN or infinite where they were looked at, so there is nothing to see in it. "
    "Choose another image, or compute this one again."
)
"""What is said of an image without a number."""

_SAMPLED_PIXELS = 1_000_000
_SAMPLED_PLANES = 16
_WHOLE_SIDE_PX = 4096
_WINDOW_PX = 1024
_LIMITS_OF_NOTHING = 0.0, 1.0
_EIGHT_BITS = 0, 255
_LEAST_SEEN = 0.02
"""Of a fixed range that an image has to fill, for a network to see something of it."""


@dataclass(frozen=True)
class Limits:
    """Grey values that become 0 (low) and 1 (high), one of each per channel."""

    low: tuple[float, ...]
    high: tuple[float, ...]


def resolve_normalization(
    normalization: Normalization, dtype: DTypeLike, axes: str, rgb: bool
) -> Normalization:
    """Settle ``auto``: 0–255 for 8-bit RGB, 0–1 for true/false images, else the percentiles.

    Parameters
    ----------
    normalization
        Settings, perhaps with the mode ``auto``.
    dtype, axes
        Element type and axes of the images.
    rgb
        Whether the channels are colours.

    Raises
    ------
    ValueError
        When the element type is not a number that can be ordered.
    """
    kind = _checked_dtype(dtype)
    if normalization.mode != "auto":
        return normalization
    if kind == np.bool_:
        return Normalization(mode="range", low=0, high=1)
    if rgb and "C" in axes and kind == np.uint8:
        return Normalization(mode="range", low=0, high=255)
    return Normalization(mode="percentile", low=normalization.low, high=normalization.high)


def intensity_limits(array: ArrayLike, axes: str, normalization: Normalization) -> Limits:
    """Grey values of one image that become 0 and 1.

    Percentiles come from about a million finite pixels of at most 16 planes, spread evenly, so that a large
    lazy image is not read as a whole; the same pixels are taken whatever holds the array.

    Parameters
    ----------
    array, axes
        Image and the names of its axes.
    normalization
        Settings from :func:`resolve_normalization`.

    Raises
    ------
    ValueError
        When the mode is still ``auto``, or the image is of a type that has no order.
    """
    check_axes(array.shape, axes)
    _checked_dtype(array.dtype)
    n_channels = channel_count(array.shape, axes)
    if normalization.mode == "auto":
        raise ValueError(
            "The normalisation is still 'auto'; settle it with resolve_normalization first."
        )
    if normalization.mode == "range":
        return Limits((normalization.low,) * n_channels, (normalization.high,) * n_channels)
    pixels = sample_pixels(array, axes)
    pairs = [_channel_limits(channel, normalization) for channel in pixels]
    return Limits(tuple(low for low, _ in pairs), tuple(high for _, high in pairs))


def has_no_number(
    array: ArrayLike, axes: str, normalization: Normalization, limits: Limits
) -> bool:
    """Whether all pixels that :func:`intensity_limits` looks at are NaN or infinite, so that a network sees nothing in the image.

    Parameters
    ----------
    array, axes
        Image and the names of its axes.
    normalization, limits
        The settings, and what :func:`intensity_limits` found with them; with most percentiles no pixel has to be read again.
    """
    of_nothing = {*zip(limits.low, limits.high, strict=True)} == {_LIMITS_OF_NOTHING}
    suspicious = of_nothing or normalization.mode == "range"  # which is the same of any image
    if not suspicious or np.dtype(array.dtype).kind != "f":
        return False
    return not np.isfinite(sample_pixels(array, axes)).any()


def advise_on_values(array: ArrayLike, axes: str, normalization: Normalization) -> str:
    """Say that an image is nearly all black or white between fixed grey values; empty when it is not.

    Adapters of colours learn from 8 bits, 0 to 255: the same picture in 16 bits is white to them, and one of numbers from 0 to 1 is black.

    Parameters
    ----------
    array, axes
        Image and the names of its axes.
    normalization
        That of the adapter.
    """
    low, high = normalization.low, normalization.high
    plain = array.dtype == np.uint8 and (low, high) == _EIGHT_BITS
    if normalization.mode != "range" or plain:
        return ""
    pixels = sample_pixels(array, axes)
    finite = pixels[np.isfinite(pixels)]
    if not finite.size:
        return ""
    darkest, brightest = np.percentile(finite, [1, 99])
    seen = np.ptp(np.clip([darkest, brightest], low, high)) / (high - low)
    white = np.mean(finite > high)
    if darkest == brightest or (seen >= _LEAST_SEEN and white <= 0.5):
        return ""
    return (
        f"Its grey values lie between {darkest:.4g} and {brightest:.4g}, but the adapter takes those from {low:g} to {high:g}: to it the image is "
        "nearly all black or white. Convert the image to the kind that it was trained on, such as 8 bits per colour."
    )


def normalize_plane(plane: NDArray[Any], limits: Limits) -> NDArray[np.float32]:
    """Map the limits to 0 and 1 and clip; NaN becomes 0, infinities the nearer end.

    Parameters
    ----------
    plane
        (C, h, w) of any real type.
    limits
        One low and one high per channel.

    Returns
    -------
    ndarray
        (C, h, w) float32 between 0 and 1.

    Raises
    ------
    ValueError
        When the channels do not fit the limits.
    """
    if plane.shape[0] != len(limits.low):
        raise ValueError(
            f"The plane has {plane.shape[0]} channels but the limits are for {len(limits.low)}."
        )
    dtype = _checked_dtype(plane.dtype)
    # float32 holds 24 bits: differences between large 32-bit values would be lost in it
    wide = dtype.itemsize > 2 and dtype != np.float32
    values: NDArray[np.floating[Any]] = plane.astype(np.float64 if wide else np.float32)
    low = np.asarray(limits.low, values.dtype)[:, None, None]
    high = np.asarray(limits.high, values.dtype)[:, None, None]
    with np.errstate(over="ignore"):  # what overflows is infinite, and infinities are clipped
        values -= low
        values /= high - low
    np.nan_to_num(values, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
    return values.clip(0, 1, out=values).astype(np.float32, copy=False)


def _checked_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    # the same numbers in another byte order are no other type
    kind = np.dtype(dtype).newbyteorder("=")
    if kind.kind not in "biuf":
        raise ValueError(
            f"Images are of whole or real numbers, but this one is {kind}. "
            "Take its real part or its magnitude."
        )
    return kind


def sample_pixels(array: ArrayLike, axes: str, about: int = _SAMPLED_PIXELS) -> NDArray[np.float64]:
    """Evenly spread pixels of at most 16 planes as (C, n), the same ones whatever holds the array.

    Parameters
    ----------
    array, axes
        Image and the names of its axes.
    about
        How many pixels.
    """
    indices = plane_indices(array.shape, axes)
    n_planes = min(len(indices), _SAMPLED_PLANES)
    chosen = [indices[i] for i in np.linspace(0, len(indices) - 1, n_planes).round().astype(int)]
    height, width = plane_shape(array.shape, axes)
    windows = [(rows, columns) for rows in _windows(height) for columns in _windows(width)]
    n_pixels = sum((r.stop - r.start) * (c.stop - c.start) for r, c in windows) * n_planes
    step = max(1, int(np.ceil(np.sqrt(n_pixels / about))))
    parts = [
        read_plane(
            array, axes, index, slice(r.start, r.stop, step), slice(c.start, c.stop, step)
        ).reshape(channel_count(array.shape, axes), -1)
        for index in chosen
        for r, c in windows
    ]
    return np.concatenate(parts, axis=1).astype(np.float64)


def _windows(length: int) -> list[slice]:
    """The whole side, or four evenly spread windows of a side that is very long."""
    if length <= _WHOLE_SIDE_PX:
        return [slice(0, length)]
    starts = np.linspace(0, length - _WINDOW_PX, 4).astype(int)
    return [slice(int(start), int(start) + _WINDOW_PX) for start in starts]


def _channel_limits(
    pixels: NDArray[np.float64], normalization: Normalization
) -> tuple[float, float]:
    finite = pixels[np.isfinite(pixels)]
    if finite.size == 0:
        return _LIMITS_OF_NOTHING
    low, high = np.percentile(finite, [normalization.low, normalization.high])
    if not low < high:
        # rare bright pixels on an even ground: the percentiles coincide, the extremes do not
        low, high = finite.min(), finite.max()
    if not low < high:
        high = low + max(1.0, abs(low) * 1e-6)
    return float(low), float(high)
