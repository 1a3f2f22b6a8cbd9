"""Scores on the held-out pixels, the same ones in every check."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sam2_adapters.config import PredictConfig, TrainConfig
from napari_sam2_adapters.data.axes import plane_shape
from napari_sam2_adapters.data.dataset import Dataset, Region
from napari_sam2_adapters.metrics import (
    UNLABELLED,
    confusion_matrix,
    dice_per_class,
    iou_per_class,
    mean_score,
)
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training.losses import Loss
from napari_sam2_adapters.training.records import ValidationRecord

__all__ = ["HeldOut", "Scored", "Window", "plan_windows", "score_windows", "split_length"]

# A forward pass costs a third of a step: a check then takes about a tenth of the time between two checks.
_CHECK_SHARE = 0.25
_FEWEST_CHECK_CROPS = 16


@dataclass(frozen=True)
class Window:
    """A part of a held-out region that goes through the network at once.

    Attributes
    ----------
    region
        What is read.
    core
        Rows and columns of the window that are scored; the cores of a region's windows tile it, and the rest of a
        window is context.
    class_counts
        Labelled pixels ``(C,)`` of each class in the core.
    """

    region: Region
    core: tuple[slice, slice]
    class_counts: NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """Outcome of a check: confusion matrix ``(C, C)``, true classes in rows, and mean loss per labelled pixel."""

    confusion: NDArray[np.int64]
    loss: float

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
        crops = max(config.validate_every * config.batch_size * _CHECK_SHARE, _FEWEST_CHECK_CROPS)
        self._dataset = dataset
        self._batch_size = predict.batch_size
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

    def check(
        self,
        segmenter: Segmenter,
        loss: Loss,
        *,
        step: int,
        best: float | None,
        precision: AbstractContextManager[object],
    ) -> ValidationRecord:
        """Score the segmenter as it is.

        Parameters
        ----------
        best
            Mean Dice that must be passed to be the best; None: anything is.
        """
        started = time.perf_counter()
        scored = score_windows(
            segmenter,
            self._dataset,
            self.windows,
            loss,
            batch_size=self._batch_size,
            precision=precision,
        )
        names = [info.name for info in segmenter.classes]
        return ValidationRecord(
            step=step,
            dice=dict(zip(names, scored.dice.tolist(), strict=True)),
            iou=dict(zip(names, scored.iou.tolist(), strict=True)),
            mean_dice=scored.mean_dice,
            loss=scored.loss,
            best=best is None or scored.mean_dice > best,
            seconds=time.perf_counter() - started,
            pixels=scored.pixels,
        )


def split_length(low: int, high: int, length: int, window: int) -> list[tuple[slice, slice]]:
    """Cover the part ``low … high`` of a length by windows of one size.

    Returns
    -------
    list of (slice, slice)
        Each window, and its core within it. Cores tile the part and keep an eighth of the window as context on
        each side, save at the ends of the whole length. A window may reach out of the part, as it does when the
        whole image is segmented.
    """
    count = -(-(high - low) // max(window - 2 * (window // 8), 1))
    if length <= window:
        count, window = 1, length
    edges = [low + round((high - low) * i / count) for i in range(count + 1)]
    spans = []
    for first, last in itertools.pairwise(edges):
        start = min(max((first + last - window) // 2, 0), length - window)
        spans.append((slice(start, start + window), slice(first - start, last - start)))
    return spans


def plan_windows(
    dataset: Dataset, *, window_px: int, most_pixels: int, seed: int
) -> tuple[list[Window], int]:
    """Choose the windows of every check, and tell how many there were to choose from.

    Windows without a label cost nothing. When the others hold more than ``most_pixels`` pixels, some are drawn,
    class by class, so that a check stays short beside the training between two of them.
    """
    every = [w for region in dataset.held_out for w in _windows(dataset, region, window_px)]
    labelled = [w for w in every if w.class_counts.any()]
    if sum(_area(w) for w in labelled) <= most_pixels:
        return labelled, len(labelled)
    order = np.random.default_rng(seed).permutation(len(labelled))
    shuffled = [labelled[i] for i in order]
    chosen: list[int] = []
    pixels = 0
    for index in _class_by_class(shuffled):
        if chosen and pixels + _area(shuffled[index]) > most_pixels:
            break
        chosen.append(index)
        pixels += _area(shuffled[index])
    kept = sorted(order[chosen])
    return [labelled[i] for i in kept], len(labelled)


def score_windows(
    segmenter: Segmenter,
    dataset: Dataset,
    windows: Sequence[Window],
    loss: Loss,
    *,
    batch_size: int,
    precision: AbstractContextManager[object],
) -> Scored:
    """Score the segmenter as it is on the windows, in inference mode; its training mode is put back."""
    n_classes = segmenter.n_classes
    confusion = np.zeros((n_classes, n_classes), dtype=np.int64)
    loss_sum = 0.0
    was_training = segmenter.training
    segmenter.eval()
    try:
        with torch.no_grad():
            for images, truth in _batches(dataset, windows, batch_size):
                with precision:
                    logits = segmenter(images.to(segmenter.device)).float()
                target = truth.to(segmenter.device)
                labelled = int((truth >= 0).sum())
                loss_sum += float(loss(logits, target, 1.0)) * labelled
                predicted = logits.argmax(dim=1).cpu().numpy()
                confusion += confusion_matrix(truth.numpy(), predicted, n_classes)
    finally:
        segmenter.train(was_training)
    return Scored(confusion, loss_sum / max(int(confusion.sum()), 1))


def _windows(dataset: Dataset, region: Region, window_px: int) -> Iterator[Window]:
    pair = dataset.pairs[region.pair]
    height, width = plane_shape(pair.image.shape, pair.axes)
    for rows, core_rows in split_length(region.rows.start, region.rows.stop, height, window_px):
        for columns, core_columns in split_length(
            region.columns.start, region.columns.stop, width, window_px
        ):
            window = replace(region, rows=rows, columns=columns)
            labels = dataset.read_labels(window)[core_rows, core_columns]
            counts = np.bincount(labels[labels >= 0], minlength=len(dataset.classes))
            yield Window(window, (core_rows, core_columns), counts.astype(np.int64))


def _area(window: Window) -> int:
    rows, columns = window.region.rows, window.region.columns
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


def _class_by_class(windows: Sequence[Window]) -> Iterator[int]:
    """Indices of all windows, each class in turn giving its next one, the rarest class first."""
    counts = np.stack([window.class_counts for window in windows])
    taken = np.zeros(len(windows), dtype=bool)
    rarest_first = np.argsort((counts > 0).sum(axis=0), kind="stable")
    while not taken.all():
        for index in rarest_first:
            free = np.flatnonzero(~taken & (counts[:, index] > 0))
            if free.size:
                taken[free[0]] = True
                yield int(free[0])


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
