"""Labels layers that have an axis of length 1 in place of their image's channels, so that napari's sliders agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from weakref import WeakSet

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_sam2_adapters.widgets.docks.arrays import without_axis
from napari_sam2_adapters.widgets.docks.results import OURS

__all__ = [
    "edit_past_channels",
    "note_spread",
    "plain_labels",
    "plain_matrix",
    "spread_entry",
    "spread_in",
    "spread_of",
    "without",
]

_NAMES = frozenset({"c", "channel", "channels"})
"""What an axis of channels is called, in small letters."""
_KEY = "channel_axis"
_EDITED_PAST: WeakSet[Labels] = WeakSet()

T = TypeVar("T")


def spread_entry(axis: int | None) -> dict[str, Any]:
    """For our entry in the metadata of a layer that has this axis; nothing for None."""
    return {} if axis is None else {_KEY: axis}


def spread_in(
    metadata: Mapping[str, Any], shape: Sequence[int], names: Sequence[object] = ()
) -> int | None:
    """The axis that a layer of this shape says it has in place of channels, or calls so; None where it has none."""
    axis = metadata.get(OURS, {}).get(_KEY)
    if axis is None:
        called = (at for at, name in enumerate(names) if str(name).lower() in _NAMES)
        axis = next(called, None)
    return axis if axis is not None and axis < len(shape) and shape[axis] == 1 else None


def spread_of(layer: Labels) -> int | None:
    """The axis that a layer has in place of channels; None where it has none."""
    shape = (layer.data[0] if layer.multiscale else layer.data).shape
    return spread_in(layer.metadata, shape, layer.axis_labels)


def note_spread(layer: Labels, axis: int) -> None:
    """Let a layer say for good that this axis of it is in place of channels, so that it is saved and measured without."""
    entry = layer.metadata.get(OURS, {})
    layer.metadata = {**layer.metadata, OURS: {**entry, **spread_entry(axis)}}


def edit_past_channels(layer: Labels) -> None:
    """Let napari's number of edit dimensions pass over the axis in place of channels.

    It counts as one of them there, so that filling in three dimensions would fill a single slice.
    """
    if layer in _EDITED_PAST:
        return
    _EDITED_PAST.add(layer)
    before = layer.n_edit_dimensions

    def pass_over(event: Any) -> None:
        nonlocal before
        edited: Labels = event.source
        number, axis = edited.n_edit_dimensions, spread_of(edited)
        step = 1 if number > before else -1
        before = number
        if axis is not None and 2 < number == edited.ndim - axis < edited.ndim:
            edited.n_edit_dimensions = number + step

    layer.events.n_edit_dimensions.connect(pass_over)


def without(axis: int | None, values: Sequence[T]) -> list[T]:
    """Names, units or numbers of a layer's axes but this one."""
    return [value for place, value in enumerate(values) if place != axis]


def plain_matrix(matrix: NDArray[np.float64], axis: int | None) -> NDArray[np.float64]:
    """Homogeneous matrix of a layer without this axis."""
    kept = without(axis, range(len(matrix)))
    return matrix[np.ix_(kept, kept)]


def plain_labels(layer: Labels) -> Any:
    """The array of a layer of one resolution without this axis, to read from and write into."""
    return without_axis(layer.data, spread_of(layer))
