"""An image or label file as it is described to all who use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.axes import ArrayLike
from napari_sam2_adapters.data.geometry import Geometry

__all__ = ["ImageFile"]


@dataclass(frozen=True)
class ImageFile:
    """An image or label file.

    Attributes
    ----------
    array
        numpy array, or a memory map, zarr or dask array of a large file.
    axes
        Names of its axes.
    path
        Where it was read.
    rgb
        Whether the channels are red, green and blue; transparency is left out.
    geometry
        Where its pixels lie; None when the file does not say it.
    channel_names
        Names of the channels, or of the one that has no axis; empty when the file has none.
    levels
        The same image at coarser levels of a pyramid, finest first, with the same axes; empty without a pyramid.
    classes
        Names and colours of label values, if the file has them.
    notices
        What a user should know of how it was read, a sentence each.
    """

    array: ArrayLike
    axes: str
    path: Path
    rgb: bool = False
    geometry: Geometry | None = None
    channel_names: tuple[str, ...] = ()
    levels: tuple[ArrayLike, ...] = ()
    classes: tuple[ClassInfo, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def pixel_size(self) -> tuple[float, ...] | None:
        """Length of a pixel along Z, Y and X, those that ``axes`` has; None when the file does not say it."""
        return None if self.geometry is None else self.geometry.pixel_size

    @property
    def unit(self) -> str | None:
        """Unit of the pixel size, such as ``micrometer``; None for pixels."""
        return None if self.geometry is None else self.geometry.unit
