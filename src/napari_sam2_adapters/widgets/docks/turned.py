"""Volumes across the axes of the world, such as sagittal ones: napari cannot show them there, so they keep their direction in the metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.widgets.docks.results import OURS

__all__ = ["direction_in", "lies_across", "turn_back", "turned_entry"]

_KEY = "direction"
_LEAST_SEEN = 0.5
"""Of a slice's area, as seen along the slider. What is squeezed further cannot be painted in, and at 0 napari breaks off."""


def lies_across(geometry: Geometry) -> bool:
    """Whether slices of a volume are seen from the side where napari shows them."""
    seen = np.linalg.det(geometry.rotation()[1:, 1:]) if len(geometry.pixel_size) == 3 else 1.0
    return bool(abs(seen) < _LEAST_SEEN)


def turned_entry(
    direction: NDArray[np.float64] | Sequence[Sequence[float]] | None,
) -> dict[str, Any]:
    """For our entry in the metadata of a layer that is shown by its own slices; nothing for None."""
    return {} if direction is None else {_KEY: np.asarray(direction).tolist()}


def direction_in(metadata: Mapping[str, Any]) -> NDArray[np.float64] | None:
    """Direction (Z, Y, X) that a layer lies in, but is not shown in; None where there is none."""
    direction = metadata.get(OURS, {}).get(_KEY)
    return None if direction is None else np.asarray(direction, dtype=float)


def turn_back(
    matrix: NDArray[np.float64], metadata: Mapping[str, Any], axes: str
) -> NDArray[np.float64]:
    """Homogeneous matrix of where an array of these axes lies, from that of where it is shown."""
    direction = direction_in(metadata)
    spatial = [place for place, axis in enumerate(axes) if axis in "ZYX"]
    if direction is None or len(spatial) != len(direction):
        return matrix
    turned = matrix.copy()
    turned[spatial] = direction @ matrix[spatial]
    return turned
