from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from napari_sam2_adapters.metrics import (
    UNLABELLED,
    confusion_matrix,
    dice_per_class,
    iou_per_class,
    mean_over_images,
    mean_score,
)

N_CLASSES = 4
Labels = NDArray[np.int64]
SHAPE = (5, 7)
truths = arrays(np.int64, SHAPE, elements=st.integers(UNLABELLED, N_CLASSES - 1))
# A busy machine is no failure, and a test that fails should fail again.
calm = settings(max_examples=60)
predictions = arrays(np.int64, SHAPE, elements=st.integers(0, N_CLASSES - 1))


@calm
@given(truths, predictions)
def test_scores_are_those_counted_pixel_by_pixel(truth: Labels, predicted: Labels) -> None:
    confusion = confusion_matrix(truth, predicted, N_CLASSES)
    dice, iou = dice_per_class(confusion), iou_per_class(confusion)
    labelled = truth != UNLABELLED
    for c in range(N_CLASSES):
        a, b = (truth == c)[labelled], (predicted == c)[labelled]
        if not (a | b).any():
            assert np.isnan(dice[c])
            assert np.isnan(iou[c])
            continue
        assert dice[c] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
        assert iou[c] == pytest.approx((a & b).sum() / (a | b).sum())


@calm
@given(truths, predictions)
def test_the_matrix_counts_every_labelled_pixel_once(truth: Labels, predicted: Labels) -> None:
    confusion = confusion_matrix(truth, predicted, N_CLASSES)
    assert confusion.shape == (N_CLASSES, N_CLASSES)
    assert confusion.dtype == np.int64
    assert confusion.sum() == (truth >= 0).sum()
    assert np.array_equal(
        confusion.sum(1), np.bincount(truth[truth >= 0].ravel(), minlength=N_CLASSES)
    )


@calm
@given(truths, predictions)
def test_matrices_of_parts_add_up(truth: Labels, predicted: Labels) -> None:
    parts = sum(
        confusion_matrix(truth[rows], predicted[rows], N_CLASSES)
        for rows in (slice(0, 2), slice(2, 5))
    )
    assert np.array_equal(parts, confusion_matrix(truth, predicted, N_CLASSES))


@calm
@given(truths)
def test_the_truth_itself_scores_one(truth: Labels) -> None:
    confusion = confusion_matrix(truth, np.maximum(truth, 0), N_CLASSES)
    for scores in (dice_per_class(confusion), iou_per_class(confusion)):
        assert np.all(np.isnan(scores) | (scores == 1))


def test_rows_are_the_truth() -> None:
    confusion = confusion_matrix(np.array([0, 0, 1]), np.array([1, 1, 1]), 2)
    assert confusion.tolist() == [[0, 2], [0, 1]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32])
def test_any_integer_type_will_do(dtype: type[Any]) -> None:
    n_classes = 100  # rows · classes would overflow eight bits
    truth = np.arange(n_classes).astype(dtype)
    assert np.trace(confusion_matrix(truth, truth, n_classes)) == n_classes


def test_what_is_predicted_where_nothing_is_labelled_does_not_count() -> None:
    confusion = confusion_matrix(np.array([UNLABELLED, 0]), np.array([99, 0]), 2)
    assert confusion.sum() == 1


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        ([0, 1], [0], "truth has shape"),
        ([0, 2], [0, 1], "between 0 and 1"),
        ([0, 1], [0, 2], "between 0 and 1"),
        ([0, 1], [0, -1], "between 0 and 1"),
    ],
    ids=["shape", "truth too large", "prediction too large", "prediction negative"],
)
def test_what_cannot_be_counted_is_refused(
    truth: list[int], predicted: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_matrix(np.array(truth), np.array(predicted), 2)


def test_means_leave_out_what_was_not_there() -> None:
    nan = float("nan")
    assert mean_score(np.array([0.5, nan, 1.0])) == 0.75
    assert np.isnan(mean_score(np.array([nan, nan])))
    table = [np.array([0.5, nan, nan]), np.array([1.0, 0.2, nan])]
    assert mean_over_images(table)[:2].tolist() == [0.75, 0.2]
    assert np.isnan(mean_over_images(table)[2])
    with pytest.raises(ValueError, match="score at least one image"):
        mean_over_images([])
