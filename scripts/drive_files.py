"""Drive the Load and Batch folder docks in a real window, and leave screenshots in ``resources/``.

Run it with ``bash scripts/on_virtual_screen.sh python scripts/drive_files.py MODEL.adapter.safetensors``, with an adapter for one-channel images
such as ``make demo`` leaves.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import napari
import numpy as np
import tifffile
from gaps import GapWatch
from person import Person, frame_of

from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import write_array
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.widgets.docks.dock import show_dock

RESOURCES = Path(__file__).parents[1] / "resources"
N_SECTIONS = 500


def write_images(folder: Path) -> None:
    """Pictures of the sample, two broken files and one of another size."""
    sample = load_sample("fluorescence")
    pictures = np.concatenate([sample.train_images, sample.held_out_images])
    for number in range(24):
        write_array(
            folder / f"well A{number % 6 + 1} field {number // 6 + 1}.tif",
            np.rot90(pictures[number % len(pictures)], number // len(pictures)),
            axes="YX",
            geometry=Geometry((0.32, 0.32), "micrometer"),
        )
    (folder / "well B1 field 1.tif").write_bytes(b"interrupted transfer")
    tifffile.imwrite(
        folder / "well B2 overview.tif", np.zeros((64, 64, 3), np.uint8), photometric="rgb"
    )


def write_sections(folder: Path, side: int = 1024) -> Path:
    """Sections of a made-up block of 12 nm pixels, and labels of the first."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    noise = rng.normal(0, 12, (side, side))
    for number in range(N_SECTIONS):
        waves = np.sin((rows + 3 * number) / 37) + np.sin((columns - 2 * number) / 53 + rows / 90)
        section = (128 + 35 * waves + np.roll(noise, number, 1)).clip(0, 255).astype(np.uint8)
        tifffile.imwrite(
            folder / f"section_{number}.tif",
            section,
            imagej=True,
            resolution=(1 / 0.012, 1 / 0.012),
            metadata={"unit": "um"},
        )
    return folder


def batch(person: Person, images: Path, name: str) -> None:
    """Segment a folder, cancel, continue, and open a result."""
    dock: Any = show_dock(person.viewer, "Batch folder")
    frame_of(dock).setMinimumWidth(520)
    dock.form.folder.path = images
    person.wait_until(dock.start_button.isEnabled, f"Batch is disabled: {dock.reason.text()}", 120)
    gaps = GapWatch()
    gaps.start()
    dock.start_button.click()
    person.wait_until(lambda: dock.table.records.counts()["done"] >= 5, "five images")
    dock.cancel_button.click()
    person.wait_until(lambda: not dock.job.running and dock.start_button.isEnabled(), "the end")
    print(dock.start_button.text(), "|", dock.status.text())
    dock.open_result(next(r for r in dock.table.records.records if r.status == "done"))
    person.wait_until(lambda: len(person.viewer.layers) == 2, "the layers")
    dock.start_button.click()
    person.wait_until(lambda: dock.table.records.counts()["done"] >= 14, "fourteen images")
    person.screenshot(f"batch{name}.png")
    person.wait_until(lambda: not dock.job.running, "the end of the batch")
    person.wait(1.5)
    print(dock.status.text(), "|", dock.reason.text())
    gaps.stop()
    print(gaps.report())
    frame_of(dock).hide()


def load(person: Person, sections: Path, name: str) -> None:
    """Open sections as a stack, and say how long it takes until it shows and how it scrolls."""
    person.viewer.layers.clear()
    dock: Any = show_dock(person.viewer, "Load")
    started = time.perf_counter()
    dock.form.folder.path = sections
    person.wait_until(dock.start_button.isEnabled, f"Load is disabled: {dock.reason.text()}", 60)
    print(f"{N_SECTIONS} sections described in {time.perf_counter() - started:.2f} s")
    started = time.perf_counter()
    dock.start_button.click()
    person.wait_until(lambda: len(person.viewer.layers) == 1, "the stack", 60)
    person.wait(0.001)
    print(f"{N_SECTIONS} sections on show after {time.perf_counter() - started:.2f} s")
    started = time.perf_counter()
    for number in range(0, N_SECTIONS, 5):
        person.viewer.dims.set_point(0, person.viewer.layers[0].scale[0] * number)
        person.wait(0.001)
    seconds = time.perf_counter() - started
    print(f"scrolled {N_SECTIONS // 5 / seconds:.0f} sections a second")
    person.screenshot(f"load{name}.png")
    frame_of(dock).hide()


def main() -> None:
    """Drive napari through both docks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--pictures", type=Path, default=RESOURCES)
    parser.add_argument("--theme", default="dark", choices=("dark", "light"))
    parser.add_argument("--only", choices=("batch", "load"))
    arguments = parser.parse_args()
    name = "" if arguments.theme == "dark" else f"-{arguments.theme}"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SAM2_ADAPTERS_DATA"] = folder
        places = {what: Path(folder) / what for what in ("adapters", "screen 7", "block")}
        for place in places.values():
            place.mkdir()
        shutil.copy(arguments.model, places["adapters"])
        viewer = napari.Viewer()
        try:
            viewer.theme = arguments.theme
            viewer.window.resize(1600, 1000)
            person = Person(viewer, arguments.pictures)
            person.wait(1)
            if arguments.only != "load":
                write_images(places["screen 7"])
                batch(person, places["screen 7"], name)
            if arguments.only != "batch":
                load(person, write_sections(places["block"]), name)
        finally:
            viewer.close()


if __name__ == "__main__":
    main()
