"""Batches of augmented crops, drawn so that the same two random states give the same batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_sam2_adapters.config import RecipeName, TrainConfig
from napari_sam2_adapters.data.augment import (
    augment_interactive,
    augment_paper,
    augment_upright,
    interactive_source_size,
    paper_source_size,
    upright_source_size,
)
from napari_sam2_adapters.data.dataset import Dataset
from napari_sam2_adapters.data.sampling import CropSampler

__all__ = ["BatchSource"]

Augment = Callable[[Tensor, Tensor, int, torch.Generator], tuple[Tensor, Tensor]]

_AUGMENTS: dict[RecipeName, tuple[Augment, Callable[[int], int]]] = {
    "interactive": (augment_interactive, interactive_source_size),
    "upright": (augment_upright, upright_source_size),
    "paper": (augment_paper, paper_source_size),
}


class BatchSource:
    """Draws the batches of a run.

    Parameters
    ----------
    dataset
        Its learning part is drawn from.
    config
        Batch size, crop size, recipe (which augmentation), whether to augment, and seed.

    Attributes
    ----------
    class_counts
        Labelled training pixels of each class.
    """

    def __init__(self, dataset: Dataset, config: TrainConfig) -> None:
        self._rng = np.random.default_rng(config.seed)
        self._generator = torch.Generator().manual_seed(config.seed)
        self.class_counts: list[int] = dataset.labelled_pixels(dataset.train).tolist()
        self._sampler = CropSampler(dataset, config.crop_size_px, self._rng)
        self._config = config

    def draw(self) -> tuple[Tensor, Tensor]:
        """Next batch: float32 images ``(B, C, S, S)`` and int64 class indices ``(B, S, S)``."""
        crops = [self._draw_crop() for _ in range(self._config.batch_size)]
        return torch.stack([image for image, _ in crops]), torch.stack(
            [labels for _, labels in crops]
        )

    def random_state(self) -> tuple[dict[str, Any], Tensor]:
        """State of the choice of crops, ready for JSON, and of their augmentation (uint8)."""
        return dict(self._rng.bit_generator.state), self._generator.get_state()

    def restore(self, crops: dict[str, Any], augmentation: Tensor) -> None:
        """Put back what :meth:`random_state` gave: the batches that followed then follow again."""
        self._rng.bit_generator.state = crops
        self._generator.set_state(augmentation)

    def _draw_crop(self) -> tuple[Tensor, Tensor]:
        size = self._config.crop_size_px
        if not self._config.augment:
            image, labels = self._sampler.sample(size)
            return torch.from_numpy(image), torch.from_numpy(labels)
        augment, source_size = _AUGMENTS[self._config.recipe]
        image, labels = self._sampler.sample(source_size(size))
        return augment(torch.from_numpy(image), torch.from_numpy(labels), size, self._generator)
