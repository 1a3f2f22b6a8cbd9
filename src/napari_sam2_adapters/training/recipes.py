"""Recipes: which rates the parts of the network learn at, and how the rate moves while they do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from napari_sam2_adapters.config import RecipeName

__all__ = ["RECIPES", "Recipe", "build_optimizer", "rate_factor", "set_rates"]


@dataclass(frozen=True)
class Recipe:
    """How the weights move.

    Attributes
    ----------
    rates
        Peak learning rate of each parameter group of the segmenter.
    weight_decay
        Decoupled decay (AdamW); None: plain Adam without any.
    warm_up
        Share of training in which the rate rises to its peak.
    clip
        Largest norm of the whole gradient; None: not clipped.
    half_precision
        Whether the forward pass runs in bfloat16 on CUDA.
    averaged
        Whether the moving average of the weights is kept, rather than the weights themselves.
    """

    rates: dict[str, float]
    weight_decay: float | None
    warm_up: float
    clip: float | None
    half_precision: bool
    averaged: bool


_QUICK = Recipe(
    rates={"new": 1e-3, "offset": 1e-4, "detail": 1e-2, "pretrained": 2e-4},
    weight_decay=0.01,
    warm_up=0.05,
    clip=1.0,
    half_precision=True,
    averaged=True,
)

RECIPES: dict[RecipeName, Recipe] = {
    "interactive": _QUICK,
    # differs in how crops are turned, not in how the weights move
    "upright": _QUICK,
    "paper": Recipe(
        rates={"new": 1e-4, "offset": 1e-4, "detail": 1e-3, "pretrained": 1e-4},
        weight_decay=None,
        warm_up=0.0,
        clip=None,
        half_precision=False,
        averaged=False,
    ),
}


class _Grouped(Protocol):
    def parameter_groups(self) -> dict[str, list[nn.Parameter]]: ...

    def trained_parameters(self) -> dict[str, nn.Parameter]: ...


def build_optimizer(
    segmenter: _Grouped, recipe: Recipe, learning_rate: float | None = None
) -> torch.optim.Optimizer:
    """Make the optimiser of the trained parameters, and of nothing else.

    Parameters
    ----------
    learning_rate
        Peak rate of the group ``new``; the other groups keep their ratio to it. None: the recipe's own.

    Raises
    ------
    ValueError
        When nothing learns, or the groups are not exactly the trained parameters.
    """
    trained = {id(parameter) for parameter in segmenter.trained_parameters().values()}
    if not trained:
        raise ValueError(
            "This segmenter has no weights that learn, as after folding for prediction. "
            "Build it, or load its adapter file, anew and train that."
        )
    factor = 1.0 if learning_rate is None else learning_rate / recipe.rates["new"]
    groups = [
        {"params": parameters, "peak": recipe.rates[name] * factor}
        for name, parameters in segmenter.parameter_groups().items()
        if parameters
    ]
    grouped = [id(parameter) for group in groups for parameter in group["params"]]  # type: ignore[attr-defined]
    if len(grouped) != len(trained) or set(grouped) != trained:
        raise ValueError(
            f"The parameter groups hold {len(grouped)} tensors but {len(trained)} learn; each trained tensor "
            "belongs in exactly one of the groups new, offset and pretrained."
        )
    rate = recipe.rates["new"] * factor
    if recipe.weight_decay is None:
        return torch.optim.Adam(groups, lr=rate)
    return torch.optim.AdamW(groups, lr=rate, weight_decay=recipe.weight_decay)


def rate_factor(progress: float, warm_up: float) -> float:
    """Share of the peak rate at a progress of 0 to 1: a straight rise to 1, then half a cosine to 0.

    The cosine is that of Loshchilov and Hutter (arXiv 1608.03983, equation 5) without restarts.
    """
    if progress < warm_up:
        return progress / warm_up
    falling = (progress - warm_up) / (1 - warm_up)
    return 0.5 * (1 + math.cos(math.pi * min(falling, 1.0)))


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Set every group to ``factor`` times its peak; gives the rate of the group ``new``, which is the one that is chosen."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
    return float(optimizer.defaults["lr"] * factor)
