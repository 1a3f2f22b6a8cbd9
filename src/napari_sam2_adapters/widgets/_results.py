"""Labels layers of our own, known by their metadata: results never go into a user's layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from napari.layers import Labels, Layer
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_sam2_adapters.config import ClassInfo

__all__ = ["OURS", "class_colormap", "class_features", "find_own", "is_own", "put_labels"]

OURS = "napari_sam2_adapters"
"""Key of our entry in the metadata of the layers that we made."""


def class_colormap(
    classes: Sequence[ClassInfo], *, show_background: bool = False
) -> DirectLabelColormap:
    """Colours of the classes; what is in no class is transparent, and so is background unless it is to be shown."""
    colors: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for info in classes:
        background = info.value == 0 or info.name.lower() == "background"
        hidden = background and not show_background
        colors[info.value] = info.color + "00" if hidden else info.color
    return DirectLabelColormap(color_dict=colors)


def class_features(classes: Sequence[ClassInfo]) -> dict[str, list[Any]]:
    """Table that makes napari's status bar say the class: columns ``index`` and ``class``."""
    return {"index": [info.value for info in classes], "class": [info.name for info in classes]}


def is_own(layer: Layer) -> bool:
    """Whether we made this layer."""
    return OURS in layer.metadata


def find_own(viewer: Any, role: str, image: Layer) -> Labels | None:
    """Our layer of this role for this image, if the viewer has one."""
    wanted = {"role": role, "image": str(image.unique_id)}
    for layer in viewer.layers:
        entry = layer.metadata.get(OURS, {})
        if isinstance(layer, Labels) and {key: entry.get(key) for key in wanted} == wanted:
            return layer
    return None


def put_labels(
    viewer: Any,
    image: Layer,
    data: NDArray[np.integer] | Any,
    classes: Sequence[ClassInfo],
    *,
    role: str,
    name: str,
    place: Mapping[str, Any],
    provenance: Mapping[str, Any] | None = None,
) -> Labels:
    """Show labels on their image, in our earlier layer of this role if there is one.

    Parameters
    ----------
    viewer
        The napari viewer.
    image
        Image layer that the labels belong to.
    data
        Label values.
    classes
        Their names and colours.
    role
        What the layer is for; a viewer has at most one layer of each role for an image.
    name
        Name of a new layer.
    place
        Keywords of `placement`.
    provenance
        Where the labels come from, for the layer's metadata.
    """
    metadata = {
        OURS: {"role": role, "image": str(image.unique_id), **(provenance or {})},
    }
    layer = find_own(viewer, role, image)
    if layer is not None and layer.ndim != len(place["scale"]):
        viewer.layers.remove(layer)
        layer = None
    if layer is None:
        return viewer.add_labels(
            data,
            name=name,
            colormap=class_colormap(classes),
            features=class_features(classes),
            metadata=metadata,
            **place,
        )
    if layer.data is not data:
        layer.data = data
    layer.colormap = class_colormap(classes)
    layer.features = class_features(classes)
    layer.metadata = metadata
    for key, value in place.items():
        setattr(layer, key, value)
    layer.refresh()
    return layer
