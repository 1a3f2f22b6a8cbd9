"""Batches of augmented crops, drawn so that the same two random states give the same batches."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
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

Batch = tuple[Tensor, Tensor]
RandomState = tuple[dict[str, Any], Tensor]
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
    ahead
        Whether the next batch is drawn in a thread while the last one is learnt from: for a GPU, which would wait for it.
        The batches are the same.

    Attributes
    ----------
    class_counts
        Labelled training pixels of each class.
    """

    def __init__(self, dataset: Dataset, config: TrainConfig, *, ahead: bool = False) -> None:
        self._rng = np.random.default_rng(config.seed)
        self._generator = torch.Generator().manual_seed(config.seed)
        self.class_counts: list[int] = dataset.labelled_pixels(dataset.train).tolist()
        self._sampler = CropSampler(dataset, config.crop_size_px, self._rng)
        self._config = config
        self._state = self._present_state()
        self._drawer = (
            ThreadPoolExecutor(1, thread_name_prefix="sam2-adapters-drawing") if ahead else None
        )
        self._coming: Future[Batch] | None = None

    def draw(self) -> Batch:
        """Next batch: float32 images ``(B, C, S, S)`` and int64 class indices ``(B, S, S)``."""
        coming, self._coming = self._coming, None
        batch = self._draw_batch() if coming is None else coming.result()
        self._state = self._present_state()
        if self._drawer is not None:
            self._coming = self._drawer.submit(self._draw_batch)
        return batch

    def random_state(self) -> RandomState:
        """State, after the last batch that was given, of the choice of crops, ready for JSON, and of their augmentation (uint8)."""
        return self._state

    def restore(self, crops: dict[str, Any], augmentation: Tensor) -> None:
        """Put back what :meth:`random_state` gave: the batches that followed then follow again."""
        if self._coming is not None:
            wait([self._coming])  # it draws from the same states
            self._coming = None
        self._rng.bit_generator.state = crops
        self._generator.set_state(augmentation)
        self._state = self._present_state()

    def _present_state(self) -> RandomState:
        return dict(self._rng.bit_generator.state), self._generator.get_state()

    def _draw_batch(self) -> Batch:
        crops = [self._draw_crop() for _ in range(self._config.batch_size)]
        return torch.stack([image for image, _ in crops]), torch.stack(
            [labels for _, labels in crops]
        )

    def _draw_crop(self) -> tuple[Tensor, Tensor]:
        size = self._config.crop_size_px
        if not self._config.augment:
            image, labels = self._sampler.sample(size)
            return torch.from_numpy(image), torch.from_numpy(labels)
        augment, source_size = _AUGMENTS[self._config.recipe]
        image, labels = self._sampler.sample(source_size(size))
        return augment(torch.from_numpy(image), torch.from_numpy(labels), size, self._generator)
