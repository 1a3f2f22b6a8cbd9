"""The segmenter on held-out windows: its logits, and what they score."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sam2_adapters.data.dataset import Dataset
from napari_sam2_adapters.inference.network import copy_to_cpu
from napari_sam2_adapters.metrics import (
    UNLABELLED,
    confusion_matrix,
    dice_per_class,
    iou_per_class,
    mean_score,
)
from napari_sam2_adapters.models.memory import attempt
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training.losses import Loss
from napari_sam2_adapters.training.windows import Window

__all__ = ["Computed", "Scored", "compute_windows", "score_windows"]


@dataclass(frozen=True)
class Scored:
    """Outcome of a check.

    Attributes
    ----------
    confusion
        Counts ``(C, C)``, true classes in rows.
    loss
        Mean over the batches of windows, each weighing as much as it has labelled pixels; NaN where it was not computed.
    on_cpu
        Whether a copy of the network on the CPU took over, because the device's memory was full.
    """

    confusion: NDArray[np.int64]
    loss: float = math.nan
    on_cpu: bool = False

    def __add__(self, other: Scored) -> Scored:
        """Scores of the windows of both."""
        pixels = self.pixels + other.pixels
        losses = [one.loss * one.pixels for one in (self, other) if one.pixels]
        return Scored(
            self.confusion + other.confusion,
            sum(losses) / max(pixels, 1),
            on_cpu=self.on_cpu or other.on_cpu,
        )

    @property
    def dice(self) -> NDArray[np.float64]:
        """Dice ``(C,)``; NaN for a class that is neither true nor predicted."""
        return dice_per_class(self.confusion)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union ``(C,)``; NaN as for Dice."""
        return iou_per_class(self.confusion)

    @property
    def mean_dice(self) -> float:
        """Mean Dice over the classes that are true somewhere, so that one stray pixel cannot add a class."""
        return mean_score(self.dice[self.is_true])

    @property
    def is_true(self) -> NDArray[np.bool_]:
        """Classes ``(C,)`` that are true somewhere."""
        present: NDArray[np.bool_] = self.confusion.sum(axis=1) > 0
        return present

    @property
    def pixels(self) -> int:
        """Labelled pixels scored."""
        return int(self.confusion.sum())


def score_windows(
    segmenter: Segmenter,
    dataset: Dataset,
    windows: Sequence[Window],
    loss: Loss,
    *,
    batch_size: int,
    precision: AbstractContextManager[object],
    class_bias: NDArray[np.float32] | None = None,
) -> Scored:
    """Score the segmenter as it is on the windows, in inference mode; its training mode is put back.

    Parameters
    ----------
    class_bias
        ``(windows, C)`` what is added to the logits of each window; None: nothing.

    Raises
    ------
    MemoryError
        When not even one window fits into the main memory.
    """
    n_classes = segmenter.n_classes
    confusion = np.zeros((n_classes, n_classes), dtype=np.int64)
    loss_sum, on_cpu = 0.0, False
    with closing(compute_windows(segmenter, dataset, windows, batch_size, precision)) as batches:
        for batch in batches:
            truth, added = batch.truth, None
            if class_bias is not None:
                added = torch.from_numpy(class_bias[batch.first : batch.first + len(truth)])
            judge = partial(_judge, truth=truth, added=added, loss=loss)
            judged = attempt(batch.logits.device, partial(judge, batch.logits))
            cost, predicted = judge(batch.logits.cpu()) if judged is None else judged
            loss_sum += cost * int((truth >= 0).sum())
            confusion += confusion_matrix(truth.numpy(), predicted.numpy(), n_classes)
            on_cpu = batch.on_cpu
    mean_loss = loss_sum / max(int(confusion.sum()), 1)
    return Scored(confusion, mean_loss, on_cpu=on_cpu)


def _judge(
    logits: Tensor, *, truth: Tensor, added: Tensor | None, loss: Loss
) -> tuple[float, Tensor]:
    """Loss of some windows, and the classes (B, H, W) found in them, in the main memory."""
    if added is not None:
        logits = logits + added.to(logits.device)[:, :, None, None]
    return float(loss(logits, truth.to(logits.device), 1.0)), logits.argmax(dim=1).cpu()


@dataclass(frozen=True)
class Computed:
    """Logits ``(B, C, H, W)`` and truth ``(B, H, W)`` of windows from number ``first`` on."""

    first: int
    logits: Tensor
    truth: Tensor
    on_cpu: bool


def compute_windows(
    segmenter: Segmenter,
    dataset: Dataset,
    windows: Sequence[Window],
    batch_size: int,
    precision: AbstractContextManager[object],
) -> Generator[Computed, None, None]:
    """Logits and truth of all windows, in inference mode; by a copy of the network on the CPU from where the device's memory is full.

    Raises
    ------
    MemoryError
        When not even one window fits into the main memory.
    """
    was_training, network, first = segmenter.training, segmenter, 0
    segmenter.eval()
    try:
        for images, truth in _batches(dataset, windows, batch_size):
            logits = _logits(network, images, precision)
            if logits is None and network.device.type != "cpu":
                network = copy_to_cpu(segmenter)
                logits = _logits(network, images, precision)
            if logits is None:
                height, width = images.shape[-2:]
                raise MemoryError(
                    f"A held-out window of {height}×{width} px does not fit into the memory. "
                    "Choose a smaller tile or backbone, or close other programs."
                )
            yield Computed(first, logits, truth, on_cpu=network is not segmenter)
            first += len(images)
    finally:
        segmenter.train(was_training)


def _logits(
    segmenter: Segmenter, images: Tensor, precision: AbstractContextManager[object]
) -> Tensor | None:
    """Logits ``(B, C, H, W)`` of images on the CPU, in halves when they do not fit into the device together; None if not even one does."""

    def run() -> Tensor:
        with torch.no_grad(), precision:
            logits: Tensor = segmenter(images.to(segmenter.device)).float()
            return logits

    logits = attempt(segmenter.device, run)
    if logits is not None or len(images) == 1:
        return logits
    half = len(images) // 2
    halves = [_logits(segmenter, part, precision) for part in (images[:half], images[half:])]
    parts = [part for part in halves if part is not None]
    return torch.cat(parts) if len(parts) == len(halves) else None


def _batches(
    dataset: Dataset, windows: Sequence[Window], batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images ``(B, C, H, W)`` and truth ``(B, H, W)``, unlabelled outside of the cores, of equal windows."""
    images: list[Tensor] = []
    truths: list[Tensor] = []
    for window in windows:
        image, labels = dataset.read(window.region)
        truth = np.full(labels.shape, UNLABELLED, dtype=np.int64)
        truth[window.core] = labels[window.core]
        if images and (len(images) == batch_size or images[0].shape != image.shape):
            yield torch.stack(images), torch.stack(truths)
            images, truths = [], []
        images.append(torch.from_numpy(image))
        truths.append(torch.from_numpy(truth))
    if images:
        yield torch.stack(images), torch.stack(truths)
