from __future__ import annotations

import numpy as np
import pytest

from napari_sam2_adapters.inference.uncertainty import normalized_entropy, softmax


def test_softmax_sums_to_one_and_survives_large_logits():
    logits = np.array([[1000.0, -1000.0], [0.0, 1000.0], [1000.0, 0.0]], np.float32)
    p = softmax(logits)
    np.testing.assert_allclose(p.sum(axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(p[:, 0], [0.5, 0, 0.5], atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_entropy_is_one_when_all_are_equal_and_zero_when_one_is_certain(classes):
    p = np.stack([np.full(classes, 1 / classes), np.eye(classes)[0]], axis=1).astype(np.float32)
    np.testing.assert_allclose(normalized_entropy(p), [1, 0], atol=1e-6)


def test_entropy_of_a_known_distribution():
    p = np.array([[0.25], [0.75]], np.float32)
    bits = -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
    assert normalized_entropy(p)[0] == pytest.approx(bits, rel=1e-5)
