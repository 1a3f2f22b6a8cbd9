"""The images of a batch in a table, with status, time and result of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from qtpy.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor, QResizeEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from napari_sam2_adapters.batch.records import ItemRecord
from napari_sam2_adapters.widgets.docks.words import duration

__all__ = ["BatchTable", "RecordModel", "result_of"]

_IMAGE, _STATUS, _TIME, _RESULT = range(4)
_HEADINGS = ("Image", "Status", "Time", "Result")
_ON_DARK = {"done": "#4cc38a", "failed": "#ff8078", "running": "#6cb2ff"}
_ON_LIGHT = {"done": "#136c38", "failed": "#b3261e", "running": "#1558a8"}
"""Colours of a status that can be read on the ground of a theme: at least 4.5 times as light or as dark."""
_IMAGE_SHARE = 0.35
"""Most of the width that names of images take; the results have the rest."""
_MARGINS_PX = 14
"""Beside the text of a cell."""
_ROWS_LOOKED_AT = 50
_ORDER = ("running", "failed", "pending", "done")


class RecordModel(QAbstractTableModel):
    """Records of a batch's images as rows."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.records: list[ItemRecord] = []
        self._rows: dict[int, int] = {}

    def show_all(self, records: Iterable[ItemRecord]) -> None:
        """Show these records instead of the last ones."""
        self.beginResetModel()
        self.records = list(records)
        self._rows = {record.item.index: row for row, record in enumerate(self.records)}
        self.endResetModel()

    def take(self, record: ItemRecord) -> int | None:
        """Put a record in the place of the last one of its image; gives the row."""
        row = self._rows.get(record.item.index)
        if row is not None:
            self.records[row] = record
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(_HEADINGS) - 1))
        return row

    def counts(self) -> Counter[str]:
        """Number of images by status."""
        return Counter(record.status for record in self.records)

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 (Qt's name)
        """Number of images."""
        return 0 if parent is not None and parent.isValid() else len(self.records)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 (Qt's name)
        """Number of columns."""
        return len(_HEADINGS)

    def headerData(  # noqa: N802 (Qt's name)
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Headings of the columns."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return _HEADINGS[section]
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text, tooltip, colour and order of a cell."""
        record, column = self.records[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(record, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            return str(record.item.source) if column == _IMAGE else _whole_result(record)
        if role == Qt.ItemDataRole.ForegroundRole and column == _STATUS:
            return _colour(record.status, self.parent())
        if role == Qt.ItemDataRole.TextAlignmentRole and column == _TIME:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.UserRole:
            return _order(record, column)
        return None


class _FromTheStart(QStyledItemDelegate):
    """Draws sentences, whose end can be left out; of names the middle can."""

    def initStyleOption(  # noqa: N802 (Qt's name)
        self, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        """Leave out the end."""
        super().initStyleOption(option, index)
        option.textElideMode = Qt.TextElideMode.ElideRight


class BatchTable(QTableView):
    """Table that sorts by its headings and opens an image by double click or Enter."""

    chosen = Signal(object)
    looked_at = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.records = RecordModel(self)
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self.records)
        self._sorted.setSortRole(Qt.ItemDataRole.UserRole)
        self.setModel(self._sorted)
        self.setSortingEnabled(True)
        self.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.setMinimumHeight(180)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        header = self.horizontalHeader()
        header.setSectionResizeMode(_RESULT, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(1)
        header.setResizeContentsPrecision(_ROWS_LOOKED_AT)
        self._sentences = _FromTheStart(self)
        self.setItemDelegateForColumn(_RESULT, self._sentences)
        self.setToolTip(
            "Double-click an image to open it with its result, or to hear why it has none."
        )
        self.activated.connect(self._open)
        self.records.modelReset.connect(self._share_width)
        self.records.modelReset.connect(self._tell_looked_at)
        self.records.dataChanged.connect(self._tell_looked_at)
        self.selectionModel().currentRowChanged.connect(self._tell_looked_at)

    def take(self, record: ItemRecord) -> None:
        """Show a record, and bring the image that is begun into sight."""
        row = self.records.take(record)
        for column in (_STATUS, _TIME):
            self._widen(column, _text(record, column))
        if row is not None and record.status == "running" and not record.tiles:
            index = self._sorted.mapFromSource(self.records.index(row, _IMAGE))
            self.scrollTo(index)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Give names the width that they need, and results the rest."""
        super().resizeEvent(event)
        self._share_width()

    def _share_width(self) -> None:
        """Status and time as wide as they need to be, names up to their share, and results the rest."""
        for column in (_STATUS, _TIME):
            texts = {_text(record, column) for record in self.records.records}
            self.setColumnWidth(column, 0)
            for text in (_HEADINGS[column], *texts):
                self._widen(column, text)
        needed = max(
            self.sizeHintForColumn(_IMAGE), self.horizontalHeader().sectionSizeHint(_IMAGE)
        )
        most = round(_IMAGE_SHARE * self.viewport().width())
        self.setColumnWidth(_IMAGE, min(needed + 8, most))

    def _widen(self, column: int, text: str) -> None:
        needed = self.fontMetrics().horizontalAdvance(text) + _MARGINS_PX
        if needed > self.columnWidth(column):
            self.setColumnWidth(column, needed)

    def _tell_looked_at(self, *_: object) -> None:
        index = self.currentIndex()
        row = self._sorted.mapToSource(index).row() if index.isValid() else -1
        self.looked_at.emit(self.records.records[row] if row >= 0 else None)

    def _open(self, index: QModelIndex) -> None:
        self.chosen.emit(self.records.records[self._sorted.mapToSource(index).row()])


def _text(record: ItemRecord, column: int) -> str:
    if column == _IMAGE:
        return str(record.item.source.name) if "/" not in record.item.name else _below(record)
    if column == _STATUS:
        return _status(record)
    if column == _TIME:
        return duration(record.seconds) if record.seconds else ""
    return _result(record)


def _colour(status: str, table: QObject | None) -> QColor | None:
    """Colour of a status on the ground that the table has in this theme."""
    dark = isinstance(table, QWidget) and table.palette().text().color().lightness() > 128
    colours = _ON_DARK if dark else _ON_LIGHT
    return QColor(colours[status]) if status in colours else None


def _below(record: ItemRecord) -> str:
    """Name of the image with the folders that its result gets."""
    return f"{record.item.name.rpartition('/')[0]}/{record.item.source.name}"


def _status(record: ItemRecord) -> str:
    if record.status == "running":
        return f"{100 * record.tiles // record.all_tiles} %" if record.all_tiles else "reading"
    if record.status == "pending":
        return "waiting"
    return f"{record.status} earlier" if record.earlier else record.status


def _result(record: ItemRecord) -> str:
    """Share of each class, or what went wrong."""
    if record.status == "failed":
        return _reason(record)
    if not record.pixels:
        return ""
    total = sum(record.pixels.values()) or 1
    # The background is what the others leave.
    named = [name for name in record.pixels if name.lower() != "background"] or [*record.pixels]
    shares = ", ".join(f"{name} {_percent(record.pixels[name] / total)}" for name in named)
    return f"{'⚠ ' if record.notices else ''}{shares}"


def result_of(record: ItemRecord) -> str:
    """An image and what came of it, in a sentence; empty where nothing has yet."""
    name, result = record.item.source.name, _result(record)
    if not result:
        return ""
    how = " failed" if record.status == "failed" else ""
    notices = "".join(f" {notice}" for notice in record.notices)
    return f"{name}{how}: {result.removeprefix('⚠ ')}{notices}"


def _reason(record: ItemRecord) -> str:
    """Why an image failed, without its own name in front; its folder is that of all."""
    name = record.item.source.name
    return record.reason.replace(str(record.item.source), name).removeprefix(f"{name} ")


def _percent(share: float) -> str:
    return "0 %" if share == 0 else "<1 %" if share < 0.01 else f"{100 * share:.0f} %"


def _whole_result(record: ItemRecord) -> str:
    """All that is told of an image, a line each; of one that is done, with the place of its result."""
    place = str(record.item.outputs["labels"]) if record.status == "done" else ""
    lines = [record.reason, place, *record.notices]
    if record.pixels:
        lines += [f"{name}: {number:,} px" for name, number in record.pixels.items()]
    return "\n".join(line for line in lines if line)


def _order(record: ItemRecord, column: int) -> float | str:
    """What a column is sorted by."""
    if column == _IMAGE:
        return float(record.item.index)
    if column == _STATUS:
        return float(_ORDER.index(record.status))
    return record.seconds if column == _TIME else _result(record)
