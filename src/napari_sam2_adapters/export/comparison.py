"""An exported file beside the network that it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

__all__ = ["INPUT", "OUTPUT", "Agreement", "DisagreementError", "compare", "open_session"]

INPUT, OUTPUT = "image", "probabilities"
MOST_DIFFERENCE = 1e-3
FEWEST_EQUAL = 0.999


class DisagreementError(RuntimeError):
    """The exported file does not give what the network gives."""


@dataclass(frozen=True)
class Agreement:
    """How an exported file compares with the network in PyTorch, on real pictures.

    Attributes
    ----------
    difference
        Largest difference of a probability.
    equal
        Share of pixels with the same label, 0 to 1.
    pixels
        Pixels that were compared.
    """

    difference: float
    equal: float
    pixels: int

    def words(self) -> str:
        """The comparison in a sentence."""
        return (
            f"Compared with PyTorch on {self.pixels:,} pixels of sample images: largest difference of a probability "
            f"{self.difference:.1g}, equal labels {self.equal:.3%}."
        )


def compare(network: nn.Module, content: bytes, tiles: NDArray[np.float32]) -> Agreement:
    """Run the file and the network on the same tiles: all in one batch and, with the file, the first also alone.

    Parameters
    ----------
    network
        (B, C, side, side) to probabilities.
    content
        The ONNX file.
    tiles
        (B, C, side, side) between 0 and 1.

    Raises
    ------
    DisagreementError
        When a probability differs by more than 1e-3, or more than a thousandth of the pixels have another label.
    """
    session = open_session(content)
    (together,) = session.run(None, {INPUT: tiles})
    (alone,) = session.run(None, {INPUT: tiles[:1]})
    with torch.inference_mode():
        wanted = np.concatenate([network(torch.from_numpy(tile[None])).numpy() for tile in tiles])
    got, wanted = np.concatenate([together, alone]), np.concatenate([wanted, wanted[:1]])
    agreement = Agreement(
        float(np.abs(got - wanted).max()),
        float((got.argmax(1) == wanted.argmax(1)).mean()),
        got[:, 0].size,
    )
    # Written so that NaN disagrees, too.
    if not (agreement.difference <= MOST_DIFFERENCE and agreement.equal >= FEWEST_EQUAL):
        raise DisagreementError(
            f"The exported network differs from PyTorch by up to {agreement.difference:.2g} (at most {MOST_DIFFERENCE:g} is allowed) and "
            f"gives {agreement.equal:.2%} of the pixels the same label (at least {FEWEST_EQUAL:.1%}), so it was not written. "
            "Update torch, onnxscript and onnxruntime and try again; if it stays, please report it."
        )
    return agreement


def open_session(content: bytes) -> Any:
    """An onnxruntime session on the CPU with as many threads as PyTorch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
