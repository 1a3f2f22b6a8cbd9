"""The measurements of a whole image as one table, which has its columns also where there is nothing to measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from napari_sam2_adapters.data.axes import ArrayLike
from napari_sam2_adapters.inference.measure import Ruler, Table, join_tables, measure

__all__ = ["measured_table"]


def measured_table(
    labels: ArrayLike,
    axes: str,
    ruler: Ruler,
    *,
    together: Literal["slices", "volumes"] = "slices",
    image: ArrayLike | None = None,
    image_axes: str | None = None,
    names: Mapping[int, str] | None = None,
) -> Table:
    """All rows of `measure`, whose arguments these are; where no pixel has a label, the columns without a row.

    Raises
    ------
    ValueError
        When the image does not fit the labels.
    """
    of_image = image_axes or axes
    parts = measure(
        labels, axes, ruler, together=together, image=image, image_axes=of_image, names=names
    )
    table = join_tables([part.table for part in parts])
    if table:
        return table
    probe = np.ones([3 if axis in "ZYX" else 1 for axis in axes], np.uint8)
    grey = None
    if image is not None:
        sides = dict(zip(axes, probe.shape, strict=True))
        lengths = zip(image.shape, of_image, strict=True)
        grey = np.zeros([sides.get(axis, int(length)) for length, axis in lengths], image.dtype)
    (one, *_) = measure(
        probe, axes, ruler, together=together, image=grey, image_axes=of_image, names=names
    )
    return {name: column[:0] for name, column in one.table.items()}
