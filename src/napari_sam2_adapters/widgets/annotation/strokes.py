"""An empty labels layer to paint in."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Labels

from napari_sam2_adapters.widgets.docks.layers import Picture
from napari_sam2_adapters.widgets.docks.results import OURS
from napari_sam2_adapters.widgets.docks.spread import edit_past_channels, spread_entry
from napari_sam2_adapters.widgets.docks.turned import direction_in, turned_entry

__all__ = ["add_strokes"]

_BRUSH_PX = 6


def add_strokes(viewer: Any, image: Image, picture: Picture) -> Labels:
    """Add an empty labels layer that lies on an image and follows its sliders, with the brush in hand.

    Parameters
    ----------
    viewer
        The napari viewer.
    image, picture
        The image layer, and what was taken from it.
    """
    entry = spread_entry(picture.spread) | turned_entry(direction_in(image.metadata))
    layer: Labels = viewer.add_labels(
        np.zeros(picture.layer_shape, np.uint8),
        name=f"{picture.name} – strokes",
        metadata={OURS: entry} if entry else {},
        **picture.place,
    )
    layer.brush_size, layer.mode = _BRUSH_PX, "paint"
    edit_past_channels(layer)
    return layer
