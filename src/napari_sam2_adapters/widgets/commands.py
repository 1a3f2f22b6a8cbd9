"""Commands of the palette and the menus that are no docks."""

from __future__ import annotations

import napari
import napari.layers
from qtpy.QtCore import QTimer

from napari_sam2_adapters.widgets.annotation.strokes import add_strokes
from napari_sam2_adapters.widgets.docks import layers
from napari_sam2_adapters.widgets.docks.dock import show_dock
from napari_sam2_adapters.widgets.docks.log import open_log, open_path, show_failure
from napari_sam2_adapters.widgets.docks.store import adapters_folder

__all__ = ["measure", "new_strokes", "open_adapters_folder", "open_log_file"]


def new_strokes(viewer: napari.Viewer) -> None:
    """Add an empty Labels layer that lies on the selected image, with the brush in hand."""
    image = viewer.layers.selection.active
    if not isinstance(image, napari.layers.Image):
        images = [layer for layer in viewer.layers if isinstance(layer, napari.layers.Image)]
        if len(images) != 1:
            show_failure("Select the image that you want to paint on, and choose this again.")
            return
        image = images[0]
    try:
        picture = layers.take_picture(image, channel_axis=layers.guess_channel_axis(image))
    except ValueError as error:
        show_failure(str(error))
        return
    add_strokes(viewer, image, picture)


def measure(viewer: napari.Viewer) -> None:
    """Show the part of the Segment dock that measures a labels layer."""
    dock = show_dock(viewer, "Segment")
    QTimer.singleShot(0, lambda: dock.scroll.ensureWidgetVisible(dock.measuring))


def open_adapters_folder() -> None:
    """Show the saved adapters on the desktop."""
    open_path(adapters_folder())


def open_log_file() -> None:
    """Open the log with the details of errors."""
    open_log()
