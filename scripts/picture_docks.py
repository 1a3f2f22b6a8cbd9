"""Open all docks in napari's dark and light theme, and leave a picture of each in ``resources/docks/``.

For the eyes: icons, marked fields, the plot and what is disabled have to be seen in both themes. It trains for some steps first. Run it with
``bash scripts/on_virtual_screen.sh python scripts/picture_docks.py``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from open_napari import open_app
from person import Person, frame_of

from napari_sam2_adapters.widgets.docks.dock import show_dock

PICTURES = Path(__file__).parents[1] / "resources" / "docks"
MOST_BYTES = 300_000
NAMES = ("Load", "Segment", "Fine-tune", "Batch folder", "Models")


def write_images(folder: Path) -> Path:
    """Images of a folder to be segmented, and a broken one."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        tifffile.imwrite(
            folder / f"well A1 field {number}.tif",
            rng.integers(0, 255, (96, 96), dtype=np.uint8),
            imagej=True,
        )
    (folder / "well A2 field 0.tif").write_bytes(b"interrupted transfer")
    (folder / "masks").mkdir()
    labels = np.zeros((96, 96), np.uint8)
    labels[20:60, 20:60] = 1
    tifffile.imwrite(folder / "masks" / "well A1 field 0.tif", labels)
    return folder


def use(person: Person, docks: dict[str, Any], images: Path, steps: int) -> None:
    """Bring each dock into a state with something to see."""
    tuning = docks["Fine-tune"]
    plain = tuning.training.plain
    plain.settings = plain.settings.model_copy(update={"steps": steps})
    person.wait_until(tuning.start_button.isEnabled, tuning.reason.text())
    tuning.start_button.click()
    person.wait_until(lambda: not tuning.job.running, "the training")
    print(tuning.status.text())
    batch, load = docks["Batch folder"], docks["Load"]
    batch.form.folder.path = images
    person.wait_until(lambda: bool(batch.form.adapter.header) and batch.start_button.isEnabled(), "batch")  # fmt: skip
    batch.start_button.click()
    person.wait_until(lambda: not batch.job.running, "the batch")
    load.form.folder.path = images / "masks" / "well A1 field 0.tif"
    person.wait_until(lambda: not load.form.missing(), "the file in Load")


def picture(person: Person, docks: dict[str, Any], theme: str) -> None:
    """A picture of each dock, from its top and where it is longer than the window also from its end."""
    person.viewer.theme = theme
    person.wait(1)
    backbone = docks["Fine-tune"].training.backbone
    for name, dock in docks.items():
        frame = frame_of(dock)
        frame.raise_()
        bar = dock.scroll.verticalScrollBar()
        for end, place in (("", 0), ("-end", bar.maximum())):
            if end and place < frame.height() // 4:  # nearly all is in the first picture
                continue
            bar.setValue(place)
            save(person, frame, f"{name.lower().replace(' ', '-')}{end}-{theme}.png")
    if backbone.findData("tiny") >= 0:  # its weights are not here, so that the field is marked
        frame_of(docks["Fine-tune"]).raise_()
        backbone.setCurrentIndex(backbone.findData("tiny"))
        person.wait(0.3)
        docks["Fine-tune"].scroll.ensureWidgetVisible(backbone)
        save(person, frame_of(docks["Fine-tune"]), f"fine-tune-marked-{theme}.png")
        backbone.setCurrentIndex(backbone.findData("mobile"))


def save(person: Person, frame: Any, name: str) -> None:
    """Save what a frame shows; a picture that is too large for the repository ends the script."""
    person.wait(0.4)
    path = person.pictures / name
    frame.grab().save(str(path))
    if path.stat().st_size > MOST_BYTES:
        sys.exit(f"{path.name} has {path.stat().st_size} bytes, more than {MOST_BYTES}.")


def main() -> None:
    """Open, use and picture the docks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, default=PICTURES)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    arguments.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SAM2_ADAPTERS_DATA"] = os.environ["SAM2_ADAPTERS_LOGS"] = folder
        os.environ["SAM2_ADAPTERS_CACHE"] = str(Path(folder) / "backbones")
        viewer = open_app()
        try:
            viewer.window.resize(1500, 980)
            person = Person(viewer, arguments.pictures)
            docks = {name: show_dock(viewer, name) for name in NAMES}
            person.wait(2)
            use(person, docks, write_images(Path(folder) / "screen 7"), arguments.steps)
            for theme in ("dark", "light"):
                picture(person, docks, theme)
        finally:
            viewer.close()


if __name__ == "__main__":
    main()
