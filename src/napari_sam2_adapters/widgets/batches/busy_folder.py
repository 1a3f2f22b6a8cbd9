"""Whether another run is at work on the folder of the results, looked at again and again until it has ended."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam2_adapters.batch.lock import in_use
from napari_sam2_adapters.widgets.docks.jobs import Question

__all__ = ["BusyFolder"]

_AGAIN_MS = 2_000


class BusyFolder(QObject):
    """Knows whether a folder is in use by another process, or by another dock.

    Parameters
    ----------
    parent
        Qt parent.

    Attributes
    ----------
    reason
        That it is in use, and by whom, in a sentence; empty when it is not.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.reason = ""
        self._folder: Path | None = None
        self._question = Question(self)
        self._question.answered.connect(self._take)
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.setInterval(_AGAIN_MS)
        self._again.timeout.connect(self._ask)

    def watch(self, folder: Path | None) -> None:
        """Look at this folder, in a worker; None for none."""
        if folder != self._folder:
            self.reason = ""
        self._folder = folder
        self._ask()

    def stop(self) -> None:
        """Look no more."""
        self._folder = None
        self._again.stop()

    def _ask(self) -> None:
        if self._folder is not None:
            self._question.ask(in_use, self._folder)

    def _take(self, reason: str) -> None:
        if self._folder is None:
            return
        if reason:
            self._again.start()
        if reason != self.reason:
            self.reason = reason
            self.changed.emit()
