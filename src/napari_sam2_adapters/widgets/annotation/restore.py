"""Saved labels back into the viewer: a banner for what a killed program left, and a menu of all copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_info
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QMenu, QVBoxLayout, QWidget

from napari_sam2_adapters.widgets.annotation.autosave import find_lost, forget_lost
from napari_sam2_adapters.widgets.annotation.class_names import name_classes
from napari_sam2_adapters.widgets.annotation.snapshots import (
    SavedLabels,
    autosave_folder,
    list_snapshots,
    read_snapshot,
)
from napari_sam2_adapters.widgets.docks.arrays import new_label_array, with_axis
from napari_sam2_adapters.widgets.docks.dock import button, sentence
from napari_sam2_adapters.widgets.docks.jobs import Question
from napari_sam2_adapters.widgets.docks.log import log_error, show_failure, told
from napari_sam2_adapters.widgets.docks.results import OURS
from napari_sam2_adapters.widgets.docks.spread import spread_entry
from napari_sam2_adapters.widgets.docks.turned import turned_entry

__all__ = ["RestoreBanner"]

_MOST_LISTED = 15


class RestoreBanner(QWidget):
    """Offers the labels of a session that was killed; hidden while there are none.

    Parameters
    ----------
    viewer
        The napari viewer.
    parent
        Qt parent.
    """

    restored = Signal(object, str)

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._lost: list[SavedLabels] = []
        self._chosen: list[SavedLabels] = []
        self._at: QWidget = self
        self._looking, self._listing = Question(self), Question(self)
        self._reading, self._forgetting = Question(self), Question(self)
        self._looking.answered.connect(self._take_lost)
        self._listing.answered.connect(self._pop_up)
        self._reading.answered.connect(self._add)
        for question in (self._looking, self._listing, self._reading, self._forgetting):
            question.failed.connect(show_failure)
        self._reading.failed.connect(lambda _: self._chosen.clear())
        self.text = sentence()
        self.restore_button = button(
            "Restore", "Add them as new labels layers, beside what is open.", self.restore_lost
        )
        self.dismiss_button = button(
            "Not now", "Ask no more; the copies stay under Saved labels.", self.dismiss
        )
        row = QHBoxLayout()
        row.addWidget(self.restore_button)
        row.addWidget(self.dismiss_button)
        row.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text)
        layout.addLayout(row)
        self.hide()

    def look(self) -> None:
        """Find out, in a worker, whether a killed session left labels."""
        self._looking.ask(find_lost)

    def restore_lost(self) -> None:
        """Restore all that is offered."""
        self.restore(*self._lost)
        self.dismiss()

    def dismiss(self) -> None:
        """Offer these no more."""
        sessions = sorted({saved.session for saved in self._lost})
        self._lost = []
        self.hide()
        self._forgetting.ask(forget_lost, sessions)

    def restore(self, *chosen: SavedLabels) -> None:
        """Add snapshots as new labels layers, with those that are still being read."""
        self._chosen += chosen
        self._reading.ask(_read, tuple(self._chosen))

    def open_menu(self, at: QWidget) -> None:
        """Show the saved copies in a menu below a button, as soon as they are listed."""
        self._at = at
        self._listing.ask(_list)

    def _pop_up(self, found: list[SavedLabels]) -> None:
        menu = QMenu(self._at)
        for saved in found[:_MOST_LISTED]:
            text = f"{saved.when}  {saved.name}  ({saved.pixels:,} px)"
            text = text.replace("&", "&&")  # in a menu a single one underlines
            menu.addAction(text, lambda saved=saved: self.restore(saved))
        if not found:
            menu.addAction("Nothing is saved yet: it happens every minute, and before a run.")
        menu.popup(self._at.mapToGlobal(self._at.rect().bottomLeft()))

    def _take_lost(self, lost: list[SavedLabels]) -> None:
        self._lost = lost
        if not lost:
            return
        names = ", ".join(f"{saved.name} ({saved.pixels:,} px, {saved.when})" for saved in lost[:3])
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        self.text.setText(
            f"napari ended without closing. These labels were saved before: {names}{more}."
        )
        self.show()

    def _add(self, found: tuple[list[tuple[SavedLabels, Any]], list[str]]) -> None:
        self._chosen = []
        read, problems = found
        for problem in problems:
            show_failure(problem)
        for saved, labels in read:
            entry = spread_entry(saved.spread) | turned_entry(saved.direction)
            layer: Labels = self._viewer.add_labels(
                with_axis(labels, saved.spread),
                name=f"{saved.name} – restored",
                metadata={OURS: entry} if entry else {},
                **saved.placement,
            )
            if saved.classes:
                name_classes(layer, saved.classes)
            show_info(
                f"Restored {saved.pixels:,} labelled pixels of {saved.name}, saved {saved.when}."
            )
            self.restored.emit(layer, saved.image)


def _list() -> list[SavedLabels]:
    return list_snapshots(autosave_folder())


def _read(
    chosen: Sequence[SavedLabels],
) -> tuple[list[tuple[SavedLabels, Any]], list[str]]:
    """What can be read, and what is wrong with the others: they keep nobody from the rest."""
    found, problems = [], []
    for saved in chosen:
        try:
            into = new_label_array(saved.shape, np.dtype(saved.dtype))
            found.append(read_snapshot(saved.path, into=into))
        except (ValueError, OSError) as error:
            log_error(error, f"reading {saved.path.name}")
            problems.append(told(error))
    return found, problems
