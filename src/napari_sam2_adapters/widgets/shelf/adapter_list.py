"""The saved adapters with their classes and scores, the card of the chosen one, and what can be done with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.utils.notifications import show_warning
from qtpy.QtCore import QFileSystemWatcher, Qt, QTimer, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QInputDialog,
    QPushButton,
    QShortcut,
    QVBoxLayout,
    QWidget,
)

from napari_sam2_adapters.widgets.docks.closing import agreed
from napari_sam2_adapters.widgets.docks.dock import button, sentence
from napari_sam2_adapters.widgets.docks.jobs import Question
from napari_sam2_adapters.widgets.docks.log import open_path
from napari_sam2_adapters.widgets.docks.store import (
    SUFFIX,
    SavedAdapter,
    adapter_title,
    adapters_folder,
    copy_adapter,
    import_adapter,
    list_adapters,
    new_copy_path,
    read_adapters,
    rename_adapter,
    renamed_path,
    to_bin,
    with_suffix,
)
from napari_sam2_adapters.widgets.shelf.adapter_card import adapter_card
from napari_sam2_adapters.widgets.shelf.adapter_rows import AdapterRow, adapter_tree
from napari_sam2_adapters.widgets.shelf.exporting import CopyWish, ask_where

__all__ = ["AdapterList"]

_KIND = f"Adapters (*{SUFFIX})"
_SOON_MS = 150


class AdapterList(QWidget):
    """List of the saved adapters; files are read, copied and moved in a worker.

    Parameters
    ----------
    parent
        Qt parent.
    """

    segment_wanted = Signal(object)
    export_wanted = Signal(object)
    said = Signal(str)
    failed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tree = adapter_tree()
        self.card = sentence()
        self.card.setTextFormat(Qt.TextFormat.RichText)
        self.buttons = self._make_buttons()
        self._select: Path | None = None
        self._reading, self._filing = Question(self), Question(self)
        self._watcher = QFileSystemWatcher([str(adapters_folder())], self)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._lay_out()
        self._connect()
        self.read()
        self._refresh()

    @property
    def adapters(self) -> list[SavedAdapter]:
        """What is listed, from top to bottom."""
        items = (self.tree.topLevelItem(row) for row in range(self.tree.topLevelItemCount()))
        return [item.data(0, Qt.ItemDataRole.UserRole) for item in items]

    @property
    def chosen(self) -> SavedAdapter | None:
        """The adapter that is chosen in the list."""
        item = self.tree.currentItem()
        return None if item is None else item.data(0, Qt.ItemDataRole.UserRole)

    def read(self) -> None:
        """Read the folder anew."""
        self._reading.ask(_read_folder)

    def choose(self, path: Path) -> None:
        """Choose an adapter, now or as soon as it is listed."""
        self._select = path
        for row, adapter in enumerate(self.adapters):
            if adapter.path == path:
                self.tree.setCurrentItem(self.tree.topLevelItem(row))
                self._select = None

    def segment(self) -> None:
        """Ask for the Segment dock with the chosen adapter."""
        if self.chosen is not None and self.chosen.header is not None:
            self.segment_wanted.emit(self.chosen.path)

    def rename(self) -> None:
        """Ask for another name."""
        adapter = self.chosen
        if adapter is None:
            return
        old = adapter_title(adapter.path)
        title, agreed_ = QInputDialog.getText(self, "Rename adapter", "Its new name:", text=old)
        if not agreed_ or title.strip() == old:
            return
        try:
            renamed_path(adapter.path, title)
        except (ValueError, FileExistsError) as refusal:  # what was typed is no error for the log
            show_warning(str(refusal))
            self.said.emit(str(refusal))
        else:
            self._file(f"Renamed {old}.", rename_adapter, adapter.path, title)

    def duplicate(self) -> None:
        """Copy the chosen adapter within the folder, under a free name."""
        adapter = self.chosen
        if adapter is not None:
            target = new_copy_path(adapter.path)
            self._file(f"Copied to {adapter_title(target)}.", copy_adapter, adapter.path, target)

    def export(self) -> None:
        """Ask for a place and a kind of file; copy the chosen adapter there, or ask for it as a file for other programs."""
        adapter = self.chosen
        if adapter is None:
            return
        wish = ask_where(self, adapter.path)
        if isinstance(wish, CopyWish):
            self._select = adapter.path
            said = str(with_suffix(wish.target))
            self._file(f"Exported to {said}.", _export, adapter.path, wish.target)
        elif wish is not None:
            self.export_wanted.emit(wish)

    def add(self) -> None:
        """Ask for model files and copy them into the folder."""
        chosen, _ = QFileDialog.getOpenFileNames(self, "Add adapters", str(Path.home()), _KIND)
        if chosen:
            self._file("Added.", _import_all, [Path(path) for path in chosen])

    def delete(self) -> None:
        """Move the chosen adapter to the system's bin, once the user has agreed."""
        adapter = self.chosen
        if adapter is None:
            return
        title = adapter_title(adapter.path)
        details = "It can be taken back from there. Labels that it has made stay as they are."
        if agreed(self, "Move to bin", f"Move the adapter {title} to the bin?", details=details):
            self._file(f"{title} is in the bin now.", to_bin, adapter.path)

    def _file(self, done: str, function: Any, *arguments: Any) -> None:
        """Let a worker do something with files, and read the folder when it has."""
        self._done = done
        self._filing.ask(function, *arguments)
        self._refresh()

    def _take_filed(self, path: Path | None) -> None:
        self.said.emit(self._done)
        if path is not None:
            self._select = path
        self.read()

    def _miss_filed(self, sentence_: str) -> None:
        self.failed.emit(sentence_)
        self.read()

    def _take_adapters(self, adapters: tuple[SavedAdapter, ...]) -> None:
        wanted = self._select or (self.chosen.path if self.chosen else None)
        self._select = None
        self.tree.blockSignals(True)
        self.tree.clear()
        for adapter in adapters:
            self.tree.addTopLevelItem(AdapterRow(adapter))
        self.tree.blockSignals(False)
        if adapters:
            paths = [adapter.path for adapter in self.adapters]
            row = paths.index(wanted) if wanted in paths else 0
            self.tree.setCurrentItem(self.tree.topLevelItem(row))
        self._refresh()

    def _refresh(self) -> None:
        """Show the card of the chosen adapter and enable what can be done with it."""
        adapter, busy = self.chosen, self._filing.waiting
        for name, push in self.buttons.items():
            usable = name in ("add", "folder") or adapter is not None
            if name == "segment":
                usable = adapter is not None and adapter.header is not None
            push.setEnabled(usable and not busy)
        if adapter is not None:
            self.card.setText(adapter_card(adapter))
        elif self._reading.waiting:
            self.card.setText("Looking for adapters …")
        else:
            self.card.setText(
                "There is no adapter yet. Train one in Fine-tune, or add a file that somebody gave you."
            )

    def _make_buttons(self) -> dict[str, QPushButton]:
        return {
            "segment": button(
                "Segment with it",
                "Open the Segment dock with this adapter (Return).",
                self.segment,
                "layers",
            ),
            "rename": button(
                "Rename …", "Give this adapter another name (F2).", self.rename, "edit"
            ),
            "copy": button(
                "Copy", "Keep a second copy of it in this list.", self.duplicate, "copy"
            ),
            "export": button(
                "Export …",
                "Save it elsewhere: as it is, or as ONNX or a bioimage.io package for other programs.",
                self.export,
                "export",
            ),
            "delete": button(
                "Delete …", "Move the file to the bin (Delete).", self.delete, "delete"
            ),
            "add": button("Add file …", "Copy adapter files into this list.", self.add, "add"),
            "folder": button(
                "Open folder",
                "Show the files of this list on the desktop.",
                lambda: open_path(adapters_folder()),
                "folder",
            ),
        }

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.addWidget(self.buttons["segment"], 0, 0, 1, 3)
        for place, name in enumerate(("rename", "copy", "export", "delete", "add", "folder")):
            grid.addWidget(self.buttons[name], 1 + place // 3, place % 3)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tree)
        layout.addWidget(self.card)
        layout.addLayout(grid)

    def _connect(self) -> None:
        self.tree.currentItemChanged.connect(lambda *_: self._refresh())
        self.tree.itemActivated.connect(lambda *_: self.segment())
        self._watcher.directoryChanged.connect(lambda _: self._soon.start(_SOON_MS))
        self._soon.timeout.connect(self.read)
        self._reading.answered.connect(self._take_adapters)
        self._reading.failed.connect(self.failed)
        self._filing.answered.connect(self._take_filed)
        self._filing.failed.connect(self._miss_filed)
        for key, action in (("F2", self.rename), ("Delete", self.delete)):
            shortcut = QShortcut(QKeySequence(key), self.tree)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(action)


def _read_folder() -> tuple[SavedAdapter, ...]:
    return read_adapters(list_adapters())


def _export(source: Path, target: Path) -> None:
    """Copy a model file to where the dialog said; that has asked about a file that is there, unless the ending was left out."""
    copy_adapter(source, target, overwrite=target.name.endswith(SUFFIX))


def _import_all(sources: list[Path]) -> Path | None:
    """Copy what can be used into the folder, give the last of it, and say what could not be used."""
    last, problems = None, []
    for source in sources:
        try:
            last = import_adapter(source)
        except (ValueError, OSError) as error:
            problems.append(str(error))
    if problems:
        raise ValueError(" ".join(problems))
    return last
