"""The class table: value, name, colour and labelled pixels of each class."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import QEvent, QModelIndex, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QPainter, QShowEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.widgets.docks.marking import WRONG

__all__ = ["ClassTable"]

_MOST_SHOWN = 8
_VALUE, _NAME, _COLOR, _ON_SLICE, _PIXELS = range(5)
_HEADERS = (
    ("Value", "In the label image."),
    ("Name", "Double-click to change it."),
    ("", "Colour; double-click to choose another."),
    ("Slice", "Labelled pixels on the slice on show."),
    ("In all", "Labelled pixels in all slices of all pairs."),
)


class _Swatch(QStyledItemDelegate):
    """Draws the colour of a class over whatever a chosen row is drawn in."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Fill most of the cell."""
        super().paint(painter, option, index)
        color = index.data(Qt.ItemDataRole.UserRole)
        if color:
            painter.fillRect(option.rect.adjusted(3, 3, -3, -3), QColor(color))


class ClassTable(QTableWidget):
    """Table of classes whose names and colours can be edited; the chosen row is the class to paint with."""

    classes_changed = Signal()
    class_chosen = Signal(int)
    name_refused = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(_HEADERS), parent)
        self._classes: tuple[ClassInfo, ...] = ()
        for column, (title, tip) in enumerate(_HEADERS):
            item = QTableWidgetItem(title)
            item.setToolTip(tip)
            self.setHorizontalHeaderItem(column, item)
        self.verticalHeader().hide()
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setToolTip(
            "Click a class to paint with it, or press 1 while painting for the first class above 0, 2 for the second and so on. "
            "Double-click a name or a colour to change it."
        )
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(24)
        self._swatch = _Swatch(self)
        self.setItemDelegateForColumn(_COLOR, self._swatch)
        self.itemChanged.connect(self._take_name)
        self.itemSelectionChanged.connect(self._tell_chosen)
        self.cellDoubleClicked.connect(self._choose_color)
        self._fit()

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """The classes with the names and colours in the table."""
        return self._classes

    @property
    def chosen(self) -> ClassInfo | None:
        """The class of the chosen row."""
        rows = self.selectionModel().selectedRows()
        return self._classes[rows[0].row()] if rows else None

    def show_classes(
        self,
        classes: tuple[ClassInfo, ...],
        totals: Mapping[int, int],
        on_slice: Mapping[int, int] | None = None,
        *,
        at_once: bool = False,
    ) -> None:
        """Fill the table; while a name is being typed only the numbers are brought up to date.

        Parameters
        ----------
        classes
            In the order of the rows.
        totals, on_slice
            Labelled pixels by value.
        at_once
            Do not wait for the end of typing.
        """
        editing = not at_once and self.state() == QAbstractItemView.State.EditingState
        if not editing and classes != self._classes:
            self._set_rows(classes)
        self.blockSignals(True)
        for row, info in enumerate(self._classes):
            for column, counts in ((_ON_SLICE, on_slice or {}), (_PIXELS, totals)):
                self.item(row, column).setText(f"{counts.get(info.value, 0):,}")
        self.blockSignals(False)

    def choose(self, value: int) -> None:
        """Choose the row of a value, if there is one, without telling anybody."""
        self.blockSignals(True)
        self.clearSelection()
        for row, info in enumerate(self._classes):
            if info.value == value:
                self.selectRow(row)
        self.blockSignals(False)
        self.viewport().update()

    def edit_name(self, value: int) -> None:
        """Let the user type the name of a class."""
        for row, info in enumerate(self._classes):
            if info.value == value:
                self.setFocus()
                self.editItem(self.item(row, _NAME))

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 (Qt's name)
        """Fit anew when the theme gives the rows another height."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self._fit()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 (Qt's name)
        """Fit when the heights are known."""
        super().showEvent(event)
        self._fit()

    def _set_rows(self, classes: tuple[ClassInfo, ...]) -> None:
        chosen = self.chosen
        self.blockSignals(True)
        self._classes = classes
        self.setRowCount(len(classes))
        for row, info in enumerate(classes):
            for column, text in enumerate((str(info.value), info.name, "", "", "")):
                self.setItem(row, column, _cell(text, column))
            self.item(row, _COLOR).setData(Qt.ItemDataRole.UserRole, info.color)
        self.blockSignals(False)
        if chosen is not None:
            self.choose(chosen.value)
        self._fit()

    def _take_name(self, item: QTableWidgetItem) -> None:
        if item.column() != _NAME:
            return
        name = item.text().strip()[:80]
        others = [info.name for i, info in enumerate(self._classes) if i != item.row()]
        self.mark_name(None)
        if not name or name in others:  # scores go by name, so names are unique
            old = self._classes[item.row()].name
            self.mark_name(item.row())
            self.blockSignals(True)
            item.setText(old)
            self.blockSignals(False)
            taken = f"Another class is called “{name}” already" if name else "A class needs a name"
            self.name_refused.emit(f"{taken}, so “{old}” keeps its name. Type another one.")
            return
        self._change(item.row(), name=name)

    def mark_name(self, row: int | None) -> None:
        """Mark the name in a row as one that was not taken, and no other one."""
        self.blockSignals(True)
        for number in range(self.rowCount()):
            wrong = QBrush(QColor(WRONG)) if number == row else None
            self.item(number, _NAME).setData(Qt.ItemDataRole.ForegroundRole, wrong)
        self.blockSignals(False)
        self.viewport().update()

    def _choose_color(self, row: int, column: int) -> None:
        if column != _COLOR:
            return
        info = self._classes[row]
        color = QColorDialog.getColor(QColor(info.color), self, f"Colour of {info.name}")
        if color.isValid():
            self.blockSignals(True)
            self.item(row, _COLOR).setData(Qt.ItemDataRole.UserRole, color.name())
            self.blockSignals(False)
            self._change(row, color=color.name())

    def _tell_chosen(self) -> None:
        if self.chosen is not None:
            self.class_chosen.emit(self.chosen.value)

    def _change(self, row: int, **update: str) -> None:
        classes = list(self._classes)
        if classes[row].model_copy(update=update) == classes[row]:
            return
        classes[row] = classes[row].model_copy(update=update)
        self._classes = tuple(classes)
        self.classes_changed.emit()

    def _fit(self) -> None:
        """As tall as its rows, up to eight of them."""
        rows = min(max(self.rowCount(), 2), _MOST_SHOWN)
        row = self.rowHeight(0) if self.rowCount() else self.verticalHeader().defaultSectionSize()
        height = self.horizontalHeader().sizeHint().height() + 2 * self.frameWidth()
        self.setFixedHeight(height + rows * row + 2)


def _cell(text: str, column: int) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
    if column == _NAME:
        flags |= Qt.ItemFlag.ItemIsEditable
    item.setFlags(flags)
    if column in (_VALUE, _ON_SLICE, _PIXELS):
        item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return item
