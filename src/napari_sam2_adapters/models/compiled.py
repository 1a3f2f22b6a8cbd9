"""A network translated by ``torch.compile``, or the network itself where that does not work."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from napari_sam2_adapters.models.memory import is_out_of_memory

__all__ = ["CompiledNetwork"]

_MOST_SHAPES = 4
"""Each takes minutes; PyTorch itself stops at eight, and says so nowhere but in its log."""
_SHAPES: WeakKeyDictionary[nn.Module, set[torch.Size]] = WeakKeyDictionary()


class CompiledNetwork:
    """Calls a network by way of ``torch.compile``, anew for each of the first four shapes of its batches; with a message it goes on without.

    Parameters
    ----------
    network
        What is translated, at its first call.
    tell
        Called once with a sentence when it cannot be translated, as without a C++ compiler, or when there are more shapes.
    """

    def __init__(self, network: nn.Module, tell: Callable[[str], None]) -> None:
        self._network, self._tell = network, tell
        self._shapes = _SHAPES.setdefault(network, set())
        self._told = False
        self._run: Callable[[Tensor], Tensor] = torch.compile(network, dynamic=False)

    def __call__(self, batch: Tensor) -> Tensor:
        """What the network gives for a batch; its own errors are passed on."""
        if batch.shape not in self._shapes and len(self._shapes) == _MOST_SHAPES:
            if not self._told:
                self._told = True
                self._tell(
                    f"torch.compile takes minutes for each size of tiles, and has done {_MOST_SHAPES}: going on without it for others."
                )
            plain: Tensor = self._network(batch)
            return plain
        self._shapes.add(batch.shape)
        try:
            return self._run(batch)
        except Exception as error:  # of many kinds, by what is missing
            if self._run is self._network or is_out_of_memory(error):
                raise
            said = str(error).strip().splitlines() or [type(error).__name__]
        result: Tensor = self._network(batch)
        self._run = self._network
        self._tell(f"torch.compile does not work here ({said[0][:200]}): going on without it.")
        return result
