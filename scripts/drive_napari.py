"""Drive napari in a real window as a person would, and leave screenshots in ``resources/``.

Opens the sample from the menu, paints strokes with the mouse, fine-tunes an adapter, segments the stack with it, and stops with an
error when something is not as it should be. Run it with ``bash scripts/on_virtual_screen.sh python scripts/drive_napari.py``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDockWidget, QMainWindow, QMenu, QWidget
from skimage.measure import find_contours, label, regionprops

RESOURCES = Path(__file__).parents[1] / "resources"
UNSTROKED_SLICE = 4


class Person:
    """Mouse, menus and patience at napari's window."""

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
        self.gaps_ms: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(5)

    def wait(self, seconds: float) -> None:
        """Let the window live for some time."""
        QTest.qWait(round(seconds * 1000))

    def wait_until(self, done: Callable[[], bool], what: str, seconds: float = 600) -> None:
        """Wait for something to happen."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                sys.exit(f"Waited {seconds:.0f} s in vain: {what}.")
            self.wait(0.02)

    def choose(self, *path: str) -> None:
        """Choose an item of the menus by its texts, and let the window draw what comes of it."""
        menu: Any = self.window.menuBar()
        for text in path:
            actions = {action.text().replace("&", ""): action for action in menu.actions()}
            if text not in actions:
                sys.exit(f"There is no {text!r} in the menu; it has {sorted(actions)}.")
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
        button = Qt.MouseButton.LeftButton
        QTest.mouseMove(self.canvas, places[0])
        QTest.mousePress(self.canvas, button, Qt.KeyboardModifier.NoModifier, places[0])
        for place in places[1:]:
            QTest.mouseMove(self.canvas, place)
            self.wait(0.01)
        QTest.mouseRelease(self.canvas, button, Qt.KeyboardModifier.NoModifier, places[-1])
        self.wait(0.05)

    def screenshot(self, name: str) -> None:
        """Save a picture of the whole window."""
        self.wait(0.3)
        self.pictures.mkdir(parents=True, exist_ok=True)
        self.window.grab().save(str(self.pictures / name))

    def _on_canvas(self, point: tuple[float, float]) -> QPoint:
        # napari 0.9 moved the camera into the scene
        camera = getattr(self.viewer, "scene", self.viewer).camera
        rows, columns = camera.center[-2:]
        x = (point[1] - columns) * camera.zoom + self.canvas.width() / 2
        y = (point[0] - rows) * camera.zoom + self.canvas.height() / 2
        return QPoint(round(x), round(y))

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps_ms.append((now - self._last) * 1000)
        self._last = now


def paint_a_slice(person: Person) -> None:
    """Paint strokes of each class on a slice that has none, guided by the hidden truth."""
    truth, strokes = (
        next(layer for layer in person.viewer.layers if layer.name.endswith(ending))
        for ending in ("truth", "strokes")
    )
    person.viewer.layers.selection.active = strokes
    person.viewer.dims.set_point(0, UNSTROKED_SLICE)
    strokes.brush_size, strokes.mode = 3, "paint"
    classes = truth.data[UNSTROKED_SLICE]
    largest = max(regionprops(label(classes == 2)), key=lambda region: region.area)
    outline = max(find_contours(classes == 2, 0.5), key=len)
    paths = {
        1: [(r, 6) for r in range(20, 120, 4)],
        2: [tuple(point) for point in largest.coords[:: max(1, len(largest.coords) // 40)]],
        3: [tuple(point) for point in outline[::3]],
    }
    for value, points in paths.items():
        strokes.selected_label = value
        person.paint(points)
        painted = np.count_nonzero(strokes.data[UNSTROKED_SLICE] == value)
        if painted < 10:
            sys.exit(f"The mouse painted only {painted} pixels of class {value}.")
        print(f"painted {painted} pixels of class {value} with the mouse")
    strokes.mode = "pan_zoom"


def fine_tune(person: Person, dock: Any, steps: int) -> None:
    """Train, look at it half way, and see that it got better."""
    form = dock.training.plain
    form.settings = form.settings.model_copy(update={"steps": steps})
    checks = dock.training.advanced_train
    checks.settings = checks.settings.model_copy(update={"validate_every": max(2, steps // 6)})
    person.wait_until(dock.start_button.isEnabled, f"Fine-tune is disabled: {dock.reason.text()}")
    person.gaps_ms.clear()
    started = time.monotonic()
    dock.start_button.click()
    person.wait_until(lambda: dock.progress.value() > steps * 0.6, "the middle of the training")
    person.screenshot("fine-tune-running.png")
    person.wait_until(lambda: not dock.job.running, "the end of the training")
    gaps = np.array(person.gaps_ms)
    print(f"trained {steps} steps in {time.monotonic() - started:.0f} s: {dock.status.text()}")
    print(
        f"event loop while training: 95 % of gaps ≤ {np.percentile(gaps, 95):.0f} ms, worst {gaps.max():.0f} ms"
    )
    person.screenshot("fine-tune.png")
    if dock.fine_tuned is None or not dock.fine_tuned.verdict.keep:
        sys.exit("The adapter did not get better.")


def segment(person: Person, dock: Any) -> None:
    """Segment the whole stack and compare it with the hidden truth."""
    for layer in person.viewer.layers:
        if layer.name.endswith(("preview", "strokes")):
            layer.visible = False
    dock.extent.setCurrentIndex(1)
    person.wait_until(dock.start_button.isEnabled, f"Segment is disabled: {dock.reason.text()}")
    dock.start_button.click()
    person.wait_until(lambda: not dock.job.running, "the segmentation")
    print(dock.status.text())
    result, truth = (
        next(layer for layer in person.viewer.layers if layer.name.endswith(ending)).data
        for ending in ("SAM2 adapters", "truth")
    )
    for value, name in ((1, "background"), (2, "nucleus"), (3, "border")):
        ours, theirs = (data[UNSTROKED_SLICE + 1 :] == value for data in (result, truth))
        dice = 2 * np.count_nonzero(ours & theirs) / (ours.sum() + theirs.sum())
        print(f"slices without strokes: Dice of {name} {dice:.2f}")
    person.viewer.dims.set_point(0, UNSTROKED_SLICE + 1)
    person.screenshot("segment.png")


def open_docks(person: Person) -> dict[str, Any]:
    """Open both docks from the menu, as tabs, and wait until they know this machine."""
    docks: dict[str, Any] = {}
    for name, kind in (("Segment", "Segment"), ("Fine-tune", "FineTune")):
        started = time.perf_counter()
        person.choose("Layers", "Segment", f"{name} (SAM2 adapters)")
        print(f"{name} opened in {time.perf_counter() - started:.2f} s")
        docks[name] = next(
            widget
            for widget in person.window.findChildren(QWidget)
            if type(widget).__name__ == kind
        )
    frames = {name: frame_of(dock) for name, dock in docks.items()}
    person.window.tabifyDockWidget(frames["Segment"], frames["Fine-tune"])
    frames["Fine-tune"].raise_()
    person.wait_until(
        lambda: docks["Fine-tune"].device.text().startswith("Device"), "the device", 60
    )
    return docks


def frame_of(widget: QWidget) -> QDockWidget:
    """The dock frame that a widget is in."""
    while not isinstance(widget, QDockWidget):
        widget = widget.parent()
    return widget


def main() -> None:
    """Drive napari from an empty window to a segmented stack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--pictures", type=Path, default=RESOURCES)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SAM2_ADAPTERS_DATA"] = folder
        viewer = napari.Viewer()
        try:
            viewer.window.resize(1600, 1000)
            person = Person(viewer, arguments.pictures)
            person.wait(1)
            person.choose("File", "Open Sample", "SAM2 adapters", "Nuclei in fluorescence")
            docks = open_docks(person)
            paint_a_slice(person)
            person.screenshot("strokes.png")
            fine_tune(person, docks["Fine-tune"], arguments.steps)
            frame_of(docks["Segment"]).raise_()
            segment(person, docks["Segment"])
        finally:
            viewer.close()


if __name__ == "__main__":
    main()
