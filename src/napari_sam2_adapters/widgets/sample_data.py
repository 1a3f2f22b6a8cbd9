"""Sample images with strokes, for File ▸ Open Sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_sam2_adapters.data.samples import Sample, load_sample
from napari_sam2_adapters.widgets._results import class_colormap, class_features

__all__ = ["fluorescence", "tissue"]

LayerData = tuple[Any, dict[str, Any], str]


def fluorescence() -> list[LayerData]:
    """Nuclei in fluorescence: a grey stack, dense labels (hidden) and painted strokes."""
    return _layers(load_sample("fluorescence"))


def tissue() -> list[LayerData]:
    """Nuclei in stained tissue: a colour stack, dense labels (hidden) and painted strokes."""
    return _layers(load_sample("tissue"))


def _layers(sample: Sample) -> list[LayerData]:
    """The images that have strokes first, then those to try the adapter on."""
    images = np.concatenate([sample.train_images, sample.held_out_images])
    dense = np.concatenate([sample.train_labels, sample.held_out_labels])
    strokes = np.concatenate([sample.train_strokes, np.zeros_like(sample.held_out_labels)])
    named = {
        "features": class_features(sample.classes),
        "colormap": class_colormap(sample.classes, show_background=True),
    }
    return [
        (images, {"name": sample.name, "rgb": sample.rgb}, "image"),
        (dense, {"name": f"{sample.name} – truth", "visible": False, **named}, "labels"),
        (strokes, {"name": f"{sample.name} – strokes", **named}, "labels"),
    ]
