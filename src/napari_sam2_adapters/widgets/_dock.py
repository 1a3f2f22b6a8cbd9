"""What the docks share: a scrolled column of sections, and an end when napari closes them."""

from __future__ import annotations

from typing import Any

from napari.qt.threading import create_worker
from napari.utils.notifications import show_error
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QDockWidget,
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_sam2_adapters.widgets._jobs import Job
from napari_sam2_adapters.widgets._machine import Machine, describe_machine

__all__ = ["Dock", "button", "frame_of", "section", "sentence"]

_SOON_MS = 400


class _Column(QScrollArea):
    """Scrolls up and down, and is always as wide as its content needs."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(content)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Follow the content when it gets wider."""
        if event.type() == QEvent.Type.LayoutRequest and watched is self.widget():
            bar = self.verticalScrollBar().sizeHint().width()
            self.setMinimumWidth(self.widget().minimumSizeHint().width() + bar)
        return bool(super().eventFilter(watched, event))


class Dock(QWidget):
    """A dock whose long work is one `Job`: a scrolled column above a foot that is always in sight.

    Parameters
    ----------
    viewer
        The napari viewer.
    """

    machine_known = Signal(object)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer = viewer
        self.job = Job(self)
        self.job.failed.connect(show_error)
        self.device = sentence("Looking at this machine …")
        self.reason = sentence()
        self.progress = QProgressBar()
        self.progress.hide()
        self.status = sentence()
        self._lay_out_frame()
        # Loading PyTorch takes seconds of one core; the dock is drawn first.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._look_at_machine)
        self._soon.start(_SOON_MS)
        self.job.state_changed.connect(self._soon.start)

    def _lay_out_frame(self) -> None:
        content = QWidget()
        self.column = QVBoxLayout(content)
        self.column.setContentsMargins(4, 4, 4, 4)
        self.scroll = _Column(content)
        self.buttons = QHBoxLayout()
        foot = QVBoxLayout()
        foot.setContentsMargins(4, 4, 4, 4)
        foot.addWidget(self.reason)
        foot.addLayout(self.buttons)
        foot.addWidget(self.progress)
        foot.addWidget(self.status)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.scroll, stretch=1)
        layout.addLayout(foot)

    def event(self, event: QEvent) -> bool:
        """Stop the work when napari takes the dock out of its window."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._soon.stop()
            self.job.stop()
        return bool(super().event(event))

    def _look_at_machine(self) -> None:
        """Ask, in a worker, for the device and its free memory; also again after each piece of work."""
        worker = create_worker(describe_machine, _start_thread=False)
        worker.returned.connect(self._take_machine)
        worker.start()

    def _take_machine(self, machine: Machine) -> None:
        self.device.setText(f"Device: {machine.device}.")
        self.machine_known.emit(machine)


def frame_of(widget: QWidget) -> QDockWidget:
    """The frame in napari's window that a dock's widget is in.

    Raises
    ------
    ValueError
        When it is in none.
    """
    frame: QWidget | None = widget
    while frame is not None and not isinstance(frame, QDockWidget):
        frame = frame.parentWidget()
    if frame is None:
        raise ValueError("This dock is not in a window. Open it from napari's Plugins menu.")
    return frame


def section(title: str, *parts: QWidget) -> QGroupBox:
    """A titled box with these widgets below each other."""
    box = QGroupBox(title)
    layout = QVBoxLayout(box)
    for part in parts:
        layout.addWidget(part)
    return box


def sentence(text: str = "") -> QLabel:
    """A label that breaks its lines."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def button(text: str, tooltip: str, action: Any) -> QPushButton:
    """A push button that calls ``action()``."""
    push = QPushButton(text)
    push.setToolTip(tooltip)
    push.clicked.connect(lambda _: action())
    return push
