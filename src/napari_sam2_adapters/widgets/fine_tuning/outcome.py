"""Held-out Dice of each class: before the training, and now."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_sam2_adapters.config import ClassInfo

if TYPE_CHECKING:
    from napari_sam2_adapters.training.records import ValidationRecord
    from napari_sam2_adapters.training.verdict import Verdict

__all__ = ["OutcomeTable"]

_MEAN = "mean"


class OutcomeTable(QTableWidget):
    """Table of held-out Dice, hidden while there is none; its colours are those of the curves."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 3, parent)
        self.setHorizontalHeaderLabels(["Held-out Dice", "Before", "Now"])
        self.verticalHeader().hide()
        self.setToolTip("Dice of each class on what was held out: 0 is all wrong, 1 is all right.")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self._before: dict[str, float] = {}
        self._now: dict[str, float] = {}
        self._told: list[str] = []
        """By row, the names at the start, by which a run at work tells scores."""
        self.clear_scores(())

    def clear_scores(self, classes: Sequence[ClassInfo]) -> None:
        """Forget the last training, and get ready for one with these classes; hidden without any."""
        self._before, self._now = {}, {}
        self.horizontalHeaderItem(2).setText("Now")
        colors = {info.name: info.color for info in classes}
        names = self._told = [*colors, _MEAN] if colors else []
        self.setRowCount(len(names))
        for row, name in enumerate(names):
            for column, text in enumerate((name, _text(None), _text(None))):
                self.setItem(row, column, _cell(text, column, colors.get(name)))
        height = self.horizontalHeader().sizeHint().height() + 2 * self.frameWidth()
        self.setFixedHeight(height + len(names) * self.verticalHeader().defaultSectionSize())
        self.setVisible(bool(names))

    def rename(self, classes: Sequence[ClassInfo]) -> None:
        """Call the classes, in the order of `clear_scores`, as they are called now."""
        for row, info in enumerate(classes):
            self.item(row, 0).setText(info.name)

    def show_check(self, check: ValidationRecord) -> None:
        """Take in a held-out check; the first one is the state before."""
        scores = {**check.dice, _MEAN: check.mean_dice}
        if not self._before:
            self._before = scores
        self._show(self._before, scores, self._told)

    def show_verdict(self, verdict: Verdict) -> None:
        """Show the scores of the weights that were kept; nothing when no pixel was held out."""
        self.setVisible(bool(verdict.after))
        if verdict.after:
            self.horizontalHeaderItem(2).setText("After")
            before = {**verdict.before, _MEAN: verdict.mean_before}
            shown = [self.item(row, 0).text() for row in range(self.rowCount())]
            self._show(before, {**verdict.after, _MEAN: verdict.mean_after}, shown)

    def mean_sentence(self) -> str:
        """The mean Dice of the last check, to go on a sentence; empty when there was none."""
        mean = self._now.get(_MEAN)
        return "" if mean is None else f", held-out mean Dice {mean:.2f}"

    def _show(
        self, before: Mapping[str, float], now: Mapping[str, float], names: Sequence[str]
    ) -> None:
        self._before, self._now = dict(before), dict(now)
        for row, name in enumerate(names):
            self.item(row, 1).setText(_text(before.get(name)))
            self.item(row, 2).setText(_text(now.get(name)))


def _cell(text: str, column: int, color: str | None) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    if column:
        item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    elif color is not None:
        swatch = QPixmap(10, 10)
        swatch.fill(QColor(color))
        item.setData(Qt.ItemDataRole.DecorationRole, swatch)
    return item


def _text(score: float | None) -> str:
    return "–" if score is None or math.isnan(score) else f"{score:.2f}"
