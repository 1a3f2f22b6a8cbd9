"""The Load dock: files and folders as layers, with their axes, pixel sizes and labels."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

from qtpy.QtGui import QDragEnterEvent, QDropEvent

from napari_sam2_adapters.widgets.docks.dock import Dock, button
from napari_sam2_adapters.widgets.docks.log import told
from napari_sam2_adapters.widgets.docks.path_line import dropped_paths
from napari_sam2_adapters.widgets.loading.file_layers import FileLayer
from napari_sam2_adapters.widgets.loading.load_form import LoadForm
from napari_sam2_adapters.widgets.loading.loading import LoadRequest, Unread, load_layers
from napari_sam2_adapters.wording import counted

__all__ = ["Load"]


class Load(Dock):
    """Dock that opens images, and folders of them, as layers.

    Parameters
    ----------
    napari_viewer
        The napari viewer.
    """

    uses_torch = False
    closing_title = "Images are being loaded"
    closing_question = "Images are still being loaded. Stop that, and close napari?"

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.form = LoadForm()
        self.start_button = button("Load", "Add the layers.", self.start, "layers")
        self.cancel_button = button(
            "Cancel", "Stop; layers that are there stay.", self.job.stop, "stop"
        )
        self._layers = 0
        self._notices: dict[str, None] = {}
        self._unread: list[Unread] = []
        self.setAcceptDrops(True)
        self.column.addWidget(self.form)
        self.column.addStretch()
        self.buttons.addWidget(self.start_button)
        self.buttons.addWidget(self.cancel_button)
        self.form.changed.connect(self.refresh)
        for choice in (self.form.folder, self.form.labels):  # what was said is of another choice
            choice.changed.connect(self.status.clear)
        self.job.updated.connect(self._take_layers)
        self.job.ended.connect(self._take_end)
        self.job.failed.connect(self.status.setText)
        self.job.state_changed.connect(self.refresh)
        self.refresh()

    def start(self) -> None:
        """Read the files and add their layers, one image after the other."""
        request = self.form.request()
        if self.job.running or request is None or self.form.missing():
            return
        self._layers = 0
        self._notices.clear()
        self._unread.clear()
        self.progress.setRange(0, 1 if request.stack is not None else len(request.paths))
        self.progress.setValue(0)
        self.status.setText("Reading …")
        self.job.start(_load, request)

    def refresh(self) -> None:
        """Enable what can be used now, and say why the rest cannot."""
        running = self.job.running
        missing = "" if running else self.form.missing()
        self.start_button.setEnabled(not running and not missing)
        self.start_button.setToolTip(missing or "Add the layers.")
        self.cancel_button.setEnabled(running and not self.job.stopping)
        self.reason.setText(missing)
        self.reason.setVisible(bool(missing))
        self.progress.setVisible(running)
        self.form.setEnabled(not running)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802 (Qt's name)
        """Take files and folders of this machine, unless others are being loaded."""
        if dropped_paths(event.mimeData()) and not self.job.running:
            event.acceptProposedAction()
        else:
            event.ignore()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802 (Qt's name)
        """Choose what was dropped; it is loaded on a click, after a look at its axes."""
        if self.job.running:  # the form shows what is being loaded
            event.ignore()
            return
        self.form.folder.take(dropped_paths(event.mimeData()))
        event.acceptProposedAction()

    def _take_layers(self, layers: list[FileLayer] | Unread) -> None:
        if isinstance(layers, Unread):
            self._unread.append(layers)
            layers = []
        for layer in layers:
            self._layers += len(layer.add_to(self.viewer))
            if layer.notice:
                self._notices[layer.notice] = None
        self.progress.setValue(self.progress.value() + 1)
        self.status.setText(f"{counted(self._layers, 'layer')} added.")

    def _take_end(self, stopped: bool) -> None:
        many = counted(self._layers, "layer")
        first = next(iter(self._notices), "")
        more = (
            f" The same goes for {len(self._notices) - 1} more." if len(self._notices) > 1 else ""
        )
        left_out = f" {self._left_out()}" if self._unread else ""
        self.status.setText(
            f"{'Cancelled; ' if stopped else ''}{many} added.{left_out} {first}{more}".strip()
        )

    def _left_out(self) -> str:
        """Which file could not be opened, and why; of several the first, since the log tells the others."""
        first, *others = self._unread
        more = ""
        if others:
            files = counted(len(others), "other file")
            more = f" {files} could not be opened either; the log names them."
        return f"Left out: {first.path.name}. {told(first.error)}{more}"


def _load(
    stop: threading.Event, request: LoadRequest
) -> Generator[list[FileLayer] | Unread, None, bool]:
    """Read images until all are there or it is stopped; gives whether it was."""
    for layers in load_layers(request):
        yield layers
        if stop.is_set():
            return True
    return False
