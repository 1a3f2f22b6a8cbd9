"""Open napari with the fluorescence sample, its strokes and the Fine-tune dock: what ``make app`` does."""

from __future__ import annotations

import napari

PLUGIN = "napari-sam2-adapters"


def open_app() -> napari.Viewer:
    """Open the window, with the sample and the docks Segment and Fine-tune as tabs."""
    viewer = napari.Viewer()
    viewer.open_sample(PLUGIN, "fluorescence")
    viewer.window.add_plugin_dock_widget(PLUGIN, "Segment")
    viewer.window.add_plugin_dock_widget(PLUGIN, "Fine-tune", tabify=True)
    return viewer


def main() -> None:
    """Open the window and run napari until it is closed."""
    open_app()
    napari.run()


if __name__ == "__main__":
    main()
