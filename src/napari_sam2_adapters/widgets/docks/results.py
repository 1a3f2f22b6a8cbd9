"""Layers of our own, known by their metadata: results never go into a user's layer."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import Colormap, DirectLabelColormap
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam2_adapters.config import ClassInfo

__all__ = [
    "OURS",
    "TAKEN",
    "Identified",
    "LayerId",
    "Taken",
    "add_layer",
    "class_colormap",
    "class_features",
    "find_own",
    "is_own",
    "leave_own",
    "make_image",
    "make_labels",
    "make_objects",
]

OURS = "napari_sam2_adapters"
"""Key of our entry in the metadata of the layers that we made."""


class Identified(Protocol):
    """A layer, or who it is."""

    @property
    def unique_id(self) -> Hashable:
        """Which one, among all layers."""


@dataclass(frozen=True)
class LayerId:
    """Who a layer is, without the pixels that the layer itself would keep in memory."""

    unique_id: Hashable


class Taken(QObject):
    """Tells a layer of ours that has just become the user's."""

    over = Signal(object)


TAKEN = Taken()
"""Shared by all docks, because layers are."""


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
    """Whether we made this layer and nobody else has painted in it; a copy of one of ours belongs to whoever made it."""
    entry = layer.metadata.get(OURS)
    return (
        entry is not None
        and entry.get("layer") == str(layer.unique_id)
        and not entry.get("edited", False)
    )


def find_own(viewer: Any, role: str, image: Identified) -> Layer | None:
    """Our layer of this role for this image, if the viewer has one."""
    wanted = {"role": role, "image": str(image.unique_id)}
    for layer in viewer.layers:
        entry = layer.metadata.get(OURS, {})
        if is_own(layer) and {key: entry.get(key) for key in wanted} == wanted:
            return layer
    return None


def leave_own(viewer: Any, image: Identified, title: str) -> None:
    """Leave our layers of the results on an image to the user, each with the title of its adapter in its name."""
    for layer in list(viewer.layers):
        entry = layer.metadata.get(OURS, {})
        if is_own(layer) and entry.get("image") == str(image.unique_id) and "runs" in entry:
            layer.name = f"{layer.name} ({title})"
            _give(layer)


def make_labels(
    viewer: Any,
    image: Identified,
    data: NDArray[np.integer] | Any,
    classes: Sequence[ClassInfo],
    *,
    role: str,
    name: str,
    place: Mapping[str, Any],
    provenance: Mapping[str, Any] | None = None,
) -> Labels:
    """Class labels that lie on their image: our earlier layer of this role with these data, or a new one for `add_layer`.

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
    look = {"colormap": class_colormap(classes), "features": class_features(classes)}
    layer: Labels = _make(viewer, image, data, Labels, role, name, place, provenance, look)
    return layer


def make_objects(
    viewer: Any,
    image: Identified,
    data: NDArray[np.integer] | Any,
    features: Mapping[str, Any],
    *,
    role: str,
    name: str,
    place: Mapping[str, Any],
    provenance: Mapping[str, Any] | None = None,
) -> Labels:
    """Numbered objects in napari's changing colours; arguments as `make_labels`, features with a column ``index``."""
    look = {"features": features}
    layer: Labels = _make(viewer, image, data, Labels, role, name, place, provenance, look)
    return layer


def make_image(
    viewer: Any,
    image: Identified,
    data: NDArray[np.floating] | Any,
    *,
    colormap: str | Colormap,
    visible: bool,
    role: str,
    name: str,
    place: Mapping[str, Any],
    provenance: Mapping[str, Any] | None = None,
) -> Image:
    """Numbers from 0 to 1 over their image; arguments as `make_labels`, colormap and visibility are for a new layer."""
    look = {
        "colormap": colormap,
        "visible": visible,
        "contrast_limits": (0, 1),
        "blending": "additive",
        "rgb": False,
    }
    layer: Image = _make(viewer, image, data, Image, role, name, place, provenance, look)
    return layer


def add_layer(viewer: Any, layer: Layer, *, below: Layer | None = None) -> None:
    """Put a layer on top of the others, or below one of them, if it is not there; what is selected stays selected.

    napari selects what it adds, shows its controls and makes ready to paint in it, in one go. Here it does less at a time, so that the
    window stays smooth.
    """
    layers = viewer.layers
    if layer in layers:
        return
    place = layers.index(below) if below in layers else len(layers)
    selection, selected = layers.selection, set(layers.selection)
    # The polygon and the brush stroke of a Labels layer take half of the time of its insertion. They are private to napari: without
    # them here it only takes longer.
    hidden = [o for o in getattr(layer, "_overlays", {}).values() if o.visible]
    for overlay in hidden:
        overlay.visible = False
    try:
        with selection.events.blocker_all():
            layers.insert(place, layer)
            selection.active = None
            selection.update(selected)
    finally:
        _show_one_by_one(viewer, layer, hidden)


def _show_one_by_one(viewer: Any, layer: Layer, overlays: list[Any]) -> None:
    """Show what belongs to a layer, one after the other, with time for the window in between."""
    if overlays:
        QTimer.singleShot(20, partial(_show_first, viewer, layer, overlays))


def _show_first(viewer: Any, layer: Layer, overlays: list[Any]) -> None:
    overlay, *later = overlays
    # A canvas that hears of an overlay takes its layer in, also one that is not there any more.
    with nullcontext() if layer in viewer.layers else overlay.events.blocked():
        overlay.visible = True
    _show_one_by_one(viewer, layer, later)


def _make(
    viewer: Any,
    image: Identified,
    data: Any,
    kind: type[Layer],
    role: str,
    name: str,
    place: Mapping[str, Any],
    provenance: Mapping[str, Any] | None,
    look: Mapping[str, Any],
) -> Any:
    """Our layer of a role with these data, from earlier or new; an image's look is left as the user has set it."""
    layer = find_own(viewer, role, image)
    if layer is not None and layer.ndim != len(place["scale"]):
        viewer.layers.remove(layer)
        layer = None
    known = layer is not None
    if layer is None:  # it says whose it is before anybody hears of it
        layer = kind(data, name=name, **look, **place)
        if isinstance(layer, Labels):
            layer.events.paint.connect(_take_edit)
            layer.events.labels_update.connect(_take_edit)  # the other one comes when a stroke ends
    entry = {"role": role, "image": str(image.unique_id), **(provenance or {})}
    layer.metadata = {**layer.metadata, OURS: {**entry, "layer": str(layer.unique_id)}}
    if not known:
        return layer
    if layer.data is not data:
        layer.data = data
    changes = {**look, **place} if isinstance(layer, Labels) else place
    for key, value in changes.items():
        setattr(layer, key, value)
    layer.refresh()
    return layer


def _take_edit(event: Any) -> None:
    """From the first dab of the first stroke on, a layer is its painter's."""
    if is_own(event.source):
        _give(event.source)


def _give(layer: Layer) -> None:
    """Leave a layer of ours to the user, and tell those who list layers or write into them."""
    layer.metadata[OURS]["edited"] = True
    TAKEN.over.emit(layer)
