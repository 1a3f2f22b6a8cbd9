"""Labels without an axis in place of their image's channels, in a layer that has it: napari takes a missing axis for the first."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_sam2_adapters.widgets.docks.arrays import with_axis
from napari_sam2_adapters.widgets.docks.layers import Picture
from napari_sam2_adapters.widgets.docks.results import OURS
from napari_sam2_adapters.widgets.docks.spread import spread_entry
from napari_sam2_adapters.widgets.docks.turned import direction_in, turned_entry

__all__ = ["add_lined_up", "can_be_lined_up"]


def can_be_lined_up(layer: Labels, picture: Picture) -> bool:
    """Whether labels lack nothing but the axis in place of the channels."""
    return (
        picture.spread is not None
        and not layer.multiscale
        and tuple(layer.data.shape) == picture.label_shape
    )


def add_lined_up(viewer: Any, layer: Labels, image: Image, picture: Picture) -> Labels:
    """Add a layer of these labels, names and colours that lies on the slices of the image; the other one is hidden, and stays as it is.

    Labels in memory are copied. Those on disk are not, so that what is painted in the new layer is written there.

    Parameters
    ----------
    viewer
        The napari viewer.
    layer
        The labels.
    image, picture
        The image layer, and what was taken from it.
    """
    colors = layer.colormap
    look = (
        {"colormap": DirectLabelColormap(color_dict=dict(colors.color_dict))}
        if isinstance(colors, DirectLabelColormap)
        else {}
    )
    entry = spread_entry(picture.spread) | turned_entry(direction_in(image.metadata))
    lined_up: Labels = viewer.add_labels(
        with_axis(_apart(layer.data), picture.spread),
        name=f"{layer.name} – lined up",
        metadata={**layer.metadata, OURS: entry},
        features=layer.features.copy(),
        opacity=layer.opacity,
        **look,
        **picture.place,
    )
    layer.visible = False
    return lined_up


def _apart(array: Any) -> Any:
    """Pixels that are changed without changing the array's, if it is one in memory."""
    return array.copy() if isinstance(array, np.ndarray) else array
