"""Table of what is done to each class after the network: smallest object, holes, the largest object alone, single objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.inference.rules import ClassRule, PostprocessConfig
from napari_sam2_adapters.widgets.docks.dock import button, sentence
from napari_sam2_adapters.widgets.docks.layers import Picture

__all__ = ["TidyForm"]

_CLASS, _SMALLEST, _HOLES, _LARGEST, _OBJECTS = range(5)
_FIELDS = {
    _SMALLEST: "smallest_px",
    _HOLES: "fill_holes_px",
    _LARGEST: "only_largest",
    _OBJECTS: "objects",
}
_MOST_ROWS, _MOST_LINES = 6, 2
_WIDTHS_PX = {_SMALLEST: 62, _HOLES: 52, _LARGEST: 54, _OBJECTS: 54}
"""Narrow, since names of classes need the room."""
_NARROW = "QSpinBox { min-width: 0px; padding: 0px 3px; }"
"""napari leaves room for the arrows of a number that it shows without them."""

_SYMBOLS = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm"}


class TidyForm(QWidget):
    """One row per class, whether slices belong together, and a button that does it to the result that is there.

    Parameters
    ----------
    parent
        Qt parent.
    """

    applied = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._classes: tuple[ClassInfo, ...] = ()
        self.table = QTableWidget(0, 1 + len(_FIELDS))
        self._picture: Picture | None = None
        self.sizes = sentence()
        self.together = QComboBox()
        field = PostprocessConfig.model_fields["together"]
        self.together.addItem("in each slice", "slices")
        self.together.addItem("through all slices (3D)", "volumes")
        self.together.setToolTip(field.description or "")
        self.apply_button = button("Apply to the result", "", self.applied.emit)
        self._lay_out()
        self.together.currentIndexChanged.connect(lambda _: self._say_size())
        self.show_image(None)
        self.offer(False)

    @property
    def rules(self) -> PostprocessConfig:
        """What is to be done, as the table stands."""
        rules = []
        for row, info in enumerate(self._classes):
            values: dict[str, Any] = {
                name: _value(self.table.cellWidget(row, column)) for column, name in _FIELDS.items()
            }
            rules.append(ClassRule(value=info.value, **values))
        return PostprocessConfig(rules=tuple(rules), together=self.together.currentData())

    def offer(self, there: bool) -> None:
        """Let it be applied while there is a result and nothing is at work."""
        self.apply_button.setEnabled(there)
        self.apply_button.setToolTip(
            "Do this to what is segmented already; the network need not run again."
            if there
            else "There is no finished result to work on: segment the image first."
        )

    def show_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Offer these classes; what was set for a class of the same value stays."""
        before = {rule.value: rule for rule in self.rules.rules}
        self._classes = tuple(classes)
        self.table.setRowCount(len(classes))
        for row, info in enumerate(classes):
            self.table.setItem(row, _CLASS, _class_item(info))
            rule = before.get(info.value, ClassRule(value=info.value))
            for column, name in _FIELDS.items():
                self.table.setCellWidget(
                    row, column, _editor(name, getattr(rule, name), f"{info.name}: ")
                )
        self._fit()

    def show_image(self, picture: Picture | None) -> None:
        """Ask whether slices belong together only where there are several, and say how large a pixel is."""
        self._picture = picture
        stack = picture is not None and "Z" in picture.axes
        self._form.setVisible(stack)
        if not stack:
            self.together.setCurrentIndex(0)
        self._say_size()

    def _say_size(self) -> None:
        deep = self.together.currentData() == "volumes"
        what = "voxels" if deep else "pixels"
        units = [] if self._picture is None else [str(u) for u in self._picture.placement["units"]]
        sides = units[-3:] if deep else units[-2:]
        if self._picture is None or len(set(sides)) != 1 or sides[0] not in _SYMBOLS:
            self.sizes.setText(f"Sizes in {what}.")
            return
        content = float(np.prod(np.abs(self._picture.placement["scale"][-len(sides) :])))
        power = "³" if deep else "²"
        self.sizes.setText(f"Sizes in {what} of {content:.4g} {_SYMBOLS[sides[0]]}{power}.")

    def _lay_out(self) -> None:
        titles = ["Class", "Smallest", "Fill\nholes", "Largest", "Objects"]
        for column, title in enumerate(titles):
            item = QTableWidgetItem(title)
            name = _FIELDS.get(column)
            if name:
                item.setToolTip(ClassRule.model_fields[name].description or "")
            self.table.setHorizontalHeaderItem(column, item)
        self.table.verticalHeader().hide()
        self.table.setToolTip("What is done to each class after the network; – leaves it as it is.")
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(_CLASS, QHeaderView.ResizeMode.Stretch)
        for column, width in _WIDTHS_PX.items():
            self.table.setColumnWidth(column, width)
        self._form = QWidget()
        row = QHBoxLayout(self._form)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("Connected"))
        row.addWidget(self.together, stretch=1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addWidget(self.sizes)
        layout.addWidget(self._form)
        layout.addWidget(self.apply_button)
        self._fit()

    def _fit(self) -> None:
        """As tall as its rows, up to six of them; what is left out of a long name is in its tooltip."""
        self.table.resizeRowsToContents()
        line = self.table.fontMetrics().lineSpacing()
        tallest = self.table.verticalHeader().defaultSectionSize() + (_MOST_LINES - 1) * line
        for row in range(self.table.rowCount()):
            self.table.setRowHeight(row, min(self.table.rowHeight(row), tallest))
        rows = range(min(self.table.rowCount(), _MOST_ROWS))
        height = self.table.horizontalHeader().sizeHint().height() + 2 * self.table.frameWidth()
        self.table.setFixedHeight(height + sum(self.table.rowHeight(row) for row in rows))


def _class_item(info: ClassInfo) -> QTableWidgetItem:
    swatch = QPixmap(10, 10)
    swatch.fill(QColor(info.color))
    item = QTableWidgetItem(QIcon(swatch), info.name)
    item.setToolTip(f"{info.value}: {info.name}")
    item.setFlags(Qt.ItemFlag.ItemIsEnabled)
    return item


def _editor(name: str, value: Any, prefix: str) -> QWidget:
    field = ClassRule.model_fields[name]
    if field.annotation is bool:
        box: QWidget = QWidget()
        check = QCheckBox()
        check.setChecked(value)
        layout = QHBoxLayout(box)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(check, alignment=Qt.AlignmentFlag.AlignCenter)
        check.setToolTip(prefix + (field.description or ""))
        return box
    number = QSpinBox()
    number.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    number.setRange(0, next(mark.le for mark in field.metadata if hasattr(mark, "le")))
    number.setSpecialValueText("–")
    number.setStyleSheet(_NARROW)
    number.setAlignment(Qt.AlignmentFlag.AlignRight)
    number.setKeyboardTracking(False)
    number.setValue(value)
    number.setToolTip(prefix + (field.description or ""))
    return number


def _value(widget: QWidget) -> int | bool:
    if isinstance(widget, QSpinBox):
        return int(widget.value())
    return bool(widget.findChild(QCheckBox).isChecked())
