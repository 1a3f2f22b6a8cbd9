"""Losses: sums of free functions, listed by name in :data:`LOSSES`.

Every term takes logits ``(B, C, H, W)`` and class indices ``(B, H, W)``, ignores unlabelled pixels
(``UNLABELLED``, -1; they get no gradient) and is normalised by the labelled ones, so that a few strokes and a
dense mask weigh the same. A batch without a labelled pixel costs exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam2_adapters.config import LossName
from napari_sam2_adapters.metrics import UNLABELLED

__all__ = [
    "LOSSES",
    "Loss",
    "Term",
    "binary_cross_entropy",
    "build_loss",
    "class_weights",
    "cross_entropy",
    "dice_loss",
    "focal_tversky_loss",
    "line_dice_loss",
    "lovasz_loss",
    "soft_skeleton",
    "thin_classes",
]

Loss = Callable[[Tensor, Tensor, float], Tensor]
"""Maps logits ``(B, C, H, W)``, target ``(B, H, W)`` and the progress of training (0 to 1) to a scalar."""


@dataclass(frozen=True)
class Term:
    """One summand of a loss: which function, how much of it, and from which share of training on."""

    name: str
    weight: float = 1.0
    starts_at: float = 0.0


LOSSES: dict[LossName, tuple[Term, ...]] = {
    "ce_dice": (Term("weighted_cross_entropy"), Term("dice")),
    # For two classes the softmax cross-entropy is the BCE of the difference of the two logits.
    "paper": (Term("cross_entropy"),),
    "composite": (Term("binary_cross_entropy"), Term("dice"), Term("focal_tversky")),
    "lovasz": (Term("weighted_cross_entropy"), Term("lovasz")),
    "thin": (
        Term("weighted_cross_entropy"),
        Term("dice"),
        Term("line_dice", weight=0.5, starts_at=1 / 3),
    ),
}


def build_loss(name: LossName, class_counts: Sequence[int]) -> Loss:
    """Bind the terms of a named loss to the data.

    Parameters
    ----------
    name
        A key of :data:`LOSSES`.
    class_counts
        Labelled training pixels of each class; they set the class weights and tell which class is the ground
        that thin structures lie on.
    """
    weights = class_weights(class_counts)
    thin = thin_classes(class_counts)
    functions: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "cross_entropy": cross_entropy,
        "weighted_cross_entropy": partial(cross_entropy, weights=weights),
        "binary_cross_entropy": binary_cross_entropy,
        "dice": dice_loss,
        "focal_tversky": focal_tversky_loss,
        "lovasz": lovasz_loss,
        "line_dice": partial(line_dice_loss, classes=thin),
    }

    def loss(logits: Tensor, target: Tensor, progress: float) -> Tensor:
        scores = logits.float()
        total = scores.new_zeros(())
        for term in LOSSES[name]:
            if progress >= term.starts_at:
                total = total + term.weight * functions[term.name](scores, target)
        return total

    return loss


def class_weights(class_counts: Sequence[int], lowest: float = 0.5, highest: float = 4.0) -> Tensor:
    """Weights ``(C,)`` proportional to 1 / sqrt(pixels), 1 for the mean class, clipped.

    A class without pixels weighs 1: it appears in no target.
    """
    counts = torch.tensor(list(class_counts), dtype=torch.float32)
    there = counts > 0
    weights = torch.ones_like(counts)
    if there.any():
        weights[there] = (counts[there].mean() / counts[there]).sqrt()
    return weights.clamp(lowest, highest)


def thin_classes(class_counts: Sequence[int]) -> tuple[int, ...]:
    """Give every class but the one with most labelled pixels, which is the ground."""
    counts = list(class_counts)
    ground = counts.index(max(counts))
    return tuple(index for index in range(len(counts)) if index != ground)


def cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of ``-w_y log softmax(z)_y`` over labelled pixels, divided by the mean of ``w_y``.

    Parameters
    ----------
    weights
        ``(C,)`` weights of the classes; None: all 1.
    """
    weights = None if weights is None else weights.to(logits)
    total = F.cross_entropy(
        logits, target, weight=weights, ignore_index=UNLABELLED, reduction="sum"
    )
    labelled = target >= 0
    mass = labelled.sum() if weights is None else weights[target.clamp(min=0)][labelled].sum()
    return total / torch.where(mass > 0, mass, torch.ones_like(mass))


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over labelled pixels and classes of the BCE of each softmax probability, one class against the rest.

    With two classes it equals :func:`cross_entropy`.
    """
    log_p = F.log_softmax(logits, dim=1)
    # log(1 - p) of the likeliest class is summed over the others: 1 - p would be rounded away.
    likeliest = torch.zeros_like(log_p, dtype=torch.bool)
    likeliest.scatter_(1, log_p.argmax(dim=1, keepdim=True), True)
    of_likeliest = log_p.masked_fill(likeliest, -torch.inf).logsumexp(dim=1, keepdim=True)
    log_rest = torch.where(likeliest, of_likeliest, torch.log1p(-log_p.exp().clamp(max=0.5)))
    truth, labelled = _one_hot(target, logits.shape[1])
    per_pixel = -(truth * log_p + (1 - truth) * log_rest) * labelled
    return per_pixel.sum() / (labelled.sum() * logits.shape[1]).clamp(min=1)


def dice_loss(logits: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """Mean over the classes present of ``1 - (2 Σ p g + s) / (Σ p + Σ g + s)``, sums over the batch.

    Soft Dice with plain sums below (Sudre et al., arXiv 1707.03237) rather than squares.
    """
    hits, misses, false_alarms, present = _soft_counts(logits, target)
    dice = (2 * hits + smooth) / (2 * hits + misses + false_alarms + smooth)
    return _mean_present(1 - dice, present)


def focal_tversky_loss(
    logits: Tensor,
    target: Tensor,
    alpha: float = 0.7,
    beta: float = 0.3,
    gamma: float = 0.75,
    smooth: float = 1.0,
) -> Tensor:
    """Mean over the classes present of ``(1 - (TP + s) / (TP + α FN + β FP + s))^γ``; α weighs misses.

    Abraham and Khan, arXiv 1810.07842, whose exponent is written 1/γ with γ = 4/3.
    """
    hits, misses, false_alarms, present = _soft_counts(logits, target)
    tversky = (hits + smooth) / (hits + alpha * misses + beta * false_alarms + smooth)
    # The power has an infinite slope at 0.
    return _mean_present((1 - tversky).clamp(min=1e-6) ** gamma, present)


def lovasz_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the classes present of the Lovász extension of ``1 - IoU`` over the labelled pixels of the batch.

    Where probabilities are 0 and 1 it is ``1 - IoU``, in between the tightest convex function of the pixels' errors that is. Berman, Triki
    and Blaschko, arXiv 1705.08790, equation 12.
    """
    labelled = target >= 0
    probabilities, truth = logits.softmax(dim=1).movedim(1, -1)[labelled], target[labelled]
    total = probabilities.sum() * 0
    present = torch.unique(truth)
    for index in present:
        own = truth == index
        errors = (own.float() - probabilities[:, index]).abs()
        order = _largest_first(errors.detach())
        total = total + (errors[order] * _growth_of_one_minus_iou(own[order])).sum()
    return total / max(len(present), 1)


