"""One optimiser step that fits into memory: smaller parts of the batch, then the CPU, when the device runs out of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor

from napari_sam2_adapters.metrics import UNLABELLED
from napari_sam2_adapters.models.adapters import seeded_dropout
from napari_sam2_adapters.models.device import half_precision, move_apart
from napari_sam2_adapters.models.memory import attempt, peak_bytes, plan_memory
from napari_sam2_adapters.models.memory_plan import MemoryPlan
from napari_sam2_adapters.models.recomputing import recomputed
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training.class_shares import ClassShares
from napari_sam2_adapters.training.gated_crf import gated_crf_loss
from napari_sam2_adapters.training.losses import Loss
from napari_sam2_adapters.training.recipes import Recipe, build_optimizer, rate_factor, set_rates

__all__ = ["Stepper", "reduced_precision"]

_SAMPLE_PX = 224
"""Side of the crop that is measured at most; memory grows with the area."""
_COPIES = 4
"""Of what learns: gradient, two moments of Adam and the moving average."""
_UNLABELLED_FROM = 0.1
"""Share of training after which unlabelled pixels have a say: before, the network guesses."""


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
    correct_shares
        Whether the logits are corrected for strokes that cover the classes otherwise than the images do.
    crf_weight
        Of :func:`~napari_sam2_adapters.training.gated_crf.gated_crf_loss`, which is added where not all is labelled.
    recompute
        Whether the encoder's blocks are computed again for the gradient rather than kept; the gradient is the same.

    Attributes
    ----------
    part_size
        Crops that now go through the network at once; it halves when memory runs out. Whatever it is, the gradient is that of the batch: of one
        in parts the logits are computed first, which the loss sees together, and then the parts go through once more. LoRA's dropout is drawn
        crop by crop.
    shares
        How much of the images each class covers, as far as it is known.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        recipe: Recipe,
        loss: Loss,
        *,
        learning_rate: float | None,
        batch_size: int,
        correct_shares: bool = False,
        crf_weight: float = 0.0,
        recompute: bool = False,
    ) -> None:
        self.optimizer = build_optimizer(segmenter, recipe, learning_rate)
        self.part_size = batch_size
        self._batch_size, self._learning_rate = batch_size, learning_rate
        self._segmenter = segmenter
        self._recipe = recipe
        self._loss, self._crf_weight = loss, crf_weight
        self.shares = ClassShares(len(segmenter.classes))
        self._correct_shares = correct_shares
        self._recompute = recompute
        self._notice: str | None = None

    def plan(self, crop_size_px: int) -> MemoryPlan:
        """Measure what one crop takes, and divide the batches into parts that should fit; nothing is learnt by it."""
        segmenter, device = self._segmenter, self._segmenter.device
        side = min(crop_size_px, _SAMPLE_PX)
        images = torch.zeros(1, segmenter.config.input_channels, side, side)
        labels = torch.zeros(1, side, side, dtype=torch.int64)
        labels[:, side // 2 :] = UNLABELLED
        work = partial(self._accumulate, images, labels, 1.0, 0)  # with all that comes late
        try:
            peak = attempt(device, partial(peak_bytes, device, work))
        finally:
            self.optimizer.zero_grad(set_to_none=True)
        # the loss sees all crops together, however few go through the network at once
        cpu = torch.device("cpu")
        of_loss = peak_bytes(cpu, partial(self._differentiate_loss, images, labels))
        per_pixel = self._batch_size * of_loss / side**2
        learning = sum(p.nbytes for p in segmenter.trained_parameters().values())
        plan = plan_memory(
            "crop",
            device,
            sides=[crop_size_px],
            most=self._batch_size,
            bytes_of_one=None if peak is None else lambda px: peak * px**2 / side**2,
            held_bytes=lambda px: int(_COPIES * learning + per_pixel * px**2),
        )
        self.part_size = min(self.part_size, plan.at_once)
        return plan

    def take(
        self, images: Tensor, labels: Tensor, *, progress: float, seed: int
    ) -> tuple[float, float]:
        """Take one step, and give the loss of the labelled pixels and the learning rate.

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
            When not even one crop fits into the main memory.
        """
        try:
            loss, logits = self._accumulate_within_memory(images, labels, progress, seed)
            # only now, since a full memory may have put another optimiser in the place of this one
            rate = set_rates(self.optimizer, rate_factor(progress, self._recipe.warm_up))
            if self._gradient_is_finite() and math.isfinite(loss):
                self.optimizer.step()
                self._count_shares(logits, labels, estimate=progress >= _UNLABELLED_FROM)
            else:
                loss = math.nan
        finally:  # also after an error: half a gradient must not add to that of the next step
            self.optimizer.zero_grad(set_to_none=True)
        return loss, rate

    def take_notice(self) -> str | None:
        """How the steps go on since a memory was full, in a sentence that is said once; None when there is nothing to say."""
        notice, self._notice = self._notice, None
        return notice

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
    ) -> tuple[float, Tensor]:
        device = self._segmenter.device
        while True:
            work = partial(self._accumulate, images, labels, progress, seed)
            done = attempt(self._segmenter.device, work)
            if done is not None:
                return done
            self.optimizer.zero_grad(set_to_none=True)
            if self.part_size > 1:
                self.part_size = min(self.part_size, len(images)) // 2 or 1
                self._notice = (
                    f"The memory of {device} was full, so batches of {len(images)} crops now go through the network "
                    f"{self.part_size} at a time; that is slower, and learns the same."
                )
            elif self._segmenter.device.type != "cpu":
                self._move_to_cpu()
                self.plan(max(images.shape[-2:]))  # its memory is another one, and has a bound, too
                self._notice = (
                    f"The memory of {device} was full even for one crop, so the training goes on with the CPU; "
                    "that is much slower, and learns the same."
                )
            else:
                height, width = images.shape[-2:]
                raise MemoryError(
                    f"Not even one crop of {height}×{width} px fits into the memory. Choose a smaller crop or backbone, or close other programs."
                )

    def _move_to_cpu(self) -> None:
        """Go on there with whole batches, as far as they fit: crops are not cut smaller, since something else would be learnt from them."""
        slots = self.slots()
        move_apart(self._segmenter, torch.device("cpu"))
        self.optimizer = build_optimizer(self._segmenter, self._recipe, self._learning_rate)
        self.restore(slots, self._batch_size)

    def _count_shares(self, logits: Tensor, labels: Tensor, *, estimate: bool) -> None:
        """Take a batch that was learnt from into the shares, by the CPU where the device has no room for it."""

        def count(logits: Tensor) -> bool:
            self.shares.update(logits, labels.to(logits.device), estimate=estimate)
            return True

        if attempt(logits.device, partial(count, logits)) is None:
            count(logits.cpu())

    def _differentiate_loss(self, images: Tensor, labels: Tensor) -> None:
        """What a batch takes besides the network, by the CPU."""
        shape = len(images), self._segmenter.n_classes, *images.shape[2:]
        logits = torch.zeros(shape, requires_grad=True)
        torch.autograd.grad(self._losses(logits, images, labels, 1.0)[1], logits)

    def _accumulate(
        self, images: Tensor, labels: Tensor, progress: float, seed: int
    ) -> tuple[float, Tensor]:
        """Add the gradient of a batch; gives its loss and its logits."""
        labels = labels.to(self._segmenter.device)

        def drawn(part: slice) -> AbstractContextManager[None]:
            """Also for the backward pass, which may compute again."""
            return seeded_dropout(self._segmenter, seed, range(*part.indices(len(images))))

        if len(images) <= self.part_size:
            with drawn(slice(None)):
                logits = self._pass(images)
                loss, whole = self._losses(logits, images, labels, progress)
                whole.backward()  # type: ignore[no-untyped-call]
        else:
            parts = [slice(i, i + self.part_size) for i in range(0, len(images), self.part_size)]
            outputs = []
            for part in parts:
                with drawn(part), torch.no_grad():
                    outputs.append(self._pass(images[part]))
            logits = torch.cat(outputs).requires_grad_()
            loss, whole = self._losses(logits, images, labels, progress)
            (gradient,) = torch.autograd.grad(whole, logits)
            for part in parts:
                with drawn(part):
                    self._pass(images[part]).backward(gradient[part])  # type: ignore[no-untyped-call]
        return float(loss.detach()), logits.detach()

    def _losses(
        self, logits: Tensor, images: Tensor, labels: Tensor, progress: float
    ) -> tuple[Tensor, Tensor]:
        """Loss of the labelled pixels, and all that is learnt from."""
        corrected = logits
        if self._correct_shares:
            corrected = logits + self.shares.correction().to(logits).view(1, -1, 1, 1)
        loss = self._loss(corrected, labels, progress)
        late = progress >= _UNLABELLED_FROM
        if not (self._crf_weight and late) or bool((labels >= 0).all()):
            return loss, loss
        unlabelled = gated_crf_loss(logits, images.to(logits.device), labels)
        return loss, loss + self._crf_weight * unlabelled

    def _pass(self, images: Tensor) -> Tensor:
        """Logits of some crops."""
        device = self._segmenter.device
        blocks = self._segmenter.backbone.blocks() if self._recompute else []  # type: ignore[operator]
        with reduced_precision(device, self._recipe), recomputed(blocks):
            logits: Tensor = self._segmenter(images.to(device))
        return logits
