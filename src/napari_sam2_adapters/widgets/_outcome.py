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
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self._before: dict[str, float] = {}
        self._now: dict[str, float] = {}
        self._colors: dict[str, str] = {}
        self.clear_scores(())

    def clear_scores(self, classes: Sequence[ClassInfo]) -> None:
        """Forget the last training, and get ready for one with these classes."""
        self._colors = {info.name: info.color for info in classes}
        self._before, self._now = {}, {}
        self.horizontalHeaderItem(2).setText("Now")
        self.hide()

    def show_check(self, check: ValidationRecord) -> None:
        """Take in a held-out check; the first one is the state before."""
        scores = {**check.dice, _MEAN: check.mean_dice}
        if not self._before:
            self._before = scores
        self._show(self._before, scores)

    def show_verdict(self, verdict: Verdict) -> None:
        """Show the scores of the weights that were kept."""
        if verdict.after:
            self.horizontalHeaderItem(2).setText("After")
            before = {**verdict.before, _MEAN: verdict.mean_before}
            self._show(before, {**verdict.after, _MEAN: verdict.mean_after})

    def mean_sentence(self) -> str:
        """The mean Dice of the last check, to go on a sentence; empty when there was none."""
        mean = self._now.get(_MEAN)
        return "" if mean is None else f", held-out mean Dice {mean:.2f}"

    def _show(self, before: Mapping[str, float], now: Mapping[str, float]) -> None:
        self._before, self._now = dict(before), dict(now)
        self.setRowCount(len(now))
        for row, (name, score) in enumerate(now.items()):
            for column, text in enumerate((name, _text(before.get(name)), _text(score))):
                item = QTableWidgetItem(text)
                if not column and name in self._colors:
                    swatch = QPixmap(10, 10)
                    swatch.fill(QColor(self._colors[name]))
                    item.setData(Qt.ItemDataRole.DecorationRole, swatch)
                if column:
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                self.setItem(row, column, item)
        height = self.horizontalHeader().sizeHint().height() + 2 * self.frameWidth()
        self.setFixedHeight(height + len(now) * self.verticalHeader().defaultSectionSize())
        self.show()


def _text(score: float | None) -> str:
    return "–" if score is None or math.isnan(score) else f"{score:.2f}"
