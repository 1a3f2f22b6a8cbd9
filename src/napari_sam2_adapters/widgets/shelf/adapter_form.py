"""Choice of a trained adapter: from the list, from a file, or dropped on the dock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QFileSystemWatcher, QMimeData, Signal
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
from napari_sam2_adapters.widgets.shelf.adapter_card import ADAPTER_TITLES, adapter_card

if TYPE_CHECKING:
    from napari_sam2_adapters.models.model_file import AdapterHeader

__all__ = ["AdapterForm", "dropped_adapters"]


class AdapterForm(QWidget):
    """Drop-down of adapters with what the chosen one says of itself.

    Parameters
    ----------
    parent
        Qt parent.
    """

    changed = Signal()
    known = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.header: AdapterHeader | None = None
        self.models = DropDown()
        self.browse_button = button("Open …", "Use an adapter from a file.", self.browse, "folder")
        self.card = sentence()
        self._opened: list[Path] = []
        self._watcher = QFileSystemWatcher([str(adapters_folder())], self)
        self._question = Question(self)
        self._lay_out()
        self._watcher.directoryChanged.connect(lambda _: self.list_models())
        self.models.currentIndexChanged.connect(lambda _: self._read_card())
        self._question.answered.connect(self._take)
        self._question.failed.connect(self.card.setText)

    @property
    def model(self) -> Path | None:
        """File of the chosen adapter."""
        return self.models.currentData()  # type: ignore[no-any-return]

    def list_models(self) -> None:
        """List the saved adapters anew; a new one is chosen at once."""
        known = {self.models.itemData(i) for i in range(self.models.count())}
        chosen, found = self.model, list_adapters()
        newest = found[0] if found and found[0] not in known else None
        self.models.blockSignals(True)
        self.models.clear()
        for path in [*found, *(path for path in self._opened if path not in found)]:
            self.models.addItem(adapter_title(path), path)
        self.models.setCurrentIndex(max(0, self.models.findData(newest or chosen)))
        self.models.blockSignals(False)
        if self.model != chosen or self.header is None:
            self._read_card()

    def open_model(self, path: Path) -> None:
        """Choose an adapter file anywhere on this machine."""
        if self.models.findData(path) < 0:
            self._opened.append(path)
            self.models.addItem(adapter_title(path), path)
        self.models.setCurrentIndex(self.models.findData(path))

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

    def _read_card(self) -> None:
        self.header = None
        self.card.setText("")
        self.card.setToolTip("")
        if self.model is not None:
            self.card.setText("Reading …")
            self._question.ask(read_adapters, [self.model])
        self.changed.emit()

    def _take(self, found: tuple[SavedAdapter, ...]) -> None:
        if not found or found[0].path != self.model:
            self.card.setText("This file is no longer there.")
        elif found[0].header is None:
            self.card.setText(found[0].problem)
        elif not found[0].backbone_here:
            name = found[0].header.model.backbone
            self.card.setText(
                f"It was trained on the backbone {name}, which is not on this machine. Get it in the Models dock."
            )
        else:
            self.header = found[0].header
            self.card.setText(_card(self.header))
            self.card.setToolTip(adapter_card(found[0]))
            self.known.emit()
        self.changed.emit()


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
