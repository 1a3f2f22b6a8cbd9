"""Rows of the list of adapters: name, colours of the classes, score."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.widgets.docks.store import SavedAdapter, adapter_title
from napari_sam2_adapters.widgets.shelf.adapter_card import mean_dice

__all__ = ["AdapterRow", "adapter_tree"]

_ROWS_SHOWN = 5
_SWATCH_PX = 12
_MOST_SWATCHES = 6


class AdapterRow(QTreeWidgetItem):
    """An adapter in the list."""

    def __init__(self, adapter: SavedAdapter) -> None:
        score = mean_dice(adapter)
        header = adapter.header
        classes = ", ".join(info.name for info in header.classes) if header else "cannot be used"
        dice = "" if score is None else f"{score:.2f}"
        super().__init__([adapter_title(adapter.path), "" if header else classes, dice])
        if header:
            self.setIcon(1, _swatches(header.classes))
        self.setData(0, Qt.ItemDataRole.UserRole, adapter)
        for column, text in enumerate((str(adapter.path), classes, "Held-out mean Dice")):
            self.setToolTip(column, text)
        self.setTextAlignment(2, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if header is None:
            self.setToolTip(1, adapter.problem)


def adapter_tree() -> QTreeWidget:
    """An empty list of adapters."""
    tree = QTreeWidget()
    tree.setHeaderLabels(["Adapter", "Classes", "Dice"])
    tree.setToolTip("Return: segment with it. F2: rename it. Delete: move it to the bin.")
    tree.setRootIsDecorated(False)
    tree.setUniformRowHeights(True)
    tree.setTextElideMode(Qt.TextElideMode.ElideMiddle)
    header = tree.header()
    header.setStretchLastSection(False)
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    for column in (1, 2):
        header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
    tree.setIconSize(QSize(_MOST_SWATCHES * _SWATCH_PX, _SWATCH_PX))
    tree.setMinimumHeight((_ROWS_SHOWN + 1) * tree.fontMetrics().height() * 3 // 2)
    return tree


def _swatches(classes: Sequence[ClassInfo]) -> QIcon:
    """The colours of the classes side by side."""
    shown = classes[:_MOST_SWATCHES]
    picture = QPixmap(len(shown) * _SWATCH_PX, _SWATCH_PX)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    for place, info in enumerate(shown):
        side = _SWATCH_PX - 2
        painter.fillRect(place * _SWATCH_PX, 1, side, side, QColor(info.color))
    painter.end()
    made = QIcon()
    for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected):  # Qt would tint what is selected
        made.addPixmap(picture, mode)
    return made
