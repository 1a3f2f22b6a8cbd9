"""Less memory for training: what a block computes is not kept for the gradient, but computed again.

Chen et al., *Training Deep Nets with Sublinear Memory Cost* (arXiv 1604.06174).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

__all__ = ["recomputed"]


@contextmanager
def recomputed(blocks: Sequence[nn.Module]) -> Iterator[None]:
    """Let the passes that begin within keep only what goes into each block.

    The backward pass, also a later one, runs the blocks again, with the same random numbers and in the same precision. On leaving, the
    blocks are as before.
    """
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward
