"""How much of the images each class covers, where only strokes are labelled."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["ClassShares"]

_KEPT = 0.97
"""What is left of the sums after each step: they reach back some thirty steps."""
_MOST = 100.0
"""Shares are corrected by this factor at most, so that no class can vanish."""


class ClassShares:
    """Running estimate of the share of each class in all pixels, beside that in the labelled ones.

    Strokes cover a thin, rare class about as much as the ground, so a network that fits them takes a class for as common as its strokes,
    and draws it too large. The shares in all pixels are estimated from what the network finds in the unlabelled ones, as by
    the expectation maximisation of Saerens, Latinne and Decaestecker (Neural Computation 14, 2002), and the difference is added to the
    logits while they are learnt from (Menon et al., arXiv 2007.07314): without it, in use, they are those of the estimated shares.

    Parameters
    ----------
    n_classes
        Number of classes.
    """

    def __init__(self, n_classes: int) -> None:
        self._labelled = torch.zeros(n_classes, dtype=torch.float64)
        self._unlabelled = torch.zeros(n_classes, dtype=torch.float64)

    def correction(self) -> Tensor:
        """``log(share of the labelled pixels / share of all pixels)`` of each class, float32 ``(C,)`` on the CPU.

        It is 0 while there are no unlabelled pixels, as with dense labels, and for a class without labelled ones.
        """
        every = self._labelled + self._unlabelled
        among_labelled = self._labelled / self._labelled.sum().clamp(min=1)
        among_all = every / every.sum().clamp(min=1)
        ratio = torch.where(self._labelled > 0, among_labelled / among_all, 1.0)
        return ratio.clamp(1 / _MOST, _MOST).log().float()

    def update(self, logits: Tensor, labels: Tensor, *, estimate: bool) -> None:
        """Take a batch into the sums.

        Parameters
        ----------
        logits, labels
            ``(B, C, H, W)``, and class indices ``(B, H, W)``, negative where unlabelled.
        estimate
            Whether the network knows enough already for unlabelled pixels to be counted by what it finds in them.
        """
        counts = torch.bincount(labels[labels >= 0].flatten(), minlength=len(self._labelled))
        labelled = _KEPT * self._labelled + counts.cpu().double()
        if estimate:
            found = logits.detach().float().softmax(dim=1) * (labels < 0).unsqueeze(1)
            self._unlabelled = _KEPT * self._unlabelled + found.sum((0, 2, 3)).cpu().double()
        self._labelled = labelled

    def state(self) -> dict[str, Tensor]:
        """The sums ``labelled`` and ``unlabelled``, float64 ``(C,)``."""
        return {"labelled": self._labelled, "unlabelled": self._unlabelled}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put back what :meth:`state` gave."""
        self._labelled, self._unlabelled = state["labelled"], state["unlabelled"]