def _largest_first(errors: Tensor) -> Tensor:
    """Indices that sort values, the largest first; by numpy on a CPU, in a sixth of PyTorch's time."""
    if errors.device.type == "cpu":
        return torch.from_numpy((-errors.numpy()).argsort())
    return errors.argsort(descending=True)


def _growth_of_one_minus_iou(own: Tensor) -> Tensor:
    """By how much ``1 - IoU`` grows with each mistake, ``(N,)``, when pixels, of this class or not, turn wrong in their order."""
    found = own.sum() - own.cumsum(0)
    together = own.sum() + (~own).cumsum(0)
    lost = 1 - found / together
    return lost.diff(prepend=lost.new_zeros(1))


def line_dice_loss(
    logits: Tensor,
    target: Tensor,
    classes: Sequence[int] | None = None,
    iterations: int = 5,
    smooth: float = 1.0,
) -> Tensor:
    """Soft clDice loss (Shit et al., arXiv 2003.07311): how far skeletons lie outside each other's masks.

    ``1 - 2 P R / (P + R)`` with ``P = (Σ S_p g + s) / (Σ S_p + s)`` and ``R = (Σ S_g p + s) / (Σ S_g + s)``, where S is
    the soft skeleton, sums over the batch and the mean over the classes present.

    Parameters
    ----------
    classes
        Class indices that count; None: all.
    iterations
        Half the width in pixels of the thickest structure that is thinned to a line.
    """
    chosen = list(range(logits.shape[1]) if classes is None else classes)
    truth, labelled = _one_hot(target, logits.shape[1])
    truth = truth[:, chosen]
    # Masked before thinning, so that unlabelled pixels have no say and a perfect answer costs 0.
    predicted = logits.softmax(dim=1)[:, chosen] * labelled
    line, true_line = soft_skeleton(predicted, iterations), soft_skeleton(truth, iterations)
    over = (0, 2, 3)
    precision = ((line * truth).sum(over) + smooth) / (line.sum(over) + smooth)
    recall = ((true_line * predicted).sum(over) + smooth) / (true_line.sum(over) + smooth)
    line_dice = 2 * precision * recall / (precision + recall)
    return _mean_present(1 - line_dice, truth.sum(over) > 0)


