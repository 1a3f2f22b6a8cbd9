"""The measurements of a whole image as one table, which has its columns also where there is nothing to measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from napari_sam2_adapters.data.axes import ArrayLike
from napari_sam2_adapters.inference.measure import Table, join_tables, measure
from napari_sam2_adapters.inference.ruler import Ruler

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
    parts = measure(
        labels, axes, ruler, together=together, image=image, image_axes=image_axes, names=names
    )
    return join_tables([part.table for part in parts])
