"""Scores of a label image against the truth, from confusion matrices.

A confusion matrix adds up over tiles, slices and images, so every score here can be had without all pixels in
memory: the laboratory's mIoU comes from one matrix over the whole test set, the field's Dice from one per image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "UNLABELLED",
    "confusion_matrix",
    "dice_per_class",
    "iou_per_class",
    "mean_over_images",
    "mean_score",
]

UNLABELLED = -1
"""Class index of a pixel that nobody labelled: it counts in no loss and in no score."""


def confusion_matrix(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int
) -> NDArray[np.int64]:
    """Count pixels by true class (rows) and predicted class (columns).

    Parameters
    ----------
    truth, predicted
        Class indices ``0 … n_classes - 1`` of one shape; pixels where ``truth`` is negative (unlabelled) do
        not count.

    Raises
    ------
    ValueError
        When the shapes differ or an index is out of range.
    """
    if truth.shape != predicted.shape:
        raise ValueError(
            f"truth has shape {truth.shape} but the prediction has {predicted.shape}; give both of one image."
        )
    labelled = truth >= 0
    rows = truth[labelled].astype(np.int64)
    columns = predicted[labelled].astype(np.int64)
    if rows.size and (rows.max() >= n_classes or columns.min() < 0 or columns.max() >= n_classes):
        raise ValueError(
            f"Class indices must lie between 0 and {n_classes - 1}, but the truth goes up to {rows.max()} and the "
            f"prediction from {columns.min()} to {columns.max()}; turn label values into indices first."
        )
    counts = np.bincount(rows * n_classes + columns, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes).astype(np.int64)


def dice_per_class(confusion: NDArray[np.integer]) -> NDArray[np.float64]:
    """Dice ``2 TP / (2 TP + FP + FN)`` of each class; NaN where a class is in neither image."""
    hits, in_truth, in_prediction = _counts(confusion)
    return _ratio(2 * hits, in_truth + in_prediction)


def iou_per_class(confusion: NDArray[np.integer]) -> NDArray[np.float64]:
    """Intersection over union ``TP / (TP + FP + FN)`` of each class; NaN where a class is in neither image."""
    hits, in_truth, in_prediction = _counts(confusion)
    return _ratio(hits, in_truth + in_prediction - hits)


def mean_score(scores: NDArray[np.float64]) -> float:
    """Mean over the classes that were there; NaN when none was."""
    there = scores[~np.isnan(scores)]
    return float(there.mean()) if there.size else float("nan")


def mean_over_images(scores: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean of each class over the images in which it is true or predicted; NaN where it never is.

    Raises
    ------
    ValueError
        When there is no image.
    """
    if not scores:
        raise ValueError("There are no scores to average; score at least one image.")
    table = np.stack(scores)
    counted = (~np.isnan(table)).sum(axis=0)
    return _ratio(np.nansum(table, axis=0), counted)


def _counts(
    confusion: NDArray[np.integer],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    matrix = confusion.astype(np.float64)
    return np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)


def _ratio(above: NDArray[np.float64], below: NDArray[np.generic]) -> NDArray[np.float64]:
    result = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=result, where=np.asarray(below) > 0)
    return result