def soft_skeleton(mask: Tensor, iterations: int) -> Tensor:
    """Thin a soft mask ``(B, C, H, W)`` in 0..1 to its centre lines by repeated opening (arXiv 2003.07311, algorithm 1)."""
    skeleton = torch.zeros_like(mask)
    for _ in range(iterations + 1):
        eroded = _erode(mask)
        ridge = F.relu(mask - _dilate(eroded))
        skeleton = skeleton + F.relu(ridge - skeleton * ridge)
        mask = eroded
    return skeleton


def _erode(mask: Tensor) -> Tensor:
    """Smallest value over the cross of each pixel and its four neighbours, as in the paper's code."""
    return torch.minimum(-_largest_of_three(-mask, 2), -_largest_of_three(-mask, 3))


def _dilate(mask: Tensor) -> Tensor:
    """Largest value over the 3×3 pixels around each."""
    return _largest_of_three(_largest_of_three(mask, 2), 3)


def _largest_of_three(mask: Tensor, dim: int) -> Tensor:
    """Largest of each value and its two neighbours; half the time of pooling on a CPU."""
    length = mask.shape[dim]
    first, last = mask.narrow(dim, 0, 1), mask.narrow(dim, length - 1, 1)
    padded = torch.cat((first, mask, last), dim)
    pairs = torch.maximum(padded.narrow(dim, 0, length + 1), padded.narrow(dim, 1, length + 1))
    return torch.maximum(pairs.narrow(dim, 0, length), pairs.narrow(dim, 1, length))


def _one_hot(target: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """Truth ``(B, C, H, W)`` and labelled pixels ``(B, 1, H, W)`` as 0.0 and 1.0."""
    labelled = (target >= 0).unsqueeze(1).float()
    truth = F.one_hot(target.clamp(min=0), n_classes).movedim(-1, 1) * labelled
    return truth, labelled


def _soft_counts(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Soft hits, misses and false alarms ``(C,)`` over labelled pixels, and which classes are present."""
    truth, labelled = _one_hot(target, logits.shape[1])
    predicted = logits.softmax(dim=1) * labelled
    over = (0, 2, 3)
    hits, in_truth = (predicted * truth).sum(over), truth.sum(over)
    return hits, in_truth - hits, predicted.sum(over) - hits, in_truth > 0


def _mean_present(losses: Tensor, present: Tensor) -> Tensor:
    return (losses * present).sum() / present.sum().clamp(min=1)
