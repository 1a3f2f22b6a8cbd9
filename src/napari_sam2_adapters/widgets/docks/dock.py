"""What the docks share: a scrolled column of sections, and an end when napari closes them."""

from __future__ import annotations

from typing import Any

from npe2 import PluginManager
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QDockWidget,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QShortcut,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_sam2_adapters.widgets.docks.closing import ClosingGuard, outermost
from napari_sam2_adapters.widgets.docks.icons import IconButton
from napari_sam2_adapters.widgets.docks.jobs import Job, Question
from napari_sam2_adapters.widgets.docks.log import log_path, logger, open_log, show_failure
from napari_sam2_adapters.widgets.docks.machine import Machine, describe_machine
from napari_sam2_adapters.widgets.docks.preferences import (
    PLUGIN,
    apply_preferences,
    preferences,
    watch_preferences,
)
from napari_sam2_adapters.widgets.docks.store import clear_leftovers

__all__ = ["Dock", "button", "frame_of", "sentence", "show_dock"]

_SOON_MS = 400
_PLACED = QEvent.Type.User
_BEFORE_OTHERS = Qt.EventPriority.HighEventPriority.value


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

    Ctrl+Return anywhere in it presses its ``start_button``.

    Parameters
    ----------
    viewer
        The napari viewer.
    """

    machine_known = Signal(object)
    uses_torch = True
    """Whether the work needs PyTorch; a dock without it opens faster and does not look at the device."""
    closing_title = "Work is under way"
    closing_question = "This dock is still at work. Stop it, keep what is done, and close napari?"

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer = viewer
        self._joined = False
        logger()  # from now on it takes what goes wrong
        apply_preferences()
        self.job = Job(self, uses_torch=self.uses_torch)
        self.job.failed.connect(show_failure)
        self._guard = ClosingGuard(self, self.job, self.closing_title, self.closing_question)
        self._machine_question = Question(self)
        self._machine_question.answered.connect(self._take_machine)
        self._machine_question.failed.connect(self._miss_machine)
        self.device = sentence("Looking at this machine …")
        self.reason = sentence()
        self.progress = QProgressBar()
        self.progress.hide()
        self.status = sentence()
        self.log_button = _log_button()
        self._clearing = Question(self)
        self._lay_out_frame()
        # Loading PyTorch takes seconds of one core; the dock is drawn first.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._look_at_machine)
        self._soon.start(_SOON_MS)
        self._soon.timeout.connect(self._clear_leftovers)
        self.job.state_changed.connect(self._soon.start)
        start_key = QShortcut(QKeySequence("Ctrl+Return"), self)
        start_key.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        start_key.activated.connect(self._press_start)
        self._known = preferences()
        watch_preferences(self._follow_preferences)

    def look_again(self) -> None:
        """Look at device, memory and backbones anew, in a moment."""
        self._soon.start()

    def _press_start(self) -> None:
        start: QPushButton | None = getattr(self, "start_button", None)  # Models starts nothing
        if start is not None:
            start.click()

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
        last = QHBoxLayout()
        last.addWidget(self.status, stretch=1)
        last.addWidget(self.log_button, alignment=Qt.AlignmentFlag.AlignBottom)
        foot.addLayout(last)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.scroll, stretch=1)
        layout.addLayout(foot)

    def event(self, event: QEvent) -> bool:
        """Stop the work when napari takes the dock out of its window."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._joined = False  # it may be put back, because its work is to go on
            self._soon.stop()
            self.taken_out()
        elif event.type() in (QEvent.Type.ParentChange, QEvent.Type.Show) and not self._joined:
            # It comes when napari has placed the dock, and before the window is laid out, which docks below each other make taller.
            QApplication.postEvent(self, QEvent(_PLACED), _BEFORE_OTHERS)
        if event.type() == QEvent.Type.Show:
            self._guard.watch(outermost(self))
        if event.type() == _PLACED:
            self.join_ours()
        return bool(super().event(event))

    def join_ours(self) -> None:
        """Become a tab of a dock of ours that is in the same place: below each other, both would be too low to use."""
        window = self.window()
        if self._joined or not isinstance(window, QMainWindow) or self.parent() is None:
            return
        frame = frame_of(self)
        _shorten_tab(frame)
        # of docks that are opened at once each looks at those before it, or they would pair off
        others = [frame_of(dock) for dock in window.findChildren(Dock) if dock._joined]
        self._joined = True
        beside = [
            other
            for other in others
            if not (_put_away(other) or other.isFloating() or frame.isFloating())
            and window.dockWidgetArea(other) == window.dockWidgetArea(frame)
        ]
        if beside and not set(beside) & set(window.tabifiedDockWidgets(frame)):
            window.tabifyDockWidget(beside[0], frame)
        if beside:
            QTimer.singleShot(0, self._to_front)  # not before it is drawn

    def _to_front(self) -> None:
        if isinstance(self.window(), QMainWindow) and self.parent() is not None:
            frame_of(self).raise_()

    def taken_out(self) -> None:
        """Stop the work and keep what is done, when napari has taken the dock out of its window."""
        self.job.stop()

    def _look_at_machine(self) -> None:
        """Ask, in a worker, for the device and its free memory; also again after each piece of work."""
        if self.uses_torch:
            self._machine_question.ask(describe_machine)

    def _clear_leftovers(self) -> None:
        """Once, let a worker remove what killed processes left half written."""
        self._soon.timeout.disconnect(self._clear_leftovers)
        self._clearing.ask(clear_leftovers)

    def _take_machine(self, machine: Machine) -> None:
        self.device.setText(f"Device: {machine.device}.")
        self.machine_known.emit(machine)

    def _miss_machine(self, sentence: str) -> None:
        self.device.setText(f"Device: {sentence}")

    def _follow_preferences(self, _: object) -> None:
        """Look again when another device or folder was chosen on the page of preferences."""
        apply_preferences()
        if preferences() != self._known:
            self._known = preferences()
            self._soon.start()


