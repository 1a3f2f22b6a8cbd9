"""From image layers to arrays, and where the results of them lie. Everything here runs on the GUI thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_sam2_adapters.data.axes import ArrayLike, channel_count, check_axes, plane_shape

__all__ = [
    "Picture",
    "current_plane",
    "guess_channel_axis",
    "level_count",
    "name_axes",
    "pixel_size",
    "placement",
    "spread_placement",
    "take_picture",
    "visible_region",
    "world_matrix",
]

_LEADING = {2: "", 3: "Z", 4: "TZ"}
_KNOWN_NAMES = {"t": "T", "time": "T", "frame": "T", "z": "Z", "depth": "Z", "plane": "Z"}


@dataclass(frozen=True)
class Picture:
    """An image layer's array and what is needed to lay a result on it.

    Attributes
    ----------
    array
        numpy, dask or zarr array of one resolution level.
    axes
        Its axes, such as ``"ZYX"`` or ``"YXC"``.
    rgb
        Whether the channels are colours.
    name
        The layer's name.
    placement
        Where its pixels lie, without the axis of the channels: scale, translate, rotate, shear, affine, units and axis_labels.
    spread
        Axis of length 1 that a layer on it has in place of the channels; None where napari lines it up without.
    place
        Keywords for ``viewer.add_labels``: as ``placement``, of a layer with this axis.
    """

    array: ArrayLike
    axes: str
    rgb: bool
    name: str
    placement: Mapping[str, Any]
    spread: int | None = None
    place: Mapping[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Channels that count; the transparency of an RGBA image does not."""
        found = channel_count(self.array.shape, self.axes)
        return 3 if self.rgb and found == 4 else found

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of the labels of this image: its own without channels."""
        return tuple(
            int(n) for n, axis in zip(self.array.shape, self.axes, strict=True) if axis != "C"
        )

    @property
    def layer_shape(self) -> tuple[int, ...]:
        """Shape of a layer of labels on this image: `label_shape`, with the axis ``spread``."""
        shape, at = self.label_shape, self.spread
        return shape if at is None else (*shape[:at], 1, *shape[at:])

    def without_pixels(self) -> Picture:
        """The same with zeros that take no memory, for what outlives the layer."""
        return replace(self, array=np.broadcast_to(np.uint8(0), tuple(self.array.shape)))


def take_picture(layer: Image, *, channel_axis: int | None = None, level: int = 0) -> Picture:
    """Take an image layer's array, without reading a pixel of it.

    Parameters
    ----------
    layer
        The image layer.
    channel_axis
        Axis of the data that holds channels; not for RGB, whose colours are always the last one.
    level
        Resolution level of a multiscale layer, 0 for the finest.

    Raises
    ------
    ValueError
        When the axes cannot be those of images, volumes or time series.
    """
    array: ArrayLike = layer.data[level] if layer.multiscale else layer.data
    plain = placement(layer, channel_axis=channel_axis, level=level)
    spread = channel_axis or None  # a first axis is none of the last ones that napari lines up
    return Picture(
        array=array,
        axes=_axes(layer, tuple(array.shape), channel_axis),
        rgb=bool(layer.rgb),
        name=str(layer.name),
        placement=plain,
        spread=spread,
        place=spread_placement(layer, channel_axis=spread, level=level) if spread else plain,
    )


def level_count(layer: Image) -> int:
    """Number of resolution levels, 1 for a plain layer."""
    return len(layer.data) if layer.multiscale else 1


def guess_channel_axis(layer: Image, label_shape: Sequence[int] | None = None) -> int | None:
    """Axis that holds channels: named so, or the one that the labels lack; None when there is none.

    Parameters
    ----------
    layer
        The image layer.
    label_shape
        Shape of the labels that go with it, if known.
    """
    shape = tuple(layer.data[0].shape if layer.multiscale else layer.data.shape)
    if layer.rgb or len(shape) < 3:
        return None
    names = [str(name).lower() for name in layer.axis_labels]
    named = next((i for i, name in enumerate(names) if name in {"c", "channel", "channels"}), None)
    usual = (
        1 if named is None and len(shape) == 5 else named
    )  # five axes are TCZYX, as in data.axes
    if label_shape is None:
        return usual
    wanted = tuple(label_shape)
    axes = range(len(shape)) if shape != wanted else ()
    fitting = [axis for axis in axes if wanted in _label_shapes(shape, axis)]
    # several fit where there are as many times as channels
    return min(fitting, key=lambda axis: (axis != usual, shape[axis]), default=None)


def placement(layer: Image, *, channel_axis: int | None = None, level: int = 0) -> dict[str, Any]:
    """Keywords for ``viewer.add_labels`` that lay labels exactly on an image layer.

    Parameters
    ----------
    layer
        The image layer.
    channel_axis
        Axis that the labels do not have.
    level
        Resolution level that the labels are of; a coarser level has larger pixels with shifted centres.
    """
    kept = [axis for axis in range(layer.ndim) if axis != channel_axis]
    return _placement(layer, kept, _factors(layer, level))


def spread_placement(layer: Image, *, channel_axis: int, level: int = 0) -> dict[str, Any]:
    """Keywords for labels that keep the channel axis with a length of 1, as long as all channels, so that every channel shows them.

    napari lines up the last axes of all layers. Labels without an axis that lies between others would follow the wrong sliders.
    """
    factors = _factors(layer, level)
    factors[channel_axis] *= (layer.data[0] if layer.multiscale else layer.data).shape[channel_axis]
    return _placement(layer, list(range(layer.ndim)), factors)


def _label_shapes(shape: tuple[int, ...], axis: int) -> tuple[tuple[int, ...], ...]:
    """Shapes of the labels of an image with channels on this axis: without it, and with a length of 1."""
    return shape[:axis] + shape[axis + 1 :], (*shape[:axis], 1, *shape[axis + 1 :])


def _factors(layer: Image, level: int) -> NDArray[np.float64]:
    """Length of a pixel of a level in pixels of the finest, per axis."""
    if not level:
        return np.ones(layer.ndim)
    return np.array(layer.downsample_factors[level], dtype=float)[: layer.ndim]


def _placement(layer: Image, kept: list[int], factors: NDArray[np.float64]) -> dict[str, Any]:
    """Transforms over some axes, for pixels that are longer by these factors and begin at the same edge."""
    square = np.ix_(kept, kept)
    scale = np.asarray(layer.scale)[kept]
    rotate = np.asarray(layer.rotate)[square]
    shear = _shear_matrix(layer)[square]
    translate = np.asarray(layer.translate)[kept]
    factor = factors[kept]
    translate = translate + rotate @ shear @ (scale * (factor - 1) / 2)
    scale = scale * factor
    homogeneous = np.ix_([*kept, layer.ndim], [*kept, layer.ndim])
    return {
        "scale": scale,
        "translate": translate,
        "rotate": rotate,
        "shear": shear,
        "affine": np.asarray(layer.affine.affine_matrix)[homogeneous],
        "units": tuple(layer.units[axis] for axis in kept),
        "axis_labels": tuple(layer.axis_labels[axis] for axis in kept),
    }


def pixel_size(picture: Picture) -> tuple[tuple[float, float] | None, str | None]:
    """Pixel size (Y, X) and its unit; None for both when the layer has no physical unit."""
    units = [str(unit) for unit in picture.placement["units"][-2:]]
    if units[0] != units[1] or units[0] in {"pixel", "dimensionless"}:
        return None, None
    row, column = (abs(float(step)) for step in picture.placement["scale"][-2:])
    return (row, column), units[0]


def current_plane(
    layer: Image, point: Sequence[float], picture: Picture, channel_axis: int | None
) -> tuple[int, ...]:
    """Index of the plane on show over the picture's axes other than Y, X and C.

    Parameters
    ----------
    layer
        The image layer.
    point
        World coordinates on show, ``viewer.dims.point``.
    picture
        What was taken from the layer.
    channel_axis
        The layer's channel axis, as given to `take_picture`.
    """
    place = np.asarray(layer.world_to_data(point), dtype=float)
    finest = layer.data[0].shape if layer.multiscale else layer.data.shape
    kept = [axis for axis in range(layer.ndim) if axis != channel_axis]
    ratio = [n / finest[axis] for n, axis in zip(picture.label_shape, kept, strict=True)]
    index = np.floor((place[kept] + 0.5) * ratio).astype(int)
    return tuple(
        int(np.clip(i, 0, n - 1)) for i, n in zip(index[:-2], picture.label_shape[:-2], strict=True)
    )


def visible_region(
    layer: Image, picture: Picture, channel_axis: int | None, most_px: int
) -> tuple[slice, slice]:
    """Rows and columns of the picture that the canvas shows, at most ``most_px`` of each around their centre."""
    kept = [axis for axis in range(layer.ndim) if axis != channel_axis][-2:]
    finest = layer.data[0].shape if layer.multiscale else layer.data.shape
    corners = np.asarray(layer.corner_pixels)
    # corner pixels count in the level on show; as a share of it they hold for every level
    shown = layer.data[layer.data_level].shape if layer.multiscale else finest
    region = []
    for axis, length in zip(kept, plane_shape(picture.array.shape, picture.axes), strict=True):
        low = corners[0, axis] / shown[axis] * length
        high = (corners[1, axis] + 1) / shown[axis] * length
        if high - low < 2:  # not drawn yet
            low, high = 0, length
        middle, half = (low + high) / 2, min(high - low, most_px) / 2
        start = int(np.clip(round(middle - half), 0, length - 1))
        region.append(slice(start, int(np.clip(round(middle + half), start + 1, length))))
    return region[0], region[1]


def name_axes(names: Sequence[str]) -> str:
    """Axes of an array without channels: T and Z as they are named; where they are not, ``ZYX`` and ``TZYX``.

    Parameters
    ----------
    names
        The layer's axis labels, one per axis.

    Raises
    ------
    ValueError
        When there are fewer than 2 or more than 4.
    """
    if len(names) not in _LEADING:
        raise ValueError(
            f"The layer has {len(names)} axes besides channels, but images have 2 to 4 (time, depth, rows, columns). "
            "Take a part of it (right-click the layer ▸ Split Stack), or say which axis holds the channels."
        )
    default = _LEADING[len(names)]
    known = [_KNOWN_NAMES.get(str(name).lower(), "") for name in names[:-2]]
    free = [axis for axis in default if axis not in known]
    named = "".join(axis or (free.pop(0) if free else "?") for axis in known)
    return (named if sorted(named) in (["Z"], ["T"], ["T", "Z"]) else default) + "YX"


def world_matrix(layer: Layer) -> NDArray[np.float64]:
    """Homogeneous matrix (n + 1, n + 1) from positions in a layer's data to world coordinates."""
    origin = np.asarray(layer.data_to_world(np.zeros(layer.ndim)), dtype=float)
    matrix = np.eye(layer.ndim + 1)
    matrix[:-1, -1] = origin
    for axis, unit in enumerate(np.eye(layer.ndim)):
        matrix[:-1, axis] = np.asarray(layer.data_to_world(unit), dtype=float) - origin
    return matrix


def _axes(layer: Image, shape: tuple[int, ...], channel_axis: int | None) -> str:
    axes = name_axes([str(name) for i, name in enumerate(layer.axis_labels) if i != channel_axis])
    if layer.rgb:
        channel_axis = len(shape) - 1
    if channel_axis is not None:
        axes = axes[:channel_axis] + "C" + axes[channel_axis:]
    check_axes(shape, axes)
    return axes


def _shear_matrix(layer: Layer) -> NDArray[np.float64]:
    """The layer's shear as a matrix; napari gives it as one, or as the elements above the diagonal."""
    shear = np.asarray(layer.shear, dtype=float)
    if shear.ndim == 2:
        return shear
    matrix = np.eye(layer.ndim)
    matrix[np.triu_indices(layer.ndim, k=1)] = shear
    return matrix
