"""A line for a folder or file: typed, chosen or dropped."""

from __future__ import annotations

import os
from pathlib import Path

from qtpy.QtCore import QMimeData, Signal
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QMenu, QWidget

from napari_sam2_adapters.widgets.docks.icons import IconButton

__all__ = ["PathLine", "dropped_paths"]


class PathLine(QWidget):
    """A line edit with a button that asks for a folder, and for files of some kinds where such are wanted.

    Parameters
    ----------
    title
        Title of the window that asks.
    placeholder
        Shown in the empty line.
    files
        Kinds of files as Qt names them, such as ``"Images (*.tif *.png)"``, which may be chosen besides folders.
    parent
        Qt parent.
    """

    changed = Signal()
    several = Signal(object)
    """Several files of one folder were chosen or dropped; the line has the folder."""

    def __init__(
        self,
        title: str,
        placeholder: str,
        *,
        files: str | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._title, self._files = title, files
        self.line = QLineEdit()
        self.line.setPlaceholderText(placeholder)
        self.line.setClearButtonEnabled(True)
        self._advice = f"{title}: type it, choose it, or drop it here."
        self.line.setToolTip(self._advice)
        self.line.textChanged.connect(self._show_end)
        self.choose_button = IconButton("Choose …", "folder")
        self.choose_button.setToolTip(title)
        if files is None:
            self.choose_button.clicked.connect(self.choose_folder)
        else:
            menu = QMenu(self)
            menu.addAction("Files …", self.choose_files)
            menu.addAction("Folder …", self.choose_folder)
            self.choose_button.setMenu(menu)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line, stretch=1)
        layout.addWidget(self.choose_button)
        self.setAcceptDrops(True)
        self.line.setAcceptDrops(False)

    @property
    def path(self) -> Path | None:
        """What stands in the line; None when it is empty."""
        text = self.line.text().strip()
        # not by pathlib, which raises at a ~ that is nobody's home, as while a name is typed
        return Path(os.path.expanduser(text)) if text else None  # noqa: PTH111

    @path.setter
    def path(self, path: Path | None) -> None:
        self.line.setText("" if path is None else str(path))

    def choose_folder(self) -> None:
        """Ask for a folder."""
        chosen = QFileDialog.getExistingDirectory(self, self._title, str(self.path or ""))
        if chosen:
            self.take([Path(chosen)])

    def choose_files(self) -> None:
        """Ask for files."""
        chosen, _ = QFileDialog.getOpenFileNames(
            self, self._title, str(self.path or ""), self._files or ""
        )
        self.take([Path(name) for name in chosen])

    def take(self, paths: list[Path]) -> None:
        """Take one file or folder, or several files of one folder."""
        if len(paths) == 1 and self.path == paths[0]:
            self.changed.emit()  # what lies there may be other than before
        elif len(paths) == 1:
            self.path = paths[0]
        elif paths:
            self.path = paths[0].parent
            self.several.emit([path for path in paths if path.parent == paths[0].parent])

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802 (Qt's name)
        """Take a folder, or a file where one is wanted."""
        if self._fitting(event.mimeData()):
            event.acceptProposedAction()
        else:
            event.ignore()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802 (Qt's name)
        """Put what was dropped into the line."""
        self.take(self._fitting(event.mimeData()))
        event.acceptProposedAction()

    def _fitting(self, content: QMimeData) -> list[Path]:
        paths = dropped_paths(content)
        return [path for path in paths if path.is_dir() or self._files is not None]

    def _show_end(self, text: str) -> None:
        """The end of a path says more than its beginning, so the whole of it is in the tooltip."""
        self.line.setToolTip(text or self._advice)
        self.changed.emit()


def dropped_paths(content: QMimeData) -> list[Path]:
    """Files and folders of this machine among what is dragged."""
    return [Path(url.toLocalFile()) for url in content.urls() if url.isLocalFile()]
