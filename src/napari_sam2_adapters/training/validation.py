"""Scores on the held-out pixels, the same ones in every check."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sam2_adapters.config import PredictConfig, TrainConfig
from napari_sam2_adapters.data.dataset import Dataset
from napari_sam2_adapters.inference.network import copy_to_cpu
from napari_sam2_adapters.inference.tile_plan import plan_tiles
from napari_sam2_adapters.metrics import (
    UNLABELLED,
    confusion_matrix,
    dice_per_class,
    iou_per_class,
    mean_score,
)
from napari_sam2_adapters.models.memory import attempt
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training.checks import LONGEST_INTERVAL
from napari_sam2_adapters.training.losses import Loss
from napari_sam2_adapters.training.records import ValidationRecord
from napari_sam2_adapters.training.windows import Window, plan_windows

__all__ = ["HeldOut", "Scored", "score_windows"]

# A forward pass costs a third of a step: a check then takes about a tenth of the time between two checks.
_CHECK_SHARE = 0.25
_FEWEST_CHECK_CROPS = 16


@dataclass(frozen=True)
class Scored:
    """Outcome of a check.

    Attributes
    ----------
    confusion
        Counts ``(C, C)``, true classes in rows.
    loss
        Mean over the batches of windows, each weighing as much as it has labelled pixels.
    on_cpu
        Whether a copy of the network on the CPU took over, because the device's memory was full.
    """

    confusion: NDArray[np.int64]
    loss: float
    on_cpu: bool = False

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
        return mean_score(self.dice[self.confusion.sum(axis=1) > 0])

    @property
    def pixels(self) -> int:
        """Labelled pixels scored."""
        return int(self.confusion.sum())


class HeldOut:
    """The held-out pixels of a run, and the check that scores a segmenter on them.

    Parameters
    ----------
    dataset
        Its held-out part is scored.
    config
        How much training lies between two checks, which bounds what one check may cost.
    predict
        Tile size and tiles per pass.
    """

    def __init__(self, dataset: Dataset, config: TrainConfig, predict: PredictConfig) -> None:
        # Not by the length of the run: one that is resumed for longer has to score the same pixels.
        between = config.validate_every or LONGEST_INTERVAL
        crops = max(between * config.batch_size * _CHECK_SHARE, _FEWEST_CHECK_CROPS)
        self._dataset, self._predict = dataset, predict
        self._told: bool | None = None
        self.windows, self._there = plan_windows(
            dataset,
            window_px=predict.tile_size_px,
            most_pixels=int(crops * config.crop_size_px**2),
            seed=config.seed,
        )

    @property
    def notice(self) -> str | None:
        """A sentence when not all of the held-out pixels are scored in each check."""
        if len(self.windows) == self._there:
            return None
        return (
            f"Each check scores {len(self.windows)} of {self._there} held-out windows, always the same ones, so "
            "that checks stay short; check less often to score more."
        )

    def take_notice(self) -> str | None:
        """A sentence, once, after a check for which the device's memory was too small; else None."""
        if self._told is not False:
            return None
        self._told = True
        return (
            f"The memory of the device was full even for one held-out window of {self._predict.tile_size_px} px: "
            "such checks are computed by the CPU, which is slower."
        )

    def check(
        self,
        segmenter: Segmenter,
        loss: Loss,
        *,
        step: int,
        to_pass: float | None,
        precision: AbstractContextManager[object],
    ) -> ValidationRecord:
        """Score the segmenter as it is.

        Parameters
        ----------
        to_pass
            Mean Dice that must be passed to be the best; None: anything is.
        """
        started = time.perf_counter()
        scored = score_windows(
            segmenter,
            self._dataset,
            self.windows,
            loss,
            batch_size=self._windows_at_once(segmenter),
            precision=precision,
        )
        if scored.on_cpu and self._told is None:
            self._told = False
        names = [info.name for info in segmenter.classes]
        return ValidationRecord(
            step=step,
            dice=dict(zip(names, scored.dice.tolist(), strict=True)),
            iou=dict(zip(names, scored.iou.tolist(), strict=True)),
            mean_dice=scored.mean_dice,
            loss=scored.loss,
            best=to_pass is None or scored.mean_dice > to_pass,
            seconds=time.perf_counter() - started,
            pixels=scored.pixels,
        )

    def _windows_at_once(self, segmenter: Segmenter) -> int:
        if self._predict.batch_size is not None or segmenter.device.type == "cpu":
            return self._predict.batch_size or 1
        return plan_tiles(segmenter, self._predict).at_once


def score_windows(
    segmenter: Segmenter,
    dataset: Dataset,
    windows: Sequence[Window],
    loss: Loss,
    *,
    batch_size: int,
    precision: AbstractContextManager[object],
) -> Scored:
    """Score the segmenter as it is on the windows, in inference mode; its training mode is put back.

    Raises
    ------
    MemoryError
        When not even one window fits into the main memory.
    """
    n_classes = segmenter.n_classes
    confusion = np.zeros((n_classes, n_classes), dtype=np.int64)
    loss_sum = 0.0
    was_training, network = segmenter.training, segmenter
    segmenter.eval()
    try:
        with torch.no_grad():
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
                labelled = int((truth >= 0).sum())
                loss_sum += float(loss(logits, truth.to(logits.device), 1.0)) * labelled
                predicted = logits.argmax(dim=1).cpu().numpy()
                confusion += confusion_matrix(truth.numpy(), predicted, n_classes)
    finally:
        segmenter.train(was_training)
    mean_loss = loss_sum / max(int(confusion.sum()), 1)
    return Scored(confusion, mean_loss, on_cpu=network is not segmenter)


def _logits(
    segmenter: Segmenter, images: Tensor, precision: AbstractContextManager[object]
) -> Tensor | None:
    """Logits ``(B, C, H, W)`` of images on the CPU, in halves when they do not fit into the device together; None if not even one does."""

    def run() -> Tensor:
        with precision:
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
