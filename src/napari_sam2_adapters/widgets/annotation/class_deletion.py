"""What becomes of the pixels of a class that is deleted: asked first, saved first, done in a worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_info
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QLabel,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.widgets.annotation.autosave import save_labels
from napari_sam2_adapters.widgets.annotation.snapshots import LabelsToSave
from napari_sam2_adapters.widgets.docks.drop_down import DropDown
from napari_sam2_adapters.widgets.docks.jobs import Question
from napari_sam2_adapters.widgets.docks.log import show_failure

__all__ = ["ClassDeletion", "ask_what_becomes"]

_MOST_UNDOABLE = 1_000_000
"""More pixels are written in place, because napari's undo keeps three numbers of each."""

Places = list[NDArray[np.intp]]


class ClassDeletion(QObject):
    """Gives the pixels of one label value another one, in several layers.

    Parameters
    ----------
    describe
        Gives what is to be saved of a layer beforehand.
    parent
        Qt parent.
    """

    done = Signal()

    def __init__(
        self, describe: Callable[[Labels], LabelsToSave], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._describe = describe
        self._layers: list[Labels] = []
        self._spreads: list[int | None] = []
        self._value = 0
        self._work = Question(self)
        self._work.answered.connect(self._finish)
        self._work.failed.connect(show_failure)

    def replace(self, layers: Sequence[Labels], old: int, new: int) -> None:
        """Write ``new`` where ``old`` is; a copy of the labels is saved before."""
        if self._work.waiting:
            show_info("The last class is still being deleted; wait a moment.")
            return
        self._layers, self._value = list(layers), new
        described = [self._describe(layer) for layer in layers]
        self._spreads = [layer.spread for layer in described]
        self._work.ask(_replace, described, old, new)

    def _finish(self, found: list[Places | None]) -> None:
        for layer, spread, places in zip(self._layers, self._spreads, found, strict=True):
            if places is None:
                layer.refresh()
            elif places and places[0].size:
                if spread is not None:
                    places.insert(spread, np.zeros_like(places[0]))
                layer.data_setitem(tuple(places), self._value)
        self.done.emit()


def ask_what_becomes(
    parent: QWidget, info: ClassInfo, pixels: int, classes: Sequence[ClassInfo]
) -> int | None:
    """Ask what becomes of the pixels of a class.

    Parameters
    ----------
    parent
        Qt parent of the dialog.
    info
        The class to delete.
    pixels
        How many pixels it has.
    classes
        All classes.

    Returns
    -------
    int or None
        The value that its pixels get, 0 to unlabel them; None to delete nothing.
    """
    dialog = _Dialog(parent, info, pixels, classes)
    return dialog.value if dialog.exec() else None


class _Dialog(QDialog):
    """The question, with unlabelling as the first choice and no harm done on Escape."""

    def __init__(
        self, parent: QWidget, info: ClassInfo, pixels: int, classes: Sequence[ClassInfo]
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Delete {info.name}")
        self._erase = QRadioButton("are no longer labelled")
        self._give = QRadioButton("go to the class")
        self._erase.setChecked(True)
        self._group = QButtonGroup(self)
        self._group.addButton(self._erase)
        self._group.addButton(self._give)
        self._other = DropDown()
        for other in classes:
            if other.value not in (0, info.value):
                self._other.addItem(other.name, other.value)
        self._give.setEnabled(self._other.count() > 0)
        self._other.currentIndexChanged.connect(lambda _: self._give.setChecked(True))
        row = QHBoxLayout()
        row.addWidget(self._give)
        row.addWidget(self._other, stretch=1)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        delete = buttons.addButton("Delete class", QDialogButtonBox.ButtonRole.AcceptRole)
        delete.setAutoDefault(False)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel(f"{info.name} has {pixels:,} labelled pixels. They"))
        layout.addWidget(self._erase)
        layout.addLayout(row)
        layout.addWidget(QLabel("A copy is saved first; find it under Saved labels."))
        layout.addWidget(buttons)

    @property
    def value(self) -> int:
        """The value that the pixels get."""
        return int(self._other.currentData()) if self._give.isChecked() else 0


def _replace(layers: Sequence[LabelsToSave], old: int, new: int) -> list[Places | None]:
    """Save, then find the pixels; where they are too many or the array is lazy, write in place and give None."""
    save_labels(layers, "", {}, also_large=True)
    found: list[Places | None] = []
    for layer in layers:
        places = _find(layer.labels, old) if isinstance(layer.labels, np.ndarray) else None
        if places is None:
            _write(layer.labels, old, new)
        found.append(places)
    return found


def _find(labels: NDArray[Any], value: int) -> Places | None:
    parts: list[list[NDArray[np.intp]]] = []
    number = 0
    for index in np.ndindex(*labels.shape[:-2]):
        rows, columns = np.nonzero(labels[index] == value)
        number += rows.size
        if number > _MOST_UNDOABLE:
            return None
        parts.append([*(np.full(rows.size, i) for i in index), rows, columns])
    return [np.concatenate(axis) for axis in zip(*parts, strict=True)]


def _write(labels: Any, old: int, new: int) -> None:
    for index in np.ndindex(*labels.shape[:-2]):
        plane = np.asarray(labels[index])
        if (plane == old).any():
            labels[index] = np.where(plane == old, new, plane).astype(plane.dtype)
