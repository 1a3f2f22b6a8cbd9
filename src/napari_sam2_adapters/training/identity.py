"""What a run is, so that a checkpoint of another one is not taken for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from napari_sam2_adapters.config import TrainConfig
from napari_sam2_adapters.data.dataset import Dataset, Region
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training.windows import Window
from napari_sam2_adapters.wording import counted

__all__ = ["check_fit", "describe_run"]

# A run may go on for longer, or be checked more often, than it was started for.
# What is computed twice comes out the same, and calibrated is what was learnt.
_FREE_SETTINGS = {
    "steps",
    "time_budget_s",
    "patience",
    "validate_every",
    "recompute",
    "calibrate",
}


def describe_run(
    segmenter: Segmenter,
    dataset: Dataset,
    config: TrainConfig,
    class_counts: Sequence[int],
    windows: Sequence[Window],
) -> dict[str, Any]:
    """Give network, classes, settings and data of a run, ready for JSON.

    Parameters
    ----------
    class_counts
        Labelled training pixels of each class.
    windows
        What every check scores: scores of other pixels could not be compared.
    """
    settings = config.model_dump(mode="json", exclude=_FREE_SETTINGS)
    return {
        "network": {
            **segmenter.config.model_dump(mode="json"),
            "backbone_sha256": segmenter.backbone_sha256,
        },
        "classes": {str(info.value): info.name for info in segmenter.classes},
        "settings": settings,
        "data": {
            "split": dataset.split_description,
            "labelled training pixels per class": list(class_counts),
            "normalization": dataset.normalization.model_dump(mode="json"),
            "regions": _fingerprint([*dataset.train, *dataset.held_out]),
            "pixels of the images": [*dataset.checksums],
            "labels": _fingerprint_labels(dataset),
            # Compared letter by letter with that of earlier versions, so a single one is "1 windows" too.
            "held-out windows": f"{len(windows)} windows, {_fingerprint_windows(windows)}",
        },
    }


def check_fit(segmenter: Segmenter, dataset: Dataset) -> None:
    """Check that the segmenter can learn from these data.

    Raises
    ------
    ValueError
        When the classes (their values, in order) or the number of channels differ, or an image holds no number.
    """
    ours, theirs = ([info.value for info in part.classes] for part in (segmenter, dataset))
    if ours != theirs:
        raise ValueError(
            f"The segmenter has the class values {ours}, but the data have {theirs}. Train a fresh adapter for "
            "these classes, or relabel the data."
        )
    channels = segmenter.config.input_channels
    if channels != dataset.input_channels:
        raise ValueError(
            f"The segmenter takes images of {counted(channels, 'channel')}, but the data have {dataset.input_channels}. "
            "Build one with that many channels, or choose other images."
        )
    dataset.check_images()


def _fingerprint(regions: Sequence[Region]) -> str:
    places = [
        (r.pair, r.plane, r.rows.start, r.rows.stop, r.columns.start, r.columns.stop, r.name)
        for r in regions
    ]
    return hashlib.sha256(json.dumps(places).encode()).hexdigest()


def _fingerprint_labels(dataset: Dataset) -> str:
    """Checksum over the labels to learn from and to score on: how many there are of each class does not tell where."""
    digest = hashlib.sha256()
    for region in [*dataset.train, *dataset.held_out]:
        digest.update(dataset.read_labels(region).tobytes())
    return digest.hexdigest()[:12]


def _fingerprint_windows(windows: Sequence[Window]) -> str:
    cores = [(c.start, c.stop) for window in windows for c in window.core]
    regions = _fingerprint([window.region for window in windows])
    return hashlib.sha256(json.dumps([regions, cores]).encode()).hexdigest()[:12]
