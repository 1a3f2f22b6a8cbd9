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
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sam2_adapters.training.windows import Window

__all__ = ["GRID", "LogitSample", "assign_folds", "find_class_bias"]

GRID = np.arange(-3, 3.01, 0.125)
"""Biases that are tried for a class; one of 3 makes it twenty times as likely."""
_ROUNDS = 3
"""In which the classes are gone through; each hangs on those of the others."""
_MOST_VALUES = 2**22
"""Logits that are kept of all held-out pixels, 16 MiB."""
_FEWEST_PIXELS = 100
"""Of a class, for a bias of its own."""
_MOST_FOLDS = 4
_DOUBT = 2
"""Images that tell half of the truth: of the bias that n images tell n / (n + 2) is taken. Two want to be drawn more differently than many do."""
_SLACK = 1e-4
"""Of mean Dice: of biases that differ less, the one nearest to none is taken."""


def assign_folds(
    windows: Sequence[Window],
) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """Give each window its fold, 0 to 3: planes go to folds whole, or windows where there is one plane alone.

    Returns
    -------
    (ndarray, ndarray) or None
        Folds ``(windows,)``, and of how many planes the windows of each are ``(folds,)``, a share of one where there is one alone; None
        when there is one window alone, which cannot be divided.
    """
    if len(windows) < 2:
        return None
    planes = [(window.region.pair, window.region.plane) for window in windows]
    order = {plane: number for number, plane in enumerate(dict.fromkeys(planes))}
    if len(order) == 1:
        folds = np.arange(len(windows)) % _MOST_FOLDS
        return folds, np.full(folds.max() + 1, 1 / (folds.max() + 1))
    numbers = np.array([order[plane] for plane in planes])
    return numbers % _MOST_FOLDS, np.bincount(np.unique(numbers) % _MOST_FOLDS).astype(float)


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
    planes
        ``(folds,)`` images that they are of.
    seed
        Of which pixels are taken.
    """

    def __init__(
        self, class_counts: NDArray[np.int64], planes: NDArray[np.float64], seed: int
    ) -> None:
        n_classes = class_counts.shape[1]
        wanted = _MOST_VALUES / n_classes**2
        self._shares = np.minimum(1.0, wanted / np.maximum(class_counts.sum(axis=0), 1))
        self._random = np.random.default_rng(seed)
        self._parts: list[list[_Part]] = [[] for _ in class_counts]
        self._class_counts, self._planes = class_counts, planes

    def add(self, fold: int, logits: Tensor, truth: NDArray[np.int64]) -> None:
        """Take in a window.

        Parameters
        ----------
        fold
            That of the window.
        logits
            ``(C, H, W)``, without the network's own bias or with it.
        truth
            ``(H, W)`` class indices; below 0: not labelled.
        """
        rows, columns = np.nonzero(truth >= 0)
        classes = truth[rows, columns]
        taken = self._random.random(len(classes)) < self._shares[classes]
        rows, columns, classes = rows[taken], columns[taken], classes[taken]
        place = torch.from_numpy(np.stack([rows, columns])).to(logits.device)
        values = logits.detach()[:, place[0], place[1]].T.float().cpu().numpy()
        self._parts[fold].append(_Part(values, classes, 1 / self._shares[classes]))

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
        planes = self._planes[told].sum()
        return best * np.float32(planes / (planes + _DOUBT))


def find_class_bias(
    logits: NDArray[np.float32],
    truth: NDArray[np.int64],
    weights: NDArray[np.float64],
    known: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Find the bias with the best mean Dice over the classes that are there.

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
        ``(C,)`` the classes that may get a bias.

    Returns
    -------
    ndarray
        ``(C,)`` float32, relative to the first class that is known: what is added to all changes nothing.
    """
    n_classes = logits.shape[1]
    bias = np.zeros(n_classes, dtype=np.float32)
    free = np.flatnonzero(known)
    if len(free) < 2:
        return bias
    # Of two, one is enough.
    for _ in range(_ROUNDS if len(free) > 2 else 1):
        before = bias.copy()
        for index in free if len(free) > 2 else free[1:]:
            bias[index] = _best_of_grid(logits, truth, weights, bias, int(index))
        if np.array_equal(before, bias):
            break
    shifted: NDArray[np.float32] = bias - bias[free[0]]
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
    shape = (len(GRID) + 1, n, n)
    cells = np.ravel_multi_index((first, truth, rival), shape)
    turning = np.bincount(cells, weights, minlength=int(np.prod(shape))).reshape(shape)
    turned = turning[:-1].cumsum(axis=0)  # (grid, truth, rival)
    confusions = turning.sum(axis=0) - turned
    confusions[:, :, index] += turned.sum(axis=2)
    scores = _mean_dice(confusions)
    good = np.flatnonzero(scores >= scores.max() - _SLACK)
    return float(GRID[good[np.abs(GRID[good]).argmin()]])


def _mean_dice(confusions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean Dice ``(K,)`` over the classes that are true somewhere, of confusions ``(K, C, C)``."""
    hits = np.diagonal(confusions, axis1=1, axis2=2)
    true = confusions.sum(axis=2)
    dice = 2 * hits / np.maximum(true + confusions.sum(axis=1), 1e-9)
    mean: NDArray[np.float64] = dice[:, true[0] > 0].mean(axis=1)
    return mean
