"""Choice of a trained adapter: from the list, from a file, or dropped on the dock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QFileSystemWatcher, QMimeData, Qt, Signal
from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QWidget

from napari_sam2_adapters.widgets.docks.dock import button, sentence
from napari_sam2_adapters.widgets.docks.drop_down import DropDown
from napari_sam2_adapters.widgets.docks.jobs import Question
from napari_sam2_adapters.widgets.docks.store import (
    SUFFIX,
    SavedAdapter,
    adapter_title,
    adapters_folder,
    list_adapters,
    read_adapters,
)
from napari_sam2_adapters.widgets.docks.trained import TRAINED
from napari_sam2_adapters.widgets.shelf.adapter_card import ADAPTER_TITLES, adapter_card

if TYPE_CHECKING:
    from napari_sam2_adapters.models.model_file import AdapterHeader

__all__ = ["AdapterForm", "dropped_adapters"]


class AdapterForm(QWidget):
    """Drop-down of adapters with what the chosen one says of itself.

    It follows a training that has just ended and a file that is renamed, and otherwise stays with what the user has chosen, also
    when that is no longer there. A file that cannot be used is listed as such and chosen by nobody but the user.

    Parameters
    ----------
    parent
        Qt parent.
    """

    changed = Signal()
    known = Signal()
    """The header of the chosen adapter is there, read for the first time or again."""
    another = Signal()
    """The same, when it is not the adapter of the last time."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.header: AdapterHeader | None = None
        self.models = DropDown()
        self.models.setToolTip("Trained adapters, the newest first.")
        self.browse_button = button("Open …", "Use an adapter from a file.", self.browse, "folder")
        self.card = sentence()
        self._opened: list[Path] = []
        self._on_purpose = False
        self._last: tuple[Path | None, str] = None, ""
        self._watcher = QFileSystemWatcher([str(adapters_folder())], self)
        self._question = Question(self)
        self._lay_out()
        self._watcher.directoryChanged.connect(lambda _: self.list_models())
        self.models.currentIndexChanged.connect(self._take_choice)
        self._question.answered.connect(self._take)
        self._question.failed.connect(self.card.setText)
        TRAINED.finished.connect(self.open_model)

    @property
    def model(self) -> Path | None:
        """File of the chosen adapter."""
        return self.models.currentData()  # type: ignore[no-any-return]

    def list_models(self) -> None:
        """List the saved adapters anew; the choice stays, even if its file does not, and the newest is the first choice."""
        chosen, found = self.model, list_adapters()
        listed = [*found, *(path for path in self._opened if path not in found)]
        relied_on = self._on_purpose or chosen == self._last[0]
        if chosen is not None and chosen not in listed and relied_on:
            listed.append(chosen)
            self._on_purpose = True
        self.models.blockSignals(True)
        self.models.clear()
        for path in listed:
            self.models.addItem(adapter_title(path), path)
        self.models.setCurrentIndex(max(0, self._row(chosen)))
        self.models.blockSignals(False)
        if self.model != chosen:
            self._on_purpose = False
        if self.model != chosen or self.header is None:
            self._forget_card()
        self._read()

    def open_model(self, path: Path) -> None:
        """Choose an adapter file anywhere on this machine."""
        if self._row(path) < 0:
            if path.parent != adapters_folder():
                self._opened.append(path)
            self.models.blockSignals(True)
            self.models.addItem(adapter_title(path), path)
            self.models.blockSignals(False)
        if self.model == path:
            self._take_choice()
        else:
            self.models.setCurrentIndex(self._row(path))

    def browse(self) -> None:
        """Ask for an adapter file."""
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Open adapter", str(adapters_folder()), f"Adapters (*{SUFFIX})"
        )
        if chosen:
            self.open_model(Path(chosen))

    def missing(self) -> str:
        """What stands in the way of using the adapter, in words; empty when nothing does."""
        if self.model is None:
            return "Train an adapter in Fine-tune, open one from a file, or drop one here."
        if self._question.waiting:
            return "Reading the adapter …"
        return "" if self.header is not None else "This adapter cannot be used; choose another one."

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.models, stretch=1)
        row.addWidget(self.browse_button)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Adapter", row)
        form.addRow(self.card)

    def _row(self, path: Path | None) -> int:
        """Row of a file, -1 where it is not listed; Qt's own search does not see that two paths are equal."""
        rows = range(self.models.count())
        return next((row for row in rows if self.models.itemData(row) == path), -1)

    def _take_choice(self) -> None:
        self._on_purpose = True
        self._forget_card()
        self._read()

    def _read(self) -> None:
        paths = [self.models.itemData(row) for row in range(self.models.count())]
        if paths:
            self._question.ask(read_adapters, paths)
        self.changed.emit()

    def _forget_card(self) -> None:
        self.header = None
        self.card.setText("")
        self.card.setToolTip("")
        if self.model is not None:
            self.card.setText("Reading …")

    def _take(self, found: tuple[SavedAdapter, ...]) -> None:
        known = {adapter.path: adapter for adapter in found}
        if self.model is not None and self.model not in known:
            self._follow(found)
        for row in range(self.models.count()):
            path = self.models.itemData(row)
            if path in known:
                self._say_usable(row, known[path])
            else:
                self.models.setItemText(row, f"{adapter_title(path)} – no longer there")
        if not self._on_purpose:
            self._choose_usable(known)
        self._show_card(known.get(self.model) if self.model is not None else None)
        self.changed.emit()

    def _follow(self, found: Sequence[SavedAdapter]) -> None:
        """Choose the file that has the content of the chosen one, which was renamed, if there is one."""
        path, tensors = self._last
        same = [a.path for a in found if a.header and a.header.tensors_sha256 == tensors]
        if path == self.model and same:
            self.models.blockSignals(True)
            self.models.removeItem(self.models.currentIndex())
            self.models.setCurrentIndex(self._row(same[0]))
            self.models.blockSignals(False)

    def _say_usable(self, row: int, adapter: SavedAdapter) -> None:
        broken = "" if adapter.header is not None else " – cannot be used"
        self.models.setItemText(row, f"{adapter_title(adapter.path)}{broken}")
        self.models.setItemData(row, adapter.problem, Qt.ItemDataRole.ToolTipRole)

    def _choose_usable(self, known: Mapping[Path, SavedAdapter]) -> None:
        """Take the newest adapter that can be used instead of one that cannot and that nobody has chosen."""
        chosen = None if self.model is None else known.get(self.model)
        if chosen is not None and chosen.backbone_here:
            return
        paths = [self.models.itemData(row) for row in range(self.models.count())]
        usable = [path for path in paths if path in known and known[path].header is not None]
        usable.sort(key=lambda path: not known[path].backbone_here)
        if usable:
            self.models.blockSignals(True)
            self.models.setCurrentIndex(self._row(usable[0]))
            self.models.blockSignals(False)

    def _show_card(self, found: SavedAdapter | None) -> None:
        self.header = None
        self.card.setToolTip("")
        if found is None:
            self.card.setText(
                "This file is no longer there: it was renamed, moved or deleted. Choose another adapter."
            )
        elif found.header is None:
            self.card.setText(found.problem)
        elif not found.backbone_here:
            name = found.header.model.backbone
            self.card.setText(
                f"It was trained on the backbone {name}, which is not on this machine. Get it in the Models dock."
            )
        else:
            self.header = found.header
            self.card.setText(_card(self.header))
            self.card.setToolTip(adapter_card(found))
            _, before = self._last
            self._last = self.model, self.header.tensors_sha256
            self.known.emit()
            if before != self.header.tensors_sha256:
                self.another.emit()


def dropped_adapters(content: QMimeData) -> list[Path]:
    """Adapter files among what is dragged over a dock."""
    paths = [Path(url.toLocalFile()) for url in content.urls() if url.isLocalFile()]
    return [path for path in paths if path.name.endswith(SUFFIX)]


def _card(header: AdapterHeader) -> str:
    """An adapter in a few words."""
    names = ", ".join(info.name for info in header.classes)
    score = header.scores.get("mean_dice")
    scored = f" Held-out mean Dice {score:.2f}." if isinstance(score, float) else ""
    return f"{ADAPTER_TITLES[header.model.adapter]} on {header.model.backbone}; {names}.{scored}"
