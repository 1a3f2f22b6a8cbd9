"""The class table: value, name, colour and labelled pixels of each class of a labels layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_sam2_adapters.config import ClassInfo, default_classes
from napari_sam2_adapters.data.axes import ArrayLike
from napari_sam2_adapters.widgets._results import class_features

__all__ = ["ClassTable", "classes_of_layer", "count_values", "name_classes"]

ZeroIs = Literal["unlabelled", "background"]

_VALUE, _NAME, _COLOR, _PIXELS = range(4)
_NAME_COLUMNS = ("class", "name", "label")
_MOST_ROWS = 255


def count_values(labels: ArrayLike) -> dict[int, int]:
    """Pixels of each value in a label array, read plane by plane; negative values are left out."""
    counts: dict[int, int] = {}
    for index in np.ndindex(*labels.shape[:-2]):
        plane = np.asarray(labels[index])
        values, pixels = np.unique(plane, return_counts=True)
        for value, number in zip(values.tolist(), pixels.tolist(), strict=True):
            if value >= 0:
                counts[value] = counts.get(value, 0) + number
    return counts


def classes_of_layer(
    layer: Labels, counts: Mapping[int, int], zero_is: ZeroIs
) -> tuple[ClassInfo, ...]:
    """Classes for the values that occur, with the names and colours that the layer has for them."""
    values = [value for value in counts if value > 0 or zero_is == "background"][:_MOST_ROWS]
    names = _names(layer)
    return tuple(
        info.model_copy(
            update={
                "name": names.get(info.value, info.name),
                "color": _color(layer, info) if info.value else info.color,
            }
        )
        for info in default_classes(values)
    )


def name_classes(layer: Labels, classes: tuple[ClassInfo, ...]) -> None:
    """Give a layer these names and colours, so that its picture and napari's status bar show them."""
    others = {value: name for value, name in _names(layer).items() if value >= 0}
    own = {info.value for info in classes}
    kept = [ClassInfo(value=value, name=name) for value, name in others.items() if value not in own]
    layer.features = class_features(sorted([*classes, *kept], key=lambda info: info.value))
    colors: dict[int | None, Any] = {None: "#ffffff", 0: "transparent"}
    colors |= {info.value: info.color for info in classes if info.value > 0}
    layer.colormap = DirectLabelColormap(color_dict=colors)


class ClassTable(QTableWidget):
    """Table of classes whose names and colours can be edited."""

    classes_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 4, parent)
        self._classes: tuple[ClassInfo, ...] = ()
        self.setHorizontalHeaderLabels(["Value", "Name", "Colour", "Pixels"])
        self.verticalHeader().hide()
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setToolTip("Double-click a name to change it, or a colour to choose another.")
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        self.itemChanged.connect(self._take_name)
        self.cellDoubleClicked.connect(self._choose_color)
        self._fit()

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """The classes with the names and colours in the table."""
        return self._classes

    def show_classes(self, classes: tuple[ClassInfo, ...], counts: Mapping[int, int]) -> None:
        """Fill the table."""
        self._classes = classes
        self.blockSignals(True)
        self.setRowCount(len(classes))
        for row, info in enumerate(classes):
            texts = (str(info.value), info.name, "", f"{counts.get(info.value, 0):,}")
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                flags = Qt.ItemFlag.ItemIsEnabled
                if column == _NAME:
                    flags |= Qt.ItemFlag.ItemIsEditable
                item.setFlags(flags)
                if column in (_VALUE, _PIXELS):
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                self.setItem(row, column, item)
            self.item(row, _COLOR).setBackground(QColor(info.color))
        self.blockSignals(False)
        self._fit()

    def _take_name(self, item: QTableWidgetItem) -> None:
        if item.column() != _NAME:
            return
        name = item.text().strip()[:80]
        others = [info.name for i, info in enumerate(self._classes) if i != item.row()]
        if not name or name in others:  # scores go by name, so names are unique
            self.blockSignals(True)
            item.setText(self._classes[item.row()].name)
            self.blockSignals(False)
            return
        self._change(item.row(), name=name)

    def _choose_color(self, row: int, column: int) -> None:
        if column != _COLOR:
            return
        info = self._classes[row]
        color = QColorDialog.getColor(QColor(info.color), self, f"Colour of {info.name}")
        if color.isValid():
            self.item(row, _COLOR).setBackground(color)
            self._change(row, color=color.name())

    def _change(self, row: int, **update: str) -> None:
        classes = list(self._classes)
        classes[row] = classes[row].model_copy(update=update)
        self._classes = tuple(classes)
        self.classes_changed.emit()

    def _fit(self) -> None:
        """As tall as its rows, up to eight of them."""
        rows = min(max(self.rowCount(), 2), 8)
        height = self.horizontalHeader().sizeHint().height() + 2 * self.frameWidth()
        self.setFixedHeight(height + rows * self.verticalHeader().defaultSectionSize())


def _names(layer: Labels) -> dict[int, str]:
    """Names by value from the layer's features, if it has any."""
    features = layer.features
    column = next((name for name in _NAME_COLUMNS if name in features.columns), None)
    if column is None:
        return {}
    values = features["index"] if "index" in features.columns else range(len(features))
    pairs = zip(values, features[column], strict=True)
    return {int(value): str(name) for value, name in pairs if isinstance(name, str) and name}


def _color(layer: Labels, info: ClassInfo) -> str:
    """Colour that napari draws this value in; the class's own where it draws none."""
    color = np.asarray(layer.colormap.map(info.value), dtype=float).ravel()
    if color.size < 4 or color[3] == 0:
        return info.color
    red, green, blue = (round(255 * float(part)) for part in color[:3])
    return f"#{red:02x}{green:02x}{blue:02x}"
