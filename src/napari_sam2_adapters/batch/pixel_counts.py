"""How many pixels each class has in labels of any size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.axes import ArrayLike, plane_indices, plane_shape, read_plane

__all__ = ["Counts", "count_values", "name_counts"]

Counts = Mapping[int, int]
"""Pixels by label value."""

_ROWS = 512


def count_values(labels: ArrayLike, axes: str) -> Counts:
    """Pixels of each value that occurs, read by rows of a plane."""
    total: Counter[int] = Counter()
    height, _ = plane_shape(labels.shape, axes)
    for index in plane_indices(labels.shape, axes):
        for row in range(0, height, _ROWS):
            found = np.bincount(read_plane(labels, axes, index, slice(row, row + _ROWS)).ravel())
            total.update({value: int(count) for value, count in enumerate(found) if count})
    return total


def name_counts(counts: Counts, classes: Sequence[ClassInfo]) -> dict[str, int]:
    """Pixels by the name of the class; classes of one name are counted together."""
    named: dict[str, int] = {}
    for info in classes:
        named[info.name] = named.get(info.name, 0) + counts.get(info.value, 0)
    return named
