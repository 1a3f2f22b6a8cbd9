"""Mouse, menus and patience at napari's window, for the scripts that drive it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDockWidget,
    QMainWindow,
    QMenu,
    QScrollArea,
    QWidget,
)

LEFT = Qt.MouseButton.LeftButton
PLAIN = Qt.KeyboardModifier.NoModifier


class Person:
    """Somebody at the window, whose clicks and seconds of waiting are counted.

    Parameters
    ----------
    viewer
        The napari viewer.
    pictures
        Folder for screenshots.
    """

    def __init__(self, viewer: Any, pictures: Path) -> None:
        self.viewer, self.pictures = viewer, pictures
        self.window = next(
            w
            for w in QApplication.topLevelWidgets()
            if isinstance(w, QMainWindow) and w.isVisible()
        )
        self.canvas = next(
            w for w in self.window.findChildren(QWidget) if "Canvas" in type(w).__name__
        )
        self.clicks = 0
        self.waited_s = 0.0

    def wait(self, seconds: float) -> None:
        """Let the window live for some time."""
        QTest.qWait(round(seconds * 1000))

    def wait_until(self, done: Callable[[], bool], what: str, seconds: float = 600) -> None:
        """Wait for something to happen; the time counts."""
        started = time.monotonic()
        while not done():
            if time.monotonic() - started > seconds:
                sys.exit(f"Waited {seconds:.0f} s in vain: {what}.")
            self.wait(0.02)
        self.waited_s += time.monotonic() - started

    def click(self, widget: QWidget) -> None:
        """Click on a widget that is enabled, scrolled into sight if need be; that is one click."""
        if not widget.isEnabled():
            sys.exit(f"{widget.objectName() or type(widget).__name__} cannot be clicked.")
        above: QWidget | None = widget
        while above is not None:
            if isinstance(above, QScrollArea):
                above.ensureWidgetVisible(widget)
            above = above.parentWidget()
        QApplication.processEvents()
        if not widget.isVisible():
            sys.exit(f"{widget.objectName() or type(widget).__name__} is not in sight.")
        QTest.mouseClick(widget, LEFT, PLAIN, widget.rect().center())
        self.clicks += 1

    def pick(self, box: QComboBox, text: str) -> None:
        """Open a drop-down and choose the item with this text: two clicks, none when it is chosen already."""
        row = box.findText(text)
        if row < 0:
            sys.exit(
                f"The drop-down has no {text!r}; it has {[box.itemText(i) for i in range(box.count())]}."
            )
        if row == box.currentIndex():
            return
        self.click(box)
        view = box.view()
        self.wait_until(view.isVisible, "the list of the drop-down", 10)
        self.wait(
            QApplication.doubleClickInterval() / 1000 + 0.1
        )  # Qt takes no second click before
        place = view.visualRect(box.model().index(row, 0)).center()
        QTest.mouseClick(view.viewport(), LEFT, PLAIN, place)
        self.clicks += 1
        self.wait_until(lambda: box.currentIndex() == row, "the chosen item", 10)

    def choose(self, *path: str) -> None:
        """Choose an item of the menus by its texts, and let the window draw what comes of it."""
        menu: Any = self.window.menuBar()
        for text in path:
            actions = {action.text().replace("&", ""): action for action in menu.actions()}
            if text not in actions:
                sys.exit(f"There is no {text!r} in the menu; it has {sorted(actions)}.")
            self.clicks += 1
            if actions[text].menu() is None:
                actions[text].trigger()
            else:
                menu = actions[text].menu()
                if isinstance(menu, QMenu):
                    menu.aboutToShow.emit()
        QApplication.processEvents()

    def paint(self, points: Sequence[tuple[float, float]]) -> None:
        """Drag the left button along points (row, column) of the slice on show."""
        places = [self._on_canvas(point) for point in points]
        QTest.mouseMove(self.canvas, places[0])
        QTest.mousePress(self.canvas, LEFT, PLAIN, places[0])
        for place in places[1:]:
            QTest.mouseMove(self.canvas, place)
            self.wait(0.01)
        QTest.mouseRelease(self.canvas, LEFT, PLAIN, places[-1])
        self.wait(0.05)

    def screenshot(self, name: str) -> None:
        """Save a picture of the whole window."""
        self.wait(0.3)
        self.pictures.mkdir(parents=True, exist_ok=True)
        self.window.grab().save(str(self.pictures / name))

    def dock(self, kind: str) -> Any:
        """The dock of this class, which must be open."""
        found = [w for w in self.window.findChildren(QWidget) if type(w).__name__ == kind]
        if len(found) != 1:
            sys.exit(f"There are {len(found)} docks {kind}, not one.")
        return found[0]

    def _on_canvas(self, point: tuple[float, float]) -> QPoint:
        # napari 0.9 moved the camera into the scene
        camera = getattr(self.viewer, "scene", self.viewer).camera
        rows, columns = camera.center[-2:]
        x = (point[1] - columns) * camera.zoom + self.canvas.width() / 2
        y = (point[0] - rows) * camera.zoom + self.canvas.height() / 2
        return QPoint(round(x), round(y))


def frame_of(widget: QWidget) -> QDockWidget:
    """The dock frame that a widget is in."""
    while not isinstance(widget, QDockWidget):
        widget = widget.parent()
    return widget


def layer_ending(viewer: Any, *endings: str) -> Any:
    """The layer whose name ends in one of these."""
    return next(layer for layer in viewer.layers if layer.name.endswith(endings))
