"""One optimiser step that fits into memory: smaller parts of the batch when the device runs out of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from napari_sam2_adapters.models.device import (
    half_precision,
    is_out_of_memory,
    release_memory,
    seeded,
)
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training.losses import Loss
from napari_sam2_adapters.training.recipes import Recipe, build_optimizer, rate_factor, set_rates

__all__ = ["Stepper", "reduced_precision"]


def reduced_precision(device: torch.device, recipe: Recipe) -> AbstractContextManager[object]:
    """Give the context of a forward pass: bfloat16 where the recipe asks for it and the device computes in it."""
    return half_precision(device) if recipe.half_precision else nullcontext()


class Stepper:
    """Turns a batch into one step of the optimiser.

    Parameters
    ----------
    segmenter
        The network; exactly its trained parameters are moved.
    recipe
        Rates, schedule, clipping and precision.
    loss
        From :func:`~napari_sam2_adapters.training.losses.build_loss`.
    learning_rate
        Peak rate of the new parts; None: the recipe's own.
    batch_size
        Crops that first go through the network at once.

    Attributes
    ----------
    part_size
        Crops that now go through the network at once; it halves when memory runs out. The gradients of the parts are
        averaged, each weighing as much as its crops: that of the batch where the loss is a mean over crops that are
        labelled alike, and near it where few pixels are labelled or the loss counts over the batch, as Dice does.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        recipe: Recipe,
        loss: Loss,
        *,
        learning_rate: float | None,
        batch_size: int,
    ) -> None:
        self.optimizer = build_optimizer(segmenter, recipe, learning_rate)
        self.part_size = batch_size
        self._segmenter = segmenter
        self._recipe = recipe
        self._loss = loss

    def take(
        self, images: Tensor, labels: Tensor, *, progress: float, seed: int
    ) -> tuple[float, float]:
        """Take one step, and give the loss and the learning rate.

        A loss or gradient that is not finite moves nothing and is given back as NaN.

        Parameters
        ----------
        images, labels
            Float32 ``(B, C, H, W)`` and int64 ``(B, H, W)``, on the CPU.
        progress
            Share of training that is done, 0 to 1.
        seed
            Seed of the network's own randomness (dropout) in this step.

        Raises
        ------
        MemoryError
            When not even one crop fits.
        """
        rate = set_rates(self.optimizer, rate_factor(progress, self._recipe.warm_up))
        try:
            loss = self._accumulate_within_memory(images, labels, progress, seed)
            if self._gradient_is_finite() and math.isfinite(loss):
                self.optimizer.step()
            else:
                loss = math.nan
        finally:  # also after an error: half a gradient must not add to that of the next step
            self.optimizer.zero_grad(set_to_none=True)
        return loss, rate

    def slots(self) -> dict[str, Tensor]:
        """CPU copies of the optimiser's running values as ``slot/parameter name``."""
        return {
            f"{slot}/{name}": torch.as_tensor(value).detach().to("cpu", copy=True)
            for name, parameter in self._segmenter.trained_parameters().items()
            for slot, value in self.optimizer.state.get(parameter, {}).items()
        }

    def restore(self, slots: Mapping[str, Tensor], part_size: int) -> None:
        """Put back what :meth:`slots` gave, and the number of crops that go through at once."""
        self.part_size = part_size
        parameters = self._segmenter.trained_parameters()
        self.optimizer.state.clear()
        for key, value in slots.items():
            slot, _, name = key.partition("/")
            parameter = parameters[name]
            if slot == "step":  # Adam keeps its counter on the CPU
                self.optimizer.state[parameter][slot] = value.clone()
                continue
            # In the memory order of the parameter, as the optimiser made it: another one may round otherwise.
            self.optimizer.state[parameter][slot] = torch.empty_like(parameter).copy_(value)

    def _gradient_is_finite(self) -> bool:
        parameters = self._segmenter.trained_parameters().values()
        norm = torch.nn.utils.clip_grad_norm_(parameters, self._recipe.clip or float("inf"))
        return bool(torch.isfinite(norm))

    def _accumulate_within_memory(
        self, images: Tensor, labels: Tensor, progress: float, seed: int
    ) -> float:
        while True:
            try:
                return self._accumulate(images, labels, progress, seed)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if self.part_size == 1:
                    height, width = images.shape[-2:]
                    raise MemoryError(
                        f"Not even one crop of {height}×{width} px fits into the memory of {self._segmenter.device}. "
                        "Choose a smaller crop or backbone, close other programs, or train on the CPU."
                    ) from error
            # Outside of the handler, so that the failed pass is no longer referenced.
            self.part_size = min(self.part_size, len(images)) // 2 or 1
            self.optimizer.zero_grad(set_to_none=True)
            release_memory(self._segmenter.device)

    def _accumulate(self, images: Tensor, labels: Tensor, progress: float, seed: int) -> float:
        device = self._segmenter.device
        total = torch.zeros((), device=device)
        # Dropout draws from torch's global state: seeded per step, and given back to others as it was.
        with seeded(device, seed):
            for start in range(0, len(images), self.part_size):
                part = slice(start, start + self.part_size)
                with reduced_precision(device, self._recipe):
                    logits = self._segmenter(images[part].to(device))
                loss = self._loss(logits, labels[part].to(device), progress)
                loss = loss * (len(logits) / len(images))
                loss.backward()  # type: ignore[no-untyped-call]
                total += loss.detach()
        return float(total)
