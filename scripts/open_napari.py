"""Open napari with the fluorescence sample, its strokes and the Fine-tune dock: what ``make app`` does."""

from __future__ import annotations

import napari
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_sam2_adapters.widgets.docks.dock import show_dock

PLUGIN = "napari-sam2-adapters"
WINDOW_SIZE_PX = 1400, 900


def open_app() -> napari.Viewer:
    """Open the window, with the docks Segment and Fine-tune as tabs, and the sample."""
    viewer = napari.Viewer()
    viewer.window.resize(*WINDOW_SIZE_PX)
    for name in ("Segment", "Fine-tune"):
        show_dock(viewer, name)
    # The docks make the canvas narrower: the sample's hint, which napari does not move any more, comes when they have.
    QApplication.processEvents()
    viewer.open_sample(PLUGIN, "fluorescence")
    QTimer.singleShot(0, viewer.reset_view)
    return viewer


def main() -> None:
    """Open the window and run napari until it is closed."""
    open_app()
    napari.run()


if __name__ == "__main__":
    main()
