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
from pathlib import Path
from typing import Any

import napari
import numpy as np
from gaps import GapWatch
from person import Person, frame_of, layer_ending
from skimage.measure import find_contours, label, regionprops

RESOURCES = Path(__file__).parents[1] / "resources"
UNSTROKED_SLICE = 4


def paint_a_slice(person: Person) -> None:
    """Paint strokes of each class on a slice that has none, guided by the hidden truth."""
    truth, strokes = (layer_ending(person.viewer, ending) for ending in ("truth", "strokes"))
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
    watch = GapWatch()
    watch.start()
    started = time.monotonic()
    dock.start_button.click()
    person.wait_until(lambda: dock.progress.value() > steps * 0.6, "the middle of the training")
    person.screenshot("fine-tune-running.png")
    watch.skip()
    person.wait_until(lambda: not dock.job.running, "the end of the training")
    watch.stop()
    print(f"trained {steps} steps in {time.monotonic() - started:.0f} s: {dock.status.text()}")
    print(watch.report())
    person.screenshot("fine-tune.png")
    if dock.fine_tuned is None or not dock.fine_tuned.verdict.keep:
        sys.exit("The adapter did not get better.")


def segment(person: Person, dock: Any) -> None:
    """Segment the whole stack and compare it with the hidden truth."""
    for layer in person.viewer.layers:
        if layer.name.endswith(("preview", "strokes")):
            layer.visible = False
    dock.extent.planes.setCurrentIndex(dock.extent.planes.findData("all"))
    person.wait_until(dock.start_button.isEnabled, f"Segment is disabled: {dock.reason.text()}")
    dock.start_button.click()
    person.wait_until(lambda: not dock.job.running, "the segmentation")
    print(dock.status.text())
    result, truth = (
        layer_ending(person.viewer, ending).data for ending in ("SAM2 adapters", "truth")
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
        docks[name] = person.dock(kind)
    frames = {name: frame_of(dock) for name, dock in docks.items()}
    person.window.tabifyDockWidget(frames["Segment"], frames["Fine-tune"])
    frames["Fine-tune"].raise_()
    person.wait_until(
        lambda: docks["Fine-tune"].device.text().startswith("Device"), "the device", 60
    )
    return docks


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
