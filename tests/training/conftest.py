"""A real picture with two classes, small enough to learn in seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from skimage import data, filters

from napari_sam2_adapters.config import TrainConfig
from napari_sam2_adapters.data.dataset import Dataset, Pair, build_dataset


def coins_dataset(held_out_fraction: float = 0.2, size: int = 192) -> Dataset:
    image = data.coins()[:size, :size]
    smooth = filters.gaussian(image, 2, preserve_range=True)
    labels = (smooth > filters.threshold_otsu(image)).astype(np.uint8) + 1
    pair = Pair(image, labels, "YX", "coins")
    return build_dataset([pair], held_out_fraction=held_out_fraction, crop_size_px=64)


@pytest.fixture
def coins() -> Callable[..., Dataset]:
    """Factory of a data set of scikit-image's coins: ``coins(held_out_fraction=0.2, size=192)``."""
    return coins_dataset


@pytest.fixture
def quick() -> Callable[..., TrainConfig]:
    """Factory of settings for a training of some hundred milliseconds."""

    def make(**settings: Any) -> TrainConfig:
        return TrainConfig(
            **{"steps": 6, "validate_every": 2, "batch_size": 2, "crop_size_px": 64} | settings
        )

    return make


@pytest.fixture
def stack_with_a_rare_class() -> Pair:
    """Forty planes of two classes; a third one is on four of them."""
    labels = np.zeros((40, 64, 64), np.uint8)
    labels[::2, :32], labels[::2, 32:] = 1, 2
    labels[(4, 12, 20, 28), 50:60, 50:60] = 3
    return Pair(np.random.default_rng(0).random(labels.shape), labels, "ZYX", "stack")
