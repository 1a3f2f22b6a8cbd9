"""The scores of a row: a method on all test images of a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import LabelledImage, Split
from measures import area_under_roc, boundary_f_scores, rand_and_information
from methods import Segmented
from numpy.typing import NDArray

from napari_sam2_adapters.metrics import (
    confusion_matrix,
    dice_per_class,
    iou_per_class,
    mean_over_images,
    mean_score,
)

__all__ = ["ImageResult", "score"]


@dataclass(frozen=True)
class ImageResult:
    """A test image as it was segmented, with its mean Dice over the foreground classes that are in it."""

    item: LabelledImage
    labels: NDArray[np.int16]
    foreground_dice: float


def score(
    segment: Callable[[LabelledImage], Segmented], split: Split
) -> tuple[dict[str, Any], list[ImageResult]]:
    """Segment every test image.

    Returns
    -------
    scores, results
        ``lab_miou`` comes from one confusion matrix over all images, background in; all else is per image, then the mean: ``dice`` and
        ``iou`` of each class over the images in which it is true or predicted, ``foreground_dice_where_true`` over those in which it is true,
        ``boundary_f`` at 2 px over foreground classes. ``v_rand``, ``v_info`` (mean over images), ``auc`` (all counted pixels
        together) and ``volume_dice`` (as ``foreground_dice``, of whole volumes instead of slices) where the data set asks for them.
    """
    n = len(split.classes)
    whole = np.zeros((n, n), np.int64)
    volumes: dict[str, NDArray[np.int64]] = {}
    dice, iou, where_true, boundary, regions = [], [], [], [], []
    true_pixels, probabilities = [], []
    results = []
    for item in split.test:
        found = segment(item)
        confusion = confusion_matrix(item.labels, found.labels, n)
        whole += confusion
        if "volumes" in split.also:
            volume = item.name.rpartition("_slice_")[0]
            volumes[volume] = volumes.get(volume, 0) + confusion
        dice.append(dice_per_class(confusion))
        iou.append(iou_per_class(confusion))
        # A class that is not in an image makes its Dice 0 as soon as a pixel is taken for it; some leave these images out.
        where_true.append(np.where(confusion.sum(axis=1) > 0, dice[-1], np.nan))
        boundary.append(boundary_f_scores(item.labels, found.labels, n))
        if "regions" in split.also:
            regions.append(rand_and_information(item.labels == 1, found.labels == 1))
        if "auc" in split.also and found.probabilities is not None:
            counted = item.labels >= 0
            true_pixels.append(item.labels[counted] == 1)
            probabilities.append(found.probabilities[1][counted].astype(np.float32))
        results.append(ImageResult(item, found.labels, mean_score(where_true[-1][1:])))
    names = [c.name for c in split.classes]
    scores = {
        "lab_miou": mean_score(iou_per_class(whole)),
        "foreground_dice": mean_score(mean_over_images(dice)[1:]),
        "foreground_dice_where_true": mean_score(mean_over_images(where_true)[1:]),
        "boundary_f": mean_score(mean_over_images(boundary)[1:]),
        "dice": dict(zip(names, mean_over_images(dice), strict=True)),
        "iou": dict(zip(names, mean_over_images(iou), strict=True)),
        "test_images": len(split.test),
    }
    if volumes:
        of_volumes = mean_over_images([dice_per_class(found) for found in volumes.values()])
        scores["volume_dice"] = mean_score(of_volumes[1:])
    if regions:
        scores["v_rand"], scores["v_info"] = np.nanmean(regions, axis=0)
    if true_pixels:
        scores["auc"] = area_under_roc(np.concatenate(true_pixels), np.concatenate(probabilities))
    return _rounded(scores), results


def _rounded(value: Any) -> Any:
    """Four places, and None for what is not a number: JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, int):
        return value
    return None if np.isnan(value) else round(float(value), 4)
