"""Whether labels lie on their image: pixel by pixel in their arrays, and where the viewer shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_sam2_adapters.data.formats.patient_space import length_factor, shifted_px
from napari_sam2_adapters.widgets.docks.layers import Picture, placement

__all__ = ["elsewhere", "misfit"]


def misfit(layer: Labels, picture: Picture) -> str:
    """Why labels do not lie on an image pixel by pixel as napari shows them, and the mend; empty when they do."""
    shape = tuple(layer.data.shape)
    if shape == picture.layer_shape:
        return ""
    if shape == picture.label_shape:
        return (
            f"{layer.name} has no axis in place of the channels of {picture.name}, so napari shows it on wrong slices. "
            "Press Line up, which adds a layer of it that lies on the image, or add labels with + and paint in these."
        )
    return (
        f"{layer.name} has the shape {shape}, but the image needs {picture.layer_shape}. "
        "Choose labels that belong to it, or another channel axis or level."
    )


def elsewhere(layer: Labels, picture: Picture) -> str:
    """That labels of the image's shape are shown elsewhere than the image, and what is learnt then; empty when they are not."""
    own = placement(layer)
    shift = shifted_px(_matrix(picture.place), _in_units_of(picture.place, own), layer.data.shape)
    if shift <= 1:
        return ""
    return (
        f"In the viewer, {layer.name} lies elsewhere than {picture.name}, by up to {shift:,.0f} px: their scale, place or direction differs. "
        "They are learnt from pixel by pixel, as they are stored; if that is wrong, resample the labels on the image, or add new ones with +."
    )


def _matrix(place: Mapping[str, Any]) -> NDArray[np.float64]:
    """Homogeneous matrix from pixels to the world, of the keywords of `placement`."""
    number = len(place["scale"])
    matrix = np.eye(number + 1)
    matrix[:number, :number] = place["rotate"] @ place["shear"] @ np.diag(place["scale"])
    matrix[:number, number] = place["translate"]
    return np.asarray(place["affine"] @ matrix, dtype=float)


def _in_units_of(wanted: Mapping[str, Any], place: Mapping[str, Any]) -> NDArray[np.float64]:
    """Matrix of a place in the units of another one; napari, too, takes numbers in units that cannot be converted as they are."""
    pairs = zip(place["units"], wanted["units"], strict=True)
    factors = [length_factor(str(unit), str(other)) for unit, other in pairs]
    return np.diag([*factors, 1.0]) @ _matrix(place)
