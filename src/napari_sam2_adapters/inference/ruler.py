"""From positions in an array to lengths, areas and places in the world, and what their columns in a table are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.data.units import (
    file_symbol,
    length_in_metres,
    time_symbol,
    time_unit_name,
    unit_name,
)

__all__ = ["Ruler"]


@dataclass(frozen=True)
class Ruler:
    """From pixels to the world.

    Attributes
    ----------
    matrix
        (n + 1, n + 1), homogeneous, from positions in the labels (pixel centres at whole numbers) to world coordinates.
    unit
        Unit of the world along Y and X, such as ``micrometer``; None for pixels.
    time_unit
        Unit of the world along T, such as ``second``; None for frames, and where it is not known.
    """

    matrix: NDArray[np.float64]
    unit: str | None = None
    time_unit: str | None = None

    @property
    def symbol(self) -> str:
        """Unit in a column's name: ``um``, ``nm``, ``px`` and so on."""
        name = unit_name(self.unit)
        if name is None:
            return "px"
        known = length_in_metres(name) is not None
        return (file_symbol(name, ascii_only=True) if known else name).replace(" ", "_")

    def column(self, name: str, axis: str) -> str:
        """Name of a column with places along an axis, and with its unit if it has one."""
        start = f"{name}_{axis.lower()}"
        if axis != "T":
            return f"{start}_{self.symbol}"
        known = time_unit_name(self.time_unit)
        return start if known is None else f"{start}_{time_symbol(known, ascii_only=True)}"

    def spacing(self, axes: Sequence[int]) -> tuple[float, ...]:
        """Length of a pixel along some axes."""
        return tuple(float(np.linalg.norm(self.matrix[:-1, axis])) for axis in axes)

    def content(self, axes: Sequence[int]) -> float:
        """Area or volume of a pixel over some axes; exact also for sheared images."""
        edges = self.matrix[:-1, list(axes)]
        return float(np.sqrt(np.linalg.det(edges.T @ edges)))

    def to_world(self, positions: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """World coordinates (m, n) of positions (m, n)."""
        return np.asarray(positions @ self.matrix[:-1, :-1].T + self.matrix[:-1, -1])
