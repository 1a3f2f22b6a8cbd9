from __future__ import annotations

import numpy as np
import pytest

from napari_sam2_adapters.inference.outputs import Outputs, Prediction
from napari_sam2_adapters.inference.results import ResultRows, strongest
from napari_sam2_adapters.inference.uncertainty import normalized_entropy, softmax


@pytest.mark.parametrize("classes", [2, 3, 40])
def test_a_pixel_gets_the_value_of_its_largest_logit_and_of_equals_the_first(classes):
    generator = np.random.default_rng(0)
    logits = generator.integers(-3, 3, (classes, 77, 50)).astype(np.float32)
    values = generator.permutation(1000)[:classes].astype(np.uint16)
    found = strongest(logits, values)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, values[logits.argmax(axis=0)])


def test_parts_of_a_row_come_out_as_the_row_does_and_only_what_belongs_there_is_written():
    logits = np.random.default_rng(0).normal(size=(3, 20, 50)).astype(np.float32)
    values = np.array([0, 5, 9], np.uint8)
    outputs = Prediction(
        np.full((40, 70), 77, np.uint8),
        np.zeros((3, 40, 70), np.float16),
        np.zeros((40, 70), np.float16),
    )
    rows = ResultRows(outputs, values, slice(10, 60))
    for left, right in ((10, 25), (25, 31), (31, 60)):
        rows.add(slice(8, 28), slice(left, right), logits[:, :, left - 10 : right - 10])
    row = rows.take()
    assert (row.row, row.column, row.probabilities.dtype) == (8, 10, np.float16)
    np.testing.assert_array_equal(row.labels, values[logits.argmax(axis=0)])
    whole = rows.decide(8, 10, logits)
    np.testing.assert_array_equal(row.labels, whole.labels)
    np.testing.assert_array_equal(row.probabilities, whole.probabilities.astype(np.float16))
    wanted_rows, wanted_columns = slice(10, 28), slice(20, 60)
    row.write(outputs, (wanted_rows, wanted_columns), wanted_rows, wanted_columns)
    inner = logits[:, 2:, 10:]
    np.testing.assert_array_equal(outputs.labels[10:28, 20:60], values[inner.argmax(axis=0)])
    assert (outputs.labels == 77).sum() == 40 * 70 - 18 * 40
    expected = softmax(inner)
    found = outputs.probabilities[:, 10:28, 20:60]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    entropy = normalized_entropy(expected)
    np.testing.assert_allclose(outputs.uncertainty[10:28, 20:60], entropy, atol=1e-3)


def test_only_what_there_is_an_array_for_is_computed():
    rows = ResultRows(Outputs(np.zeros((4, 4), np.uint8)), np.array([1, 2], np.uint8), slice(0, 4))
    rows.add(slice(0, 2), slice(0, 4), np.zeros((2, 2, 4), np.float32))
    row = rows.take()
    assert (row.probabilities, row.uncertainty) == (None, None)
    assert (row.labels == 1).all()
    with pytest.raises(ValueError, match="no results to take"):
        rows.take()
