"""Choice of what to learn from: image, labels, what label 0 means, and the class table."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from napari.layers import Labels
from napari.qt.threading import create_worker
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from napari_sam2_adapters.data.dataset import Pair
from napari_sam2_adapters.widgets._classes import (
    ClassTable,
    classes_of_layer,
    count_values,
    name_classes,
)
from napari_sam2_adapters.widgets._dock import button
from napari_sam2_adapters.widgets._image_form import ImageForm
from napari_sam2_adapters.widgets._layer_choice import LayerChoice
from napari_sam2_adapters.widgets._results import is_own

__all__ = ["DataForm"]

_EDITED = ("paint", "data", "labels_update", "set_data")
_QUIET_MS = 300
"""Labels are counted again when nobody has painted for this long."""


class DataForm(QWidget):
    """An image layer with a labels layer and its classes.

    Parameters
    ----------
    viewer
        The napari viewer.
    parent
        Qt parent.
    """

    changed = Signal()

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.counts: dict[int, int] | None = None
        self._followed: Labels | None = None
        self._counting: Any = None
        self.image = ImageForm(viewer)
        self.labels = LayerChoice(
            viewer,
            lambda layer: isinstance(layer, Labels) and not is_own(layer),
            "choose a labels layer",
            guess=False,  # only labels that fit the image are, by _guess_labels
        )
        self.labels.setToolTip("Labels layer with some painted pixels of each class.")
        self.zero = QComboBox()
        self.zero.addItem("not labelled yet – ignored", "unlabelled")
        self.zero.addItem("background – a class of its own", "background")
        self.zero.setToolTip(
            "Whether pixels that you did not paint say nothing, or are background."
        )
        self.table = ClassTable()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_QUIET_MS)
        self._timer.timeout.connect(self.count)
        self._lay_out()
        self.image.choice.layer_changed.connect(self._guess_labels)
        self.labels.layer_changed.connect(self._take_labels)
        self.image.changed.connect(self.changed)
        self.zero.currentIndexChanged.connect(self._show_classes)
        self.table.classes_changed.connect(self._name_classes)
        viewer.layers.events.inserted.connect(self._guess_labels)
        self._guess_labels()
        self._take_labels()

    @property
    def zero_is(self) -> Literal["unlabelled", "background"]:
        """What label 0 means."""
        return self.zero.currentData()  # type: ignore[no-any-return]

    @property
    def pair(self) -> Pair:
        """Arrays of the image and the labels.

        Raises
        ------
        ValueError
            When the layers cannot be taken.
        """
        picture = self.image.picture()
        if self.labels.layer is None:
            raise ValueError("Choose a labels layer, or add one and paint.")
        return Pair(picture.array, self.labels.layer.data, picture.axes, picture.name, picture.rgb)

    def missing(self) -> str:
        """What stands in the way of a start, in words; empty when nothing does."""
        try:
            picture = self.image.picture()
        except ValueError as error:
            return str(error)
        layer = self.labels.layer
        if layer is None:
            return "Choose a labels layer with painted pixels, or add one with + and paint some of each class."
        if layer.multiscale:
            return f"{layer.name} is multiscale; choose a labels layer of one resolution."
        if tuple(layer.data.shape) != picture.label_shape:
            return (
                f"{layer.name} has the shape {tuple(layer.data.shape)}, but the image needs {picture.label_shape}. "
                "Choose labels that belong to it, or another channel axis or level."
            )
        if self.counts is None:
            return "Counting the labelled pixels …"
        return self._missing_classes()

    def _missing_classes(self) -> str:
        counts = self.counts or {}
        painted = [value for value in counts if value > 0]
        if not painted:
            return "Nothing is labelled yet. Paint some pixels of each class with values 1, 2, …"
        if len(painted) > 255:
            return (
                f"The labels have {len(painted)} values. If they number single objects, give all objects of a class "
                "one value."
            )
        if len(self.table.classes) < 2:
            return (
                "Only one class is labelled, but it takes two to tell apart. Paint some background with another value, "
                "or say that 0 is background."
            )
        return ""

    def count(self) -> None:
        """Count the labelled pixels in a worker."""
        layer = self.labels.layer
        if layer is None or layer.multiscale or self._counting is not None:
            if self._counting is not None:
                self._timer.start()
            return
        self._counting = create_worker(count_values, layer.data, _start_thread=False)
        self._counting.returned.connect(self._take_counts)
        self._counting.finished.connect(self._counted)
        self._counting.start()

    def stop_following(self) -> None:
        """Listen to no layer any more."""
        self._timer.stop()
        self._follow(None)

    def add_labels(self) -> None:
        """Add an empty labels layer that lies on the image, and get the brush ready."""
        picture = self.image.picture()
        layer = self.viewer.add_labels(
            np.zeros(picture.label_shape, np.uint8),
            name=f"{picture.name} – strokes",
            **picture.placement,
        )
        layer.brush_size = 6
        layer.mode = "paint"
        self.labels.layer = layer

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.labels, stretch=1)
        self.add = button(
            "+", "Add an empty labels layer on this image, to paint in.", self.add_labels
        )
        self.add.setFixedWidth(28)
        row.addWidget(self.add)
        self.image.form.insertRow(1, "Labels", row)
        self.image.form.addRow("Label 0 is", self.zero)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.image)
        layout.addWidget(self.table)

    def _guess_labels(self, event: object = None) -> None:
        """Choose the only labels that fit the image, hidden ones last, unless some were chosen."""
        image = self.image.layer
        self.add.setEnabled(image is not None)
        if image is None or self.labels.layer is not None:
            return
        arrays = image.data if image.multiscale else [image.data]
        shapes = {tuple(array.shape[: image.ndim]) for array in arrays}
        fitting = [
            layer
            for layer in self.labels.layers
            if not layer.multiscale
            and any(_without_one(shape, tuple(layer.data.shape)) for shape in shapes)
        ]
        visible = [layer for layer in fitting if layer.visible]
        for group in (fitting, visible):
            if len(group) == 1:
                self.labels.layer = group[0]
                return

    def _take_labels(self) -> None:
        self.counts = None
        layer = self.labels.layer
        self._follow(layer)
        self.table.show_classes((), {})
        if layer is not None and not layer.multiscale:
            self.image.fit_labels(tuple(layer.data.shape))
            self.count()
        self.changed.emit()

    def _follow(self, layer: Labels | None) -> None:
        for followed, change in ((self._followed, "disconnect"), (layer, "connect")):
            if followed is not None:
                for name in _EDITED:
                    getattr(getattr(followed.events, name), change)(self._edited)
        self._followed = layer

    def _edited(self, event: object = None) -> None:
        self._timer.start()

    def _counted(self) -> None:
        self._counting = None

    def _take_counts(self, counts: dict[int, int]) -> None:
        if counts == self.counts:
            return
        self.counts = counts
        self._show_classes()

    def _show_classes(self) -> None:
        layer = self.labels.layer
        if layer is not None and self.counts is not None:
            classes = classes_of_layer(layer, self.counts, self.zero_is)
            self.table.show_classes(classes, self.counts)
        self.changed.emit()

    def _name_classes(self) -> None:
        if self.labels.layer is not None:
            name_classes(self.labels.layer, self.table.classes)
        self.changed.emit()


def _without_one(shape: tuple[int, ...], labels: tuple[int, ...]) -> bool:
    """Whether labels of this shape could go with an image, perhaps with channels on one axis."""
    return shape == labels or any(
        shape[:axis] + shape[axis + 1 :] == labels for axis in range(len(shape))
    )
