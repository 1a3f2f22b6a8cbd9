"""A real picture with two classes, small enough to learn in seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data, filters
from torch import Tensor

from napari_sam2_adapters.config import TrainConfig
from napari_sam2_adapters.data.dataset import Dataset, Pair, build_dataset
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training.records import (
    NoticeRecord,
    Record,
    StepRecord,
    ValidationRecord,
)


def coins_dataset(
    held_out_fraction: float = 0.2, size: int = 192, *, strokes: bool = False
) -> Dataset:
    image = data.coins()[:size, :size]
    smooth = filters.gaussian(image, 2, preserve_range=True)
    labels = (smooth > filters.threshold_otsu(image)).astype(np.uint8) + 1
    if strokes:
        labels[np.arange(size) % 16 > 2] = 0
    pair = Pair(image, labels, "YX", "coins")
    return build_dataset([pair], held_out_fraction=held_out_fraction, crop_size_px=64)


@pytest.fixture
def coins() -> Callable[..., Dataset]:
    """Factory of a data set of scikit-image's coins: ``coins(held_out_fraction=0.2, size=192, strokes=False)``."""
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


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.fixture
def same() -> Callable[[dict[str, Tensor], dict[str, Tensor]], bool]:
    """Whether two states hold the same tensors."""
    return _same


def _untimed(history: list[Record]) -> list[Record]:
    timeless = {"seconds": 0.0}
    return [
        replace(r, **timeless, images_per_second=0.0)
        if isinstance(r, StepRecord)
        else replace(r, **timeless)
        if isinstance(r, ValidationRecord)
        else r
        for r in history
    ]


@pytest.fixture
def untimed() -> Callable[[list[Record]], list[Record]]:
    """The history without what the clock says."""
    return _untimed


def _steps(history: list[Record]) -> list[StepRecord]:
    return [record for record in history if isinstance(record, StepRecord)]


@pytest.fixture
def steps() -> Callable[[list[Record]], list[StepRecord]]:
    """Steps of a history."""
    return _steps


def _checks(history: list[Record]) -> list[ValidationRecord]:
    return [record for record in history if isinstance(record, ValidationRecord)]


@pytest.fixture
def checks() -> Callable[[list[Record]], list[ValidationRecord]]:
    """Held-out checks of a history."""
    return _checks


def _notices(history: list[Record]) -> list[str]:
    return [record.message for record in history if isinstance(record, NoticeRecord)]


@pytest.fixture
def notices() -> Callable[[list[Record]], list[str]]:
    """What a history tells in words."""
    return _notices


def _spoil_after(segmenter: Segmenter, calls: int, change: Callable[[Tensor], Tensor]) -> None:
    seen = 0

    def hook(module: Segmenter, inputs: object, output: Tensor) -> Tensor:
        nonlocal seen
        if not torch.is_grad_enabled() or len(output) == 1:  # a check, or the crop that is measured
            return output
        seen += 1
        return change(output) if seen > calls else output

    segmenter.register_forward_hook(hook)


@pytest.fixture
def spoil_after() -> Callable[[Segmenter, int, Callable[[Tensor], Tensor]], None]:
    """Change the logits of every training pass (not of checks) after the first few."""
    return _spoil_after
