"""Parts of an image that the user points at: the window's view, or a rectangle. Runs on the GUI thread."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Shapes

from napari_sam2_adapters.data.axes import plane_shape
from napari_sam2_adapters.widgets.docks.layers import Picture, visible_region

__all__ = ["rectangle_region", "shown_region"]

_NO_LIMIT = 2**31


def shown_region(
    viewer: Any, layer: Image, picture: Picture, channel_axis: int | None
) -> tuple[slice, slice]:
    """Rows and columns of the picture that the window shows.

    Raises
    ------
    ValueError
        When the window shows the stack in 3D or from another side.
    """
    if tuple(viewer.dims.displayed) != (viewer.dims.ndim - 2, viewer.dims.ndim - 1):
        raise ValueError(
            "The window shows the stack in 3D or from the side. Show its slices in 2D, or segment whole slices."
        )
    return visible_region(layer, picture, channel_axis, _NO_LIMIT)


def rectangle_region(
    shapes: Shapes, layer: Image, picture: Picture, channel_axis: int | None
) -> tuple[slice, slice]:
    """Rows and columns of the picture under the chosen shape, or under the last one when none is chosen.

    A shape that is no upright rectangle counts with the rectangle around it.

    Raises
    ------
    ValueError
        When there is no shape, or it lies beside the image.
    """
    if not len(shapes.data):
        raise ValueError(
            f"{shapes.name} is empty. Draw a rectangle around what is to be segmented."
        )
    chosen = sorted(shapes.selected_data)
    corners = np.asarray(shapes.data[chosen[-1] if chosen else -1], dtype=float)
    places = np.array([layer.world_to_data(_world(shapes, layer, corner)) for corner in corners])
    finest = layer.data[0].shape if layer.multiscale else layer.data.shape
    kept = [axis for axis in range(layer.ndim) if axis != channel_axis][-2:]
    parts = []
    lengths = plane_shape(picture.array.shape, picture.axes)
    for axis, length in zip(kept, lengths, strict=True):
        edges = (places[:, axis] + 0.5) * length / finest[axis]
        start, stop = int(np.floor(edges.min() + 1e-6)), int(np.ceil(edges.max() - 1e-6))
        if stop <= 0 or start >= length:
            raise ValueError(
                f"The rectangle in {shapes.name} lies beside {picture.name}. Draw it on the image."
            )
        start = min(max(start, 0), length - 1)
        parts.append(slice(start, min(max(stop, start + 1), length)))
    return parts[0], parts[1]


def _world(shapes: Shapes, layer: Image, corner: Any) -> np.ndarray[Any, Any]:
    """World coordinates of a corner over the image's axes; axes that the shapes do not have are 0."""
    world = np.asarray(shapes.data_to_world(corner), dtype=float)
    missing = max(0, layer.ndim - len(world))
    return np.concatenate([np.zeros(missing), world])
