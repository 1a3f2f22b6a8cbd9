"""The labels layer in which a training shows what it has learnt on the slice on show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.layers import Image, Layer

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.widgets._layers import (
    Picture,
    current_plane,
    visible_region,
)
from napari_sam2_adapters.widgets._results import put_labels
from napari_sam2_adapters.widgets._segmenting import new_label_array
from napari_sam2_adapters.widgets._training import Place, Previewed

__all__ = ["PreviewLayer"]

MOST_PX = 512
"""Side of the largest part that is previewed, so that previews stay short."""


class PreviewLayer:
    """Our layer for previews of one image; it is added with the first preview.

    Parameters
    ----------
    viewer
        The napari viewer.
    image
        The image layer.
    picture
        What was taken from it.
    channel_axis
        Its channel axis.
    classes
        Names and colours.
    """

    def __init__(
        self,
        viewer: Any,
        image: Image,
        picture: Picture,
        channel_axis: int | None,
        classes: Sequence[ClassInfo],
    ) -> None:
        self._viewer, self._image, self._picture = viewer, image, picture
        self._channel_axis, self._classes = channel_axis, classes
        self._labels: Any = None
        self._layer: Layer | None = None

    def place_on_show(self) -> Place:
        """Plane and region that the canvas shows."""
        plane = current_plane(
            self._image, self._viewer.dims.point, self._picture, self._channel_axis
        )
        rows, columns = visible_region(self._image, self._picture, self._channel_axis, MOST_PX)
        return Place(plane, rows, columns)

    def show(self, previewed: Previewed, below: Layer | None) -> None:
        """Put a preview on its place, in a layer below the strokes; the active layer stays active."""
        place = previewed.place
        if self._labels is None:
            self._labels = new_label_array(self._picture.label_shape, previewed.labels.dtype)
        self._labels[(*place.plane, place.rows, place.columns)] = previewed.labels
        if self._layer is not None and self._layer in self._viewer.layers:
            self._layer.refresh()
            return
        active = self._viewer.layers.selection.active
        self._layer = put_labels(
            self._viewer,
            self._image,
            self._labels,
            self._classes,
            role="preview",
            name=f"{self._picture.name} – preview",
            place=self._picture.placement,
        )
        self._layer.opacity = 0.4
        layers = self._viewer.layers
        if below is not None and below in layers:
            layers.move(layers.index(self._layer), layers.index(below))
        if active is not None and active in layers:
            layers.selection.active = active