def show_dock(viewer: Any, name: str) -> Any:
    """Bring a dock of ours to the front, opened if need be, and give back its widget.

    Parameters
    ----------
    viewer
        The napari viewer.
    name
        Its name in the manifest, such as ``Segment``.
    """
    open_docks = viewer.window.dock_widgets
    # napari names a dock after the plugin's title when the menu opens it, and after its package elsewhere
    for title in ("SAM2 adapters", PLUGIN):
        if f"{name} ({title})" in open_docks:
            widget = open_docks[f"{name} ({title})"]
            break
    else:
        widget = _open_as_menu(viewer, name)
    frame = frame_of(widget)
    frame.show()
    frame.raise_()
    return widget


def _open_as_menu(viewer: Any, name: str) -> Any:
    """Open a dock under the title that napari's menu gives it, so that the menu finds it open; gives its widget."""
    manager = PluginManager.instance()
    manifest = manager.get_manifest(PLUGIN)
    contributed = next(w for w in manifest.contributions.widgets or () if w.display_name == name)
    widget = manager.commands.execute(contributed.command, args=(viewer,))
    title = f"{name} ({manifest.display_name})"
    viewer.window.add_dock_widget(widget, name=title, area="right", add_vertical_stretch=False)
    widget.join_ours()
    return widget


def _put_away(frame: QDockWidget) -> bool:
    """Whether somebody has hidden it; one that is not yet drawn only says that it is hidden."""
    told = Qt.WidgetAttribute.WA_WState_ExplicitShowHide
    return bool(frame.isHidden() and frame.testAttribute(told))


def _shorten_tab(frame: QDockWidget) -> None:
    """Leave the plugin's name out of the text of a tab, where six docks find no room for it; bar and menu of napari keep it."""
    action, title = frame.toggleViewAction(), frame.windowTitle()
    said = action.text()
    frame.setWindowTitle(title.partition(" (")[0])
    action.setText(said)


def _log_button() -> QToolButton:
    push = QToolButton()
    push.setText("Log")
    push.setAutoRaise(True)
    push.setCursor(Qt.CursorShape.PointingHandCursor)
    push.setToolTip(f"Open the log, with the details of errors: {log_path()}")
    push.clicked.connect(lambda _: open_log())
    return push


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


def sentence(text: str = "") -> QLabel:
    """A label that breaks its lines."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def button(text: str, tooltip: str, action: Any, icon: str = "") -> QPushButton:
    """A push button that calls ``action()``, with one of `_icons.ICONS` if it is named."""
    push = IconButton(text, icon) if icon else QPushButton(text)
    push.setToolTip(tooltip)
    push.clicked.connect(lambda _: _act(action))
    return push


def _act(action: Any) -> None:
    """Take in the number that is being typed, then act: a shortcut, and on macOS a click, leaves the focus in its box."""
    typed = QApplication.focusWidget()
    if isinstance(typed, QAbstractSpinBox):
        typed.interpretText()
    action()
