"""LoRA: a low-rank update of the attention's projections, merged into them for inference.

Hu et al., arXiv 2106.09685; as SAM2LoRA (arXiv 2510.10288) uses it: rank r on the fused ``qkv`` of every trunk block and on every
attention projection of the mask decoder's transformer, A ~ N(0, 1)/√r, B = 0, α = 2r, dropout 0.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LoraLinear", "add_lora", "merge_lora", "seeded_dropout"]


class LoraLinear(nn.Module):
    """``W x + b + (α / r) · B A dropout(x)`` with W and b frozen and α = 2r.

    Parameters
    ----------
    linear
        The frozen layer; it is used as it is, not copied.
    rank
        r.
    dropout
        Share of the inputs of A that are dropped while training; by `seeded_dropout`, else by PyTorch's own random state.
    """

    scale = 2.0  # α / r
    seeds: Sequence[int] = ()
    """Of what is dropped in each sample of a batch; none: that is drawn for the batch as a whole."""

    def __init__(self, linear: nn.Linear, rank: int, dropout: float) -> None:
        super().__init__()
        self.linear = linear
        self.dropout = dropout
        self.lora_a = nn.Parameter(torch.randn(rank, linear.in_features) / rank**0.5)
        self.lora_b = nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        low = F.linear(self._dropped(x), self.lora_a)
        result: Tensor = self.linear(x) + self.scale * F.linear(low, self.lora_b)
        return result

    def _dropped(self, x: Tensor) -> Tensor:
        """``x`` (samples · n, …, in), the same shape."""
        if not (self.training and self.dropout and self.seeds):
            return F.dropout(x, self.dropout, self.training)
        length, kept = x.numel() // len(self.seeds), []
        for seed in self.seeds:
            generator = torch.Generator(x.device).manual_seed(seed)
            of_sample = torch.empty(length, dtype=x.dtype, device=x.device)
            kept.append(of_sample.bernoulli_(1 - self.dropout, generator=generator))
        return x * torch.stack(kept).div_(1 - self.dropout).view(x.shape)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A plain layer with the update in its weight; the frozen layer stays as it is."""
        frozen = self.linear.weight
        # Not initialised: that would draw from the random numbers of whoever asks.
        layer: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear,
            self.linear.in_features,
            self.linear.out_features,
            bias=self.linear.bias is not None,
            device=frozen.device,
            dtype=frozen.dtype,
        )
        # On the CPU, because Apple's GPUs have no double precision.
        update = self.scale * (self.lora_b.cpu().double() @ self.lora_a.cpu().double())
        layer.weight.copy_(frozen.cpu().double() + update)
        if self.linear.bias is not None:
            layer.bias.copy_(self.linear.bias)
        return layer


def add_lora(root: nn.Module, names: tuple[str, ...], rank: int, dropout: float) -> None:
    """Wrap every Linear below ``root`` whose attribute name is one of ``names``."""
    for owner in list(root.modules()):
        for name in names:
            layer = getattr(owner, name, None)
            if isinstance(layer, nn.Linear):
                setattr(owner, name, LoraLinear(layer, rank, dropout))


@contextmanager
def seeded_dropout(root: nn.Module, seed: int, samples: range) -> Iterator[None]:
    """Let every `LoraLinear` below ``root`` drop the inputs of each sample of a batch by a seed of its own.

    What is dropped in a sample then hangs neither on the samples beside it nor on the passes before, and is the same when it is computed again.

    Parameters
    ----------
    root
        Its inputs have one sample after the other along their first axis, also where they are cut into windows.
    seed
        At least 0.
    samples
        Numbers of the samples that go through.
    """
    layers = [layer for layer in root.modules() if isinstance(layer, LoraLinear)]
    of_samples = [
        np.random.SeedSequence((seed, sample)).generate_state(len(layers)).tolist()
        for sample in samples
    ]
    for number, layer in enumerate(layers):
        layer.seeds = [seeds[number] for seeds in of_samples]
    try:
        yield
    finally:
        for layer in layers:
            layer.seeds = ()


def merge_lora(root: nn.Module) -> None:
    """Replace every `LoraLinear` below ``root`` by its merged layer."""
    for owner in list(root.modules()):
        for name, layer in list(owner.named_children()):
            if isinstance(layer, LoraLinear):
                setattr(owner, name, layer.merged())
