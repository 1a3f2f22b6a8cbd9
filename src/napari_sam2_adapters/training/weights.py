"""The three sets of trained weights of a run: the latest, their average, and the best average."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from napari_sam2_adapters.models.segmenter import CLASS_BIAS, Segmenter
from napari_sam2_adapters.training.ema import MovingAverage

__all__ = ["RunWeights"]

Named = dict[str, Tensor]


class RunWeights:
    """Keeps the sets of weights of a run, and puts one of them into the segmenter.

    Parameters
    ----------
    segmenter
        It holds the latest weights while it learns.
    averaged
        Whether there is a moving average; else the latest weights stand for it.
    """

    def __init__(self, segmenter: Segmenter, *, averaged: bool) -> None:
        self._segmenter = segmenter
        self._average = MovingAverage(segmenter.trained_parameters(), averaged=averaged)
        self._constant = self._what_is_not_averaged()
        self._best: Named = {}
        self._calibrated: Named = {}  # the best of before or now, with a bias
        self._latest: Named | None = None  # while the segmenter holds the best

    def update(self, step: int) -> None:
        """Take the weights after step number ``step``, counted from 1, into the average."""
        self._average.update(step)

    def remember_best(self) -> None:
        """Take the average for the best from now on."""
        self._best = self._averaged_state()

    def calibrate_best(self, class_bias: Iterable[float]) -> None:
        """Keep the best weights with this bias on the logits of each class, until better ones are calibrated."""
        best = {name: tensor.clone() for name, tensor in self._best.items()}
        self._calibrated = best | {CLASS_BIAS: torch.tensor([*class_bias])}

    def forget_calibrated(self) -> None:
        """Keep the best weights as they are, since they are better than what was calibrated."""
        self._calibrated = {}

    @contextmanager
    def average_in_segmenter(self) -> Iterator[Segmenter]:
        """The segmenter with the average, in inference mode; weights and mode are put back after."""
        with self._in_segmenter(self._averaged_state()) as segmenter:
            yield segmenter

    @contextmanager
    def best_in_segmenter(self) -> Iterator[Segmenter]:
        """The segmenter with the best average, likewise."""
        with self._in_segmenter(self._best) as segmenter:
            yield segmenter

    @contextmanager
    def _in_segmenter(self, state: Named) -> Iterator[Segmenter]:
        before, was_training = self._segmenter.trained_state(), self._segmenter.training
        try:
            self._segmenter.load_trained_state(state)
            self._segmenter.eval()
            yield self._segmenter
        finally:
            self._segmenter.load_trained_state(before)
            self._segmenter.train(was_training)

    @contextmanager
    def learning(self) -> Iterator[Segmenter]:
        """The segmenter in training mode, with the weights that it holds; its mode is put back after."""
        was_training = self._segmenter.training
        try:
            yield self._segmenter.train()
        finally:
            self._segmenter.train(was_training)

    def show_latest(self) -> None:
        """Put the latest weights into the segmenter, in training mode."""
        if self._latest is not None:
            self._segmenter.load_trained_state(self._latest)
            self._latest = None
        self._segmenter.train()

    def show_best(self) -> None:
        """Put what was calibrated into the segmenter, or the best average, or the average when none was the best, in inference mode."""
        self._latest = self._segmenter.trained_state()
        self._segmenter.load_trained_state(self._calibrated or self._best or self._averaged_state())
        self._segmenter.eval()

    def state(self) -> dict[str, Named]:
        """CPU copies of ``weights`` (the latest), ``average``, ``best`` and ``calibrated`` (empty when there is none)."""
        return {
            "weights": self._latest or self._segmenter.trained_state(),
            "average": self._average.state(),
            "best": self._best,
            "calibrated": self._calibrated,
        }

    def load(self, state: dict[str, Named]) -> None:
        """Put back what :meth:`state` gave, the latest weights into the segmenter.

        Raises
        ------
        ValueError
            When they are those of another network; nothing is changed then.
        """
        # A checkpoint of before has no bias: it is that of the start, not of what is on show.
        self._segmenter.load_trained_state(self._constant | state["weights"])
        self._latest = None
        self._constant = self._what_is_not_averaged()
        self._average.load(state["average"])
        self._best, self._calibrated = state.get("best", {}), state.get("calibrated", {})

    def _averaged_state(self) -> Named:
        return self._average.state() | self._constant

    def _what_is_not_averaged(self) -> Named:
        """What is kept with the trained parameters and does not move: the bias of an adapter that is trained further."""
        moving = self._segmenter.trained_parameters()
        kept = self._segmenter.trained_state()
        return {name: tensor for name, tensor in kept.items() if name not in moving}
