"""Where the pixels of an image lie in the world: their size, unit, origin and direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Geometry"]


@dataclass(frozen=True)
class Geometry:
    """Place of an array in the world; the labels of an image have the geometry of the image.

    All tuples name the spatial axes that the array has, in the order Z, Y, X.

    Attributes
    ----------
    pixel_size
        Length of a pixel along each axis, positive.
    unit
        Unit of pixel sizes and origin, such as ``micrometer``; None for pixels.
    origin
        World coordinates of the centre of the first pixel.
    direction
        Rows of a matrix whose columns are the unit vectors along the array's axes in the world; None when the array
        lies along the axes of the world.
    time_step
        Time between two frames; None when it is not known or there is no time.
    time_unit
        Its unit, such as ``second``.
    """

    pixel_size: tuple[float, ...]
    unit: str | None = None
    origin: tuple[float, ...] | None = None
    direction: tuple[tuple[float, ...], ...] | None = None
    time_step: float | None = None
    time_unit: str | None = None

    def __post_init__(self) -> None:
        count = len(self.pixel_size)
        if count not in (2, 3) or not all(0 < size < np.inf for size in self.pixel_size):
            raise ValueError(
                f"Pixel sizes are 2 or 3 positive lengths (Z, Y, X), got {self.pixel_size}. Correct the pixel size."
            )
        if self.origin is not None and len(self.origin) != count:
            raise ValueError(f"The origin needs {count} coordinates, got {self.origin}.")
        if self.direction is not None and np.shape(self.direction) != (count, count):
            raise ValueError(
                f"The direction needs {count} rows of {count} numbers, got {self.direction}."
            )

    def affine(self) -> NDArray[np.float64]:
        """Homogeneous matrix (n + 1, n + 1) from pixel indices to world coordinates, both in the order Z, Y, X."""
        count = len(self.pixel_size)
        matrix = np.eye(count + 1)
        matrix[:count, :count] = self.rotation() * np.asarray(self.pixel_size)
        if self.origin is not None:
            matrix[:count, count] = self.origin
        return matrix

    def rotation(self) -> NDArray[np.float64]:
        """The direction as a matrix (n, n), the identity when there is none."""
        if self.direction is None:
            return np.eye(len(self.pixel_size))
        return np.asarray(self.direction, dtype=float)

    @property
    def is_straight(self) -> bool:
        """Whether the array lies along the axes of the world, in their direction."""
        return bool(np.allclose(self.rotation(), np.eye(len(self.pixel_size)), atol=1e-6))

    def check_axes(self, axes: str) -> None:
        """Refuse an array that has other spatial axes than this geometry.

        Raises
        ------
        ValueError
            With both.
        """
        spatial = [axis for axis in "ZYX" if axis in axes]
        if len(spatial) != len(self.pixel_size):
            raise ValueError(
                f"The axes {axes} need {len(spatial)} pixel sizes ({', '.join(spatial)}), got {self.pixel_size}."
            )
