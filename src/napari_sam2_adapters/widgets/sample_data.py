"""Sample images with strokes, for File ▸ Open Sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.utils.notifications import show_info

from napari_sam2_adapters.data.samples import Sample, load_sample
from napari_sam2_adapters.widgets.docks.results import class_colormap, class_features

__all__ = ["fluorescence", "tissue"]

_SOURCE = {"source": "Data Science Bowl 2018, stage 1", "licence": "CC0-1.0"}

LayerData = tuple[Any, dict[str, Any], str]


def fluorescence() -> list[LayerData]:
    """Nuclei in fluorescence: a grey stack, dense labels (hidden) and painted strokes."""
    return _opened("fluorescence")


def tissue() -> list[LayerData]:
    """Nuclei in stained tissue: a colour stack, dense labels (hidden) and painted strokes."""
    return _opened("tissue")


def _opened(name: str) -> list[LayerData]:
    """The layers, and a word on what they are for."""
    sample = load_sample(name)
    show_info(_hint(sample))
    return _layers(sample)


def _hint(sample: Sample) -> str:
    """What lies in which layer, and what to do next."""
    stroked, others = len(sample.train_images), len(sample.held_out_images)
    return (
        "Next: Layers ▸ Segment ▸ Fine-tune, and press Fine-tune there. "
        f"The first {stroked} of {stroked + others} slices have strokes to learn from; try it on the other {others}. "
        f"Paint more into ‘{sample.name} – strokes’; ‘{sample.name} – truth’ is hidden and only for comparison."
    )


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
        (images, {"name": sample.name, "rgb": sample.rgb, "metadata": dict(_SOURCE)}, "image"),
        (dense, {"name": f"{sample.name} – truth", "visible": False, **named}, "labels"),
        (strokes, {"name": f"{sample.name} – strokes", **named}, "labels"),
    ]
