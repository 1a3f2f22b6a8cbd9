"""A network translated by ``torch.compile``, or the network itself where that does not work."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from napari_sam2_adapters.models.memory import is_out_of_memory

__all__ = ["CompiledNetwork"]


class CompiledNetwork:
    """Calls a network by way of ``torch.compile``, anew for each shape of the batch; with a message it goes on without.

    Parameters
    ----------
    network
        What is translated, at its first call.
    tell
        Called once with a sentence when it cannot be translated, as without a C++ compiler.
    """

    def __init__(self, network: nn.Module, tell: Callable[[str], None]) -> None:
        self._network, self._tell = network, tell
        self._run: Callable[[Tensor], Tensor] = torch.compile(network, dynamic=False)

    def __call__(self, batch: Tensor) -> Tensor:
        """What the network gives for a batch; its own errors are passed on."""
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
