"""A bias per class on the logits, so that classes are drawn neither too wide nor too narrow.

A loss that weighs rare classes up, as those for few labels do, draws them too wide. How much hangs on the images, so it is
found after learning, on held-out pixels: the bias with the best mean Dice, of which a part is taken, the smaller the fewer
images told it. No pixel is scored by a bias that was found on it: the held-out images are divided into folds, and each is scored by
what was found on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from napari_sam2_adapters.training.windows import Window

__all__ = ["GRID", "Folds", "LogitSample", "assign_folds", "find_class_bias"]

Folds = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Of each window its fold, and of how many images the windows of each fold are."""

GRID = np.arange(-3, 3.01, 0.125)
"""Biases that are tried for a class; one of 3 makes it twenty times as likely."""
_ROUNDS = 3
"""In which the classes are gone through; each hangs on those of the others."""
_MOST_VALUES = 2**21
"""Logits that are kept of all held-out pixels, 8 MiB."""
_FEWEST_PIXELS = 100
"""Of a class, for a bias of its own."""
_MOST_FOLDS = 4
_DOUBT = 2
"""Images that tell half of the truth: of the bias that n images tell n / (n + 2) is taken. Two want to be drawn more differently than many do."""
_SLACK = 1e-4
"""Of mean Dice: of biases that differ less, the one nearest to none is taken."""


def assign_folds(windows: Sequence[Window], images: Sequence[object] = ()) -> Folds | None:
    """Give each window its fold, 0 to 3.

    Images go to folds whole. Where there is one alone, its slices do, neighbours together, and where that is one alone, its windows.

    Parameters
    ----------
    windows
        What is divided.
    images
        What each pair's image is known by, for one may have several labels; empty: each pair has its own.

    Returns
    -------
    (ndarray, ndarray) or None
        Folds ``(windows,)``, and of how many images the windows of each are ``(folds,)``, a share of one where there is one alone; None
        when there is one window alone, which cannot be divided.
    """
    if not windows:
        return None
    pairs = [window.region.pair for window in windows]
    own = _numbered([images[pair] for pair in pairs] if images else pairs)
    if own.max() > 0:
        return own % _MOST_FOLDS, np.bincount(np.unique(own) % _MOST_FOLDS).astype(float)
    parts = _numbered([window.region.plane for window in windows])
    if parts.max() == 0:
        parts = _numbered([_first_pixel(window) for window in windows])
    if parts.max() == 0:
        return None
    folds = parts * min(_MOST_FOLDS, parts.max() + 1) // (parts.max() + 1)
    return folds, np.full(folds.max() + 1, 1 / (folds.max() + 1))


def _first_pixel(window: Window) -> tuple[int, int]:
    """Row and column, counted in the image, of the first pixel that is scored."""
    region, (rows, columns) = window.region, window.core
    return region.rows.start + rows.start, region.columns.start + columns.start


def _numbered(values: Sequence[object]) -> NDArray[np.int64]:
    """Number equal values alike, in the order in which they first come."""
    order = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return np.array([order[value] for value in values], dtype=np.int64)


@dataclass(frozen=True)
class _Part:
    logits: NDArray[np.float32]
    truth: NDArray[np.int64]
    weights: NDArray[np.float64]


class LogitSample:
    """Logits of labelled held-out pixels: all of them, or so many of each class as the memory is to take.

    Parameters
    ----------
    class_counts
        ``(folds, C)`` labelled pixels that will come.
    images
        ``(folds,)`` images that they are of.
    there
        ``(C,)`` labelled pixels that there are: windows with rare classes are taken first, and what comes is weighed by this.
    seed
        Of which pixels are taken.
    """

    def __init__(
        self,
        class_counts: NDArray[np.int64],
        images: NDArray[np.float64],
        there: NDArray[np.int64],
        seed: int,
    ) -> None:
        n_classes = class_counts.shape[1]
        coming = np.maximum(class_counts.sum(axis=0), 1)
        self._shares = np.minimum(1.0, _MOST_VALUES / n_classes**2 / coming)
        self._weights = there / coming / self._shares
        self._random = np.random.default_rng(seed)
        self._parts: list[list[_Part]] = [[] for _ in class_counts]
        self._class_counts, self._images = class_counts, images

    def add(self, fold: int, logits: Tensor, truth: NDArray[np.int64]) -> None:
        """Take in a window.

        Parameters
        ----------
        fold
            That of the window.
        logits
            ``(C, H, W)``, in the main memory.
        truth
            ``(H, W)`` class indices; below 0: not labelled.
        """
        rows, columns = np.nonzero(truth >= 0)
        classes = truth[rows, columns]
        taken = self._random.random(len(classes)) < self._shares[classes]
        rows, columns, classes = rows[taken], columns[taken], classes[taken]
        values = logits.numpy()[:, rows, columns].T
        self._parts[fold].append(_Part(values, classes, self._weights[classes]))

    def class_bias(self, without: int | None = None) -> NDArray[np.float32]:
        """Find the bias ``(C,)`` to add to the logits, by all pixels or by those that are not of one fold."""
        told = [fold for fold in range(len(self._parts)) if fold != without]
        parts = [part for fold in told for part in self._parts[fold]]
        best = find_class_bias(
            np.concatenate([part.logits for part in parts]),
            np.concatenate([part.truth for part in parts]),
            np.concatenate([part.weights for part in parts]),
            self._class_counts[told].sum(axis=0) >= _FEWEST_PIXELS,
        )
        images = self._images[told].sum()
        return best * np.float32(images / (images + _DOUBT))


