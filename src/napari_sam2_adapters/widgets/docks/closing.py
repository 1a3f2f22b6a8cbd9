"""What happens to work that is under way when the window is closed."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable

from qtpy.QtCore import QCoreApplication, QEvent, QEventLoop, QObject, Qt, QThread, QTimer
from qtpy.QtWidgets import QMessageBox, QWidget

from napari_sam2_adapters.widgets.docks.jobs import Job

__all__ = ["ClosingGuard", "agreed", "outermost"]

_LONGEST_WAIT_MS = 120_000
_LOOK_S = 0.01


class ClosingGuard(QObject):
    """Asks before a window with work in it is closed, stops the work, and lets the window go when its result is safe.

    Parameters
    ----------
    dock
        The widget whose work it is.
    job
        The work.
    title, question
        What is the case, and what to ask.
    """

    def __init__(self, dock: QWidget, job: Job, title: str, question: str) -> None:
        super().__init__(dock)
        self._job, self._title, self._question = job, title, question
        self._watched: Callable[[], QWidget | None] = lambda: None
        self._closing = False

    @property
    def _window(self) -> QWidget | None:
        """The window that is guarded; not held, for a dock that holds its window keeps both alive on PySide6."""
        return self._watched()

    def watch(self, window: QWidget) -> None:
        """Guard this window instead of the last one."""
        before = self._window
        if window is before:
            return
        if before is not None:
            before.removeEventFilter(self)
        self._watched = weakref.ref(window)
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Keep the window until the work has ended."""
        if event.type() != QEvent.Type.Close or watched is not self._window:
            return False
        if self._closing:  # closed once more while it waits
            event.ignore()
            return True
        # A script that closes the window, or napari after its own question, is not asked again.
        if not (self._job.running and event.spontaneous()):
            self._end_work()
            return False
        event.ignore()
        at_work = [guard for guard in self._guards() if guard._job.running]
        if all(guard._may_stop() for guard in at_work):
            for guard in at_work:
                guard._end_work()
            QTimer.singleShot(0, self._window.close)  # napari need not ask as well
        return True

    def _guards(self) -> list[ClosingGuard]:
        """All that guard the same window; this one is asked first."""
        found = self._window.findChildren(ClosingGuard) if self._window is not None else []
        return [self, *(guard for guard in found if guard is not self)]

    def _may_stop(self) -> bool:
        return agreed(
            self._window,
            "Stop and close",
            self._question,
            title=self._title,
            otherwise="Keep it running",
        )

    def _end_work(self) -> None:
        """Stop the work and wait for its result, with the window alive."""
        if not self._job.running:
            return
        self._closing = True
        self._job.stop()
        if QThread.currentThread().loopLevel():
            self._wait_in_loop()
        else:
            self._wait_for_script()
        self._closing = False

    def _wait_in_loop(self) -> None:
        """Wait with the window alive."""
        loop = QEventLoop()
        for signal in (self._job.ended, self._job.failed):
            signal.connect(loop.quit)
        QTimer.singleShot(_LONGEST_WAIT_MS, loop.quit)
        loop.exec()

    def _wait_for_script(self) -> None:
        """Wait where no event loop runs, so that no window is drawn anyway: hear of the work, and of nothing else.

        A loop that began here would first delete what napari has just let go, and still needs until its window has closed.
        """
        until = time.monotonic() + _LONGEST_WAIT_MS / 1000
        while self._job.running and time.monotonic() < until:
            QCoreApplication.sendPostedEvents(None, QEvent.Type.MetaCall.value)
            time.sleep(_LOOK_S)


def outermost(widget: QWidget) -> QWidget:
    """The window that takes a widget along when it closes: napari's, also for a dock that floats in a frame of its own."""
    parent = widget.parentWidget()
    return widget if parent is None else outermost(parent)


def agreed(
    parent: QWidget | None,
    answer: str,
    question: str,
    *,
    details: str = "",
    title: str = "SAM2 adapters",
    otherwise: str = "Cancel",
) -> bool:
    """Ask a question that is answered by a button with this text, or by another one, which Escape presses too."""
    box = QMessageBox(QMessageBox.Icon.Question, title, question, parent=parent)
    box.setInformativeText(details)
    box.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    yes = box.addButton(answer, QMessageBox.ButtonRole.AcceptRole)
    box.setEscapeButton(box.addButton(otherwise, QMessageBox.ButtonRole.RejectRole))
    box.setDefaultButton(yes)
    box.exec()
    return box.clickedButton() is yes
