"""The labels layers in which a training shows what it has learnt on the slice on show."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from napari.layers import Image, Layer

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.widgets.docks.arrays import new_label_array, with_axis
from napari_sam2_adapters.widgets.docks.layers import (
    Picture,
    current_plane,
    visible_region,
)
from napari_sam2_adapters.widgets.docks.results import (
    add_layer,
    class_colormap,
    class_features,
    is_own,
    make_labels,
)
from napari_sam2_adapters.widgets.docks.turned import direction_in, turned_entry
from napari_sam2_adapters.widgets.fine_tuning.messages import Place, Previewed

__all__ = ["PreviewLayer"]

MOST_PX = 512
"""Side of the largest part that is previewed, so that previews stay short."""


class PreviewLayer:
    """Our layer for previews of one image; it is added with the first preview. It does not keep the image in memory.

    Parameters
    ----------
    viewer
        The napari viewer.
    pair
        Number of the pair that the image belongs to.
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
        pair: int,
        image: Image,
        picture: Picture,
        channel_axis: int | None,
        classes: Sequence[ClassInfo],
    ) -> None:
        self._viewer, self._pair, self._picture = viewer, pair, picture.without_pixels()
        self._image = weakref.ref(image)
        self._channel_axis, self._classes = channel_axis, classes
        self._shape = _shape(image)
        self._labels: Any = None
        self._layer: Layer | None = None
        self._added = False

    @property
    def possible(self) -> bool:
        """Whether the image is still in the viewer and has the shape that it is learnt from."""
        return self._image_there() is not None

    @property
    def visible(self) -> bool:
        """Whether the image is in the viewer and not hidden."""
        image = self._image_there()
        return image is not None and bool(image.visible)

    @property
    def taken_away(self) -> bool:
        """Whether the user has deleted our layer, or painted in it: it is neither put back then nor written into."""
        layer = self._layer
        return layer is not None and (
            not is_own(layer) or (self._added and layer not in self._viewer.layers)
        )

    def shows(self, layer: Layer | None) -> bool:
        """Whether this is the layer whose image is previewed."""
        return layer is not None and layer is self._image()

    def place_on_show(self) -> Place | None:
        """Plane and region that the canvas shows; None when there can be no preview."""
        image = self._image_there()
        if image is None or self.taken_away:
            return None
        plane = current_plane(image, self._viewer.dims.point, self._picture, self._channel_axis)
        rows, columns = visible_region(image, self._picture, self._channel_axis, MOST_PX)
        return Place(plane, rows, columns, self._pair)

    def show(self, previewed: Previewed) -> bool:
        """Put a preview on its place; gives whether the layer is new and is to be added, which takes napari a turn of its own."""
        image = self._image_there()
        if image is None or self.taken_away:
            return False
        place = previewed.place
        if self._labels is None:
            self._labels = new_label_array(self._picture.label_shape, previewed.labels.dtype)
        self._labels[(*place.plane, place.rows, place.columns)] = previewed.labels
        if self._layer is None:
            self._layer = make_labels(
                self._viewer,
                image,
                with_axis(self._labels, self._picture.spread),
                self._classes,
                role="preview",
                name=f"{self._picture.name} – preview",
                place=self._picture.place,
                provenance={
                    "channel_axis": self._picture.spread,
                    **turned_entry(direction_in(image.metadata)),
                },
            )
            self._layer.opacity = 0.4
        else:
            self._layer.refresh()
        return not self._added

    def add(self, below: Layer | None) -> None:
        """Add the layer below the strokes; the active layer stays active."""
        if self._layer is not None and self.possible and not self.taken_away:
            add_layer(self._viewer, self._layer, below=below)
            self._added = True

    def rename(self, classes: Sequence[ClassInfo]) -> None:
        """Show the classes with other names and colours."""
        self._classes = classes
        if self._layer is not None and is_own(self._layer):
            self._layer.features = class_features(classes)
            self._layer.colormap = class_colormap(classes)

    def remove(self) -> None:
        """Take our layer out of the viewer, unless somebody has painted in it: it is theirs then."""
        if self._layer is not None and self._layer in self._viewer.layers and is_own(self._layer):
            self._viewer.layers.remove(self._layer)

    def _image_there(self) -> Image | None:
        """The image, as long as it is in the viewer with the shape that it is learnt from."""
        image = self._image()
        there = image is not None and image in self._viewer.layers and _shape(image) == self._shape
        return image if there else None


def _shape(image: Image) -> tuple[int, ...]:
    data = image.data[0] if image.multiscale else image.data
    return tuple(int(n) for n in data.shape)
