"""A running average of the weights that learn; it is steadier than the last step and is what is kept."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["MovingAverage", "ema_decay"]


def ema_decay(step: int, highest: float = 0.999) -> float:
    """Decay ``min(highest, (1 + t) / (10 + t))`` after step ``t``: short memory first, long memory later.

    The rule is that of TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``.
    """
    return min(highest, (1 + step) / (10 + step))


class MovingAverage:
    """Exponential moving average of named parameters, on their device, also after they moved to another one, and in their dtype.

    Parameters
    ----------
    parameters
        The trained parameters by name; the average starts as a copy of them.
    averaged
        False: keep a plain copy of the latest weights instead (the ``paper`` recipe).
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], *, averaged: bool = True) -> None:
        self._parameters = dict(parameters)
        self._averaged = averaged
        self._shadow = {name: value.detach().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after optimiser step number ``step``, counted from 1."""
        share = 1 - ema_decay(step) if self._averaged else 1.0
        for name, parameter in self._parameters.items():
            self._shadow[name] = self._shadow[name].to(parameter.device).lerp_(parameter, share)

    def state(self) -> dict[str, Tensor]:
        """Copies of the averages on the CPU, by parameter name."""
        return {
            name: value.detach().to("cpu", copy=True).contiguous()
            for name, value in self._shadow.items()
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put back what :meth:`state` gave; names and shapes must be those of the parameters."""
        for name, value in self._shadow.items():
            value.copy_(state[name])
