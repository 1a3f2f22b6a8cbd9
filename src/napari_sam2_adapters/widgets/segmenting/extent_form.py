"""Choice of what part of an image is segmented: which slices, and which part of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari.layers import Image, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QLabel, QSpinBox, QWidget

from napari_sam2_adapters.data.axes import label_axes, plane_indices
from napari_sam2_adapters.inference.region import Region
from napari_sam2_adapters.widgets.docks.dock import button
from napari_sam2_adapters.widgets.docks.layer_choice import LayerChoice
from napari_sam2_adapters.widgets.docks.layers import Picture, current_plane
from napari_sam2_adapters.widgets.segmenting.regions import rectangle_region, shown_region

__all__ = ["ExtentForm"]

_CURRENT, _ALL, _RANGE, _BLOCK = "current", "all", "range", "block"
_WHOLE, _SHOWN, _RECTANGLE = "whole", "shown", "rectangle"


class ExtentForm(QWidget):
    """Drop-downs for slices and area, with what each of them asks for.

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
        self._leading: tuple[tuple[str, int], ...] | None = None
        self._picture: Picture | None = None
        self._followed: Shapes | None = None
        self.planes = QComboBox()
        self.planes.setToolTip("Which slices to segment.")
        self.first, self.last = QSpinBox(), QSpinBox()
        for box in (self.first, self.last):
            box.setToolTip("As on the slider.")
        self.area = QComboBox()
        self.area.setToolTip("Which part of each slice to segment.")
        self.area.addItem("the whole slice", _WHOLE)
        self.area.addItem("what the window shows", _SHOWN)
        self.area.addItem("a rectangle", _RECTANGLE)
        self.shapes = LayerChoice(
            viewer, lambda layer: isinstance(layer, Shapes), "choose a shapes layer"
        )
        self.shapes.setToolTip("The chosen shape of this layer, or the last one.")
        self.draw = button("Draw", "Draw a rectangle on the image with the mouse.", self.add_shapes)
        self._lay_out()
        self.planes.currentIndexChanged.connect(lambda _: self._show_rows())
        self.area.currentIndexChanged.connect(lambda _: self._show_rows())
        self.shapes.layer_changed.connect(self._follow_shapes)
        viewer.dims.events.ndisplay.connect(self._tell)
        viewer.dims.events.order.connect(self._tell)
        self.first.valueChanged.connect(lambda _: self.changed.emit())
        self.last.valueChanged.connect(lambda _: self.changed.emit())
        self._follow_shapes()
        self._show_rows()

    def fit(self, picture: Picture | None) -> None:
        """Offer what makes sense for an image; None for no image."""
        self._picture = picture
        leading: tuple[tuple[str, int], ...] = ()
        if picture is not None:
            leading = tuple(
                (axis, int(n))
                for axis, n in zip(picture.axes, picture.array.shape, strict=True)
                if axis not in "YXC"
            )
        if leading == self._leading:
            return
        before, self._leading = self._leading or (), leading
        alike = [axis for axis, _ in before] == [axis for axis, _ in leading]
        chosen = self.planes.currentData() if alike else None  # of a stack that has grown, say
        self.planes.blockSignals(True)
        self.planes.clear()
        for text, what in _plane_choices(leading):
            self.planes.addItem(text, what)
        self.planes.setCurrentIndex(max(0, self.planes.findData(chosen)))
        self.planes.blockSignals(False)
        if leading:
            longest = leading[-1][1] - 1
            for box, value in ((self.first, 0), (self.last, longest)):
                box.blockSignals(True)
                box.setRange(0, longest)
                box.setValue(value)
                box.setToolTip(f"As on the slider: 0 to {longest}.")
                box.blockSignals(False)
        self._show_rows()

    def region(self, layer: Image, picture: Picture, channel_axis: int | None) -> Region:
        """What is chosen, the slice on show first.

        Raises
        ------
        ValueError
            When the choice leaves nothing of the image.
        """
        rows, columns = slice(None), slice(None)
        if self.area.currentData() == _SHOWN:
            rows, columns = shown_region(self.viewer, layer, picture, channel_axis)
        elif self.area.currentData() == _RECTANGLE:
            if self.shapes.layer is None:
                raise ValueError("Draw a rectangle around what is to be segmented.")
            rows, columns = rectangle_region(self.shapes.layer, layer, picture, channel_axis)
        on_show = current_plane(layer, self.viewer.dims.point, picture, channel_axis)
        planes = self._planes(picture, on_show)
        first = [plane for plane in planes if plane == on_show]
        return Region((*first, *(plane for plane in planes if plane != on_show)), rows, columns)

    def add_shapes(self) -> None:
        """Add a shapes layer that lies on the image's rows and columns, ready to draw a rectangle in."""
        place = {} if self._picture is None else _last_two(self._picture.placement)
        layer = self.viewer.add_shapes(
            ndim=2,
            name="part to segment",
            edge_color="#ffcc00",
            face_color="transparent",
            edge_width=2,
            **place,
        )
        layer.mode = "add_rectangle"
        self.shapes.layer = layer

    def _follow_shapes(self) -> None:
        """Hear of what is drawn in the chosen layer."""
        if self._followed is not None:
            self._followed.events.data.disconnect(self._tell)
        self._followed = self.shapes.layer
        if self._followed is not None:
            self._followed.events.data.connect(self._tell)
        self.changed.emit()

    def _tell(self, event: object = None) -> None:
        self.changed.emit()

    def _planes(self, picture: Picture, on_show: tuple[int, ...]) -> list[tuple[int, ...]]:
        every = plane_indices(picture.label_shape, label_axes(picture.axes))
        chosen = self.planes.currentData()
        if not on_show or chosen == _ALL:
            return every
        if chosen == _CURRENT:
            return [on_show]
        here = [plane for plane in every if plane[:-1] == on_show[:-1]]
        if chosen == _BLOCK:
            return here
        first, last = self.first.value(), self.last.value()
        if first > last:
            raise ValueError(
                f"The slices begin at {first} and end at {last}. Let the first be the smaller one."
            )
        return [plane for plane in here if first <= plane[-1] <= last]

    def _lay_out(self) -> None:
        self.form = QFormLayout(self)
        self.form.setContentsMargins(0, 0, 0, 0)
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._range = QHBoxLayout()
        self._range.addWidget(self.first, stretch=1)
        self._range.addWidget(QLabel("to"))
        self._range.addWidget(self.last, stretch=1)
        self._rectangle = QHBoxLayout()
        self._rectangle.addWidget(self.shapes, stretch=1)
        self._rectangle.addWidget(self.draw)
        self.form.addRow("Slices", self.planes)
        self.form.addRow("From", self._range)
        self.form.addRow("Area", self.area)
        self.form.addRow("Drawn in", self._rectangle)

    def _show_rows(self) -> None:
        self.form.setRowVisible(self.planes, self.planes.count() > 1)
        self.form.setRowVisible(self._range, self.planes.currentData() == _RANGE)
        self.form.setRowVisible(self._rectangle, self.area.currentData() == _RECTANGLE)
        self.changed.emit()


def _last_two(place: Mapping[str, Any]) -> dict[str, Any]:
    """Transforms over rows and columns alone."""
    square = {name: place[name][-2:, -2:] for name in ("rotate", "shear")}
    lists = {name: place[name][-2:] for name in ("scale", "translate", "units", "axis_labels")}
    return {**lists, **square, "affine": place["affine"][-3:, -3:]}


def _plane_choices(leading: tuple[tuple[str, int], ...]) -> list[tuple[str, str]]:
    """Texts of the drop-down and what they mean, for the axes besides rows, columns and channels."""
    if not leading:
        return [("the image", _ALL)]
    moments = leading[-1][0] == "T"
    if len(leading) == 1:
        whole = "all time points" if moments else "the whole stack"
        part = "some time points" if moments else "some slices"
        return [("the current slice", _CURRENT), (whole, _ALL), (part, _RANGE)]
    block = "this slice at all times" if moments else "the stack at this time"
    part = "some times of this slice" if moments else "some slices at this time"
    return [
        ("the current slice", _CURRENT),
        ("everything", _ALL),
        (block, _BLOCK),
        (part, _RANGE),
    ]
