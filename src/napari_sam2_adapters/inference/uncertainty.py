"""How sure a segmentation is of each pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["normalized_entropy", "softmax"]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities over the first axis, (classes, …) in and out."""
    shifted = np.exp(logits - logits.max(axis=0, keepdims=True))
    result: NDArray[np.float32] = shifted / shifted.sum(axis=0, keepdims=True)
    return result


def normalized_entropy(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """Entropy ``-Σ p log p / log C`` over the first axis: 0 where one class is certain, 1 where all are equally likely.

    Parameters
    ----------
    probabilities
        (C, …), C ≥ 2, summing to 1 over the first axis.
    """
    p = probabilities.astype(np.float32)
    # p log p goes to 0 with p; the floor keeps log finite there.
    entropy = -(p * np.log(np.maximum(p, np.finfo(np.float32).tiny))).sum(axis=0)
    result: NDArray[np.float32] = np.clip(entropy / np.log(p.shape[0]), 0, 1).astype(np.float32)
    return result
