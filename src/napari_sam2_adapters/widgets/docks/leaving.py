"""What a dock does when it is closed or its window is: asks while it is at work, and cleans up when it goes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, ClassVar

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QWidget

from napari_sam2_adapters.widgets.docks.closing import agreed
from napari_sam2_adapters.widgets.docks.jobs import Job

__all__ = ["Leaving"]


class Leaving(QObject):
    """Sees to it that work in a dock that is closed ends as the user wants.

    Parameters
    ----------
    dock
        The widget, which napari has in its window.
    viewer
        The napari viewer.
    job
        Its work.
    title, question, answer
        What is the case and what to ask when it is closed at work, and the button that agrees.
    save
        Saves what is not yet saved, without waiting; called whenever the window is about to close.
    release
        Cleans up; called once.

    Attributes
    ----------
    name
        Of the dock in napari's window.
    """

    _held: ClassVar[set[QWidget]] = set()
    """Docks that were closed at work: nobody else keeps them alive."""

    def __init__(
        self,
        dock: QWidget,
        viewer: Any,
        job: Job,
        *,
        title: str,
        question: str,
        answer: str,
        save: Callable[[], None],
        release: Callable[[], None],
    ) -> None:
        super().__init__(dock)
        self._dock, self._viewer, self._job = dock, viewer, job
        self._title, self._question, self._answer = title, question, answer
        self._save, self._release = save, release
        self._watched: Callable[[], QWidget | None] = lambda: None
        self.name = ""
        self._going = self._released = self._window_gone = False
        job.state_changed.connect(self._go_when_done)

    @property
    def window_there(self) -> bool:
        """Whether the window that the dock was in is still open."""
        return not self._window_gone

    def watch(self, window: QWidget) -> None:
        """Clean up when this window closes."""
        before = self._watched()
        if window is not before:
            if before is not None:
                before.removeEventFilter(self)
            window.installEventFilter(self)
            self._watched = weakref.ref(window)  # held, it and the dock would keep each other alive

    def taken_out(self) -> None:
        """The dock is no longer in a window: ask whether the work goes on, or clean up."""
        if not self._job.running or self._going:
            self.go()
            return
        self._held.add(self._dock)
        QTimer.singleShot(0, self._ask)

    def go(self) -> None:
        """Stop the work, and clean up when it has ended."""
        self._going = True
        if self._job.running:
            self._held.add(self._dock)
            self._job.stop()
        else:
            self._go_when_done()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Save before the window closes, and clean up when it has; the closing guard ends the work in it."""
        if event.type() == QEvent.Type.Close and watched is self._watched():
            self._save()
            QTimer.singleShot(0, self._look_again)
        return False

    def _look_again(self) -> None:
        """The window may still be there, because somebody said no."""
        window = self._watched()
        if window is not None and not window.isVisible():
            self._window_gone = True
            self.go()

    def _ask(self) -> None:
        if self._job.running and not agreed(
            self._dock,
            self._answer,
            self._question,
            title=self._title,
            otherwise="Keep it running",
        ):
            self._viewer.window.add_dock_widget(self._dock, name=self.name, area="right")
            self._held.discard(self._dock)
        else:
            self.go()

    def _go_when_done(self) -> None:
        if self._going and not self._job.running and not self._released:
            self._released = True
            self._release()
            self._held.discard(self._dock)