def find_class_bias(
    logits: NDArray[np.float32],
    truth: NDArray[np.int64],
    weights: NDArray[np.float64],
    known: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Find the bias with the best mean Dice over the classes that are known.

    The classes are gone through one after the other, three times, each trying all of `GRID`. What counts for a class is the
    bias at which a pixel becomes its own, so one pass over the pixels tells what every bias gives.

    Parameters
    ----------
    logits
        ``(N, C)``.
    truth
        ``(N,)`` class indices.
    weights
        ``(N,)`` how many pixels each stands for.
    known
        ``(C,)`` the classes that are told by enough pixels; the others are left out, and get what these get on average.

    Returns
    -------
    ndarray
        ``(C,)`` float32, relative to the first class that is known: what is added to all changes nothing.
    """
    bias = np.zeros(logits.shape[1], dtype=np.float32)
    if known.sum() < 2:
        return bias
    own = known[truth]
    bias[known] = _search(logits[own][:, known], (np.cumsum(known) - 1)[truth[own]], weights[own])
    bias[~known] = bias[known].mean()
    return bias


def _search(
    logits: NDArray[np.float32], truth: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Find the bias for classes of which all are known."""
    n_classes = logits.shape[1]
    bias = np.zeros(n_classes, dtype=np.float32)
    for _ in range(_ROUNDS if n_classes > 2 else 1):
        before = bias.copy()
        for index in range(0 if n_classes > 2 else 1, n_classes):  # of two, one is enough
            bias[index] = _best_of_grid(logits, truth, weights, bias, index)
        if np.array_equal(before, bias):
            break
    shifted: NDArray[np.float32] = bias - bias[0]
    return shifted


def _best_of_grid(
    logits: NDArray[np.float32],
    truth: NDArray[np.int64],
    weights: NDArray[np.float64],
    bias: NDArray[np.float32],
    index: int,
) -> float:
    n = logits.shape[1]
    others = logits + bias
    others[:, index] = -np.inf
    rival = others.argmax(axis=1)
    needed = others[np.arange(len(rival)), rival] - logits[:, index]
    # The first of the grid that exceeds what a pixel needs; those that none does stay with their rival.
    first = np.searchsorted(GRID, needed, side="right")

    def turning(which: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Pixels (grid + 1, n) by where they turn from which rival to this class."""
        cells = np.bincount(first[which] * n + rival[which], weights[which], (len(GRID) + 1) * n)
        return cells.astype(np.float64).reshape(-1, n)

    every, right = turning(np.ones(len(truth), dtype=np.bool_)), turning(truth == rival)
    gained = turning(truth == index).sum(axis=1)[:-1].cumsum()
    predicted = every.sum(axis=0) - every[:-1].cumsum(axis=0)
    hits = right.sum(axis=0) - right[:-1].cumsum(axis=0)
    predicted[:, index] = every.sum(axis=1)[:-1].cumsum()
    hits[:, index] = gained
    true = np.bincount(truth, weights, n)
    dice = 2 * hits / np.maximum(true + predicted, 1e-9)
    scores = dice[:, true > 0].mean(axis=1)
    good = np.flatnonzero(scores >= scores.max() - _SLACK)
    return float(GRID[good[np.abs(GRID[good]).argmin()]])
