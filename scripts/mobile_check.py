"""Measure how far the converted MobileSAM is from its ONNX files, and what storing it as float16 costs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import skimage.data
import torch
import torch.nn.functional as F
from mobile_network import IMAGE_SIZE_PX, MobileSam
from mobile_onnx import OnnxMobileSam
from torch import Tensor

__all__ = ["Difference", "compare", "network", "photograph"]

PHOTOGRAPHS = ("coffee", "astronaut", "chelsea")
# How far float32 sums in another order may be apart, on outputs of about 1 (encoder) and about 20 (logits).
LARGEST_ENCODER_DIFFERENCE = 2e-5
LARGEST_LOGIT_DIFFERENCE = 1e-3
# x, y (of 1024) and kind; SAM's export chooses mask 1-3 below three points and mask 0 from three on.
PROMPTS = {
    "one point": ([[400.0, 300.0], [0.0, 0.0]], [1.0, -1.0]),
    "in and out": ([[512.0, 340.0], [40.0, 40.0], [0.0, 0.0]], [1.0, 0.0, -1.0]),
    "box": ([[200.0, 120.0], [800.0, 600.0]], [2.0, 3.0]),
}


class Difference(NamedTuple):
    """How far an output is from its reference."""

    output: str
    largest: float
    relative: float  # ‖a - b‖ / ‖b‖
    agreement: float | None = None  # IoU of the two masks at logit 0

    def __str__(self) -> str:
        """Give one line of the report."""
        masks = "" if self.agreement is None else f", IoU of the masks {self.agreement:.5f}"
        return f"{self.output}: largest {self.largest:.2e}, relative {self.relative:.2e}{masks}"


def difference(output: str, got: Tensor, wanted: Tensor, *, masks: bool = False) -> Difference:
    """Measure one output against its reference; `masks` adds the IoU of what lies above 0."""
    apart = got - wanted
    both = ((got > 0) & (wanted > 0)).sum()
    either = ((got > 0) | (wanted > 0)).sum()
    return Difference(
        output,
        apart.abs().max().item(),
        (apart.norm() / wanted.norm()).item(),
        (both / either).item() if masks and either else None,
    )


def network(tensors: Mapping[str, Tensor], *, stored: torch.dtype = torch.float32) -> MobileSam:
    """Build the network from converted tensors that went through storage as `stored`; it computes in float32."""
    model = MobileSam()
    model.load_state_dict({name: tensor.to(stored).float() for name, tensor in tensors.items()})
    return model


def photograph(name: str) -> Tensor:
    """Give one of scikit-image's photographs as SAM takes it: normalised, padded to (1, 3, 1024, 1024)."""
    image = (
        torch.from_numpy(getattr(skimage.data, name)().copy()).permute(2, 0, 1)[None].float() / 255
    )
    scale = IMAGE_SIZE_PX / max(image.shape[-2:])
    size = [round(side * scale) for side in image.shape[-2:]]
    image = F.interpolate(image, size, mode="bilinear", antialias=True)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    return F.pad(
        (image - mean) / deviation, (0, IMAGE_SIZE_PX - size[1], 0, IMAGE_SIZE_PX - size[0])
    )


@torch.inference_mode()
def compare(tensors: Mapping[str, Tensor], folder: Path) -> tuple[list[Difference], bool]:
    """Compare converted tensors, before and after storage as float16, with the ONNX files.

    Parameters
    ----------
    tensors
        As `convert_mobile.convert` gives them.
    folder
        Where ``encoder.onnx`` and ``sam.onnx`` are.

    Returns
    -------
    tuple
        Every measured difference, and whether all those of float32 are within rounding.
    """
    onnx = OnnxMobileSam(folder)
    exact, half = network(tensors), network(tensors, stored=torch.float16)
    report: list[Difference] = []
    equal = True
    for name in PHOTOGRAPHS:
        image = photograph(name)
        embedding, stored = onnx.encode(image), half.encode(image)
        encoder = difference(
            f"{name}, encoder, torch − onnxruntime", exact.encode(image), embedding
        )
        equal &= encoder.largest <= LARGEST_ENCODER_DIFFERENCE
        report += [encoder, difference(f"{name}, encoder, float16 − float32", stored, embedding)]
        for prompt, parts in PROMPTS.items():
            earlier = None
            for asked in (prompt, f"{prompt} + mask"):
                given = (*(torch.tensor([part]) for part in parts), earlier)
                wanted, quality = onnx.decode(embedding, *given)
                got, qualities = exact.decode(embedding, *given)
                # The file gives one mask of four; its predicted IoU tells which.
                best = (qualities - quality).abs().argmin().item()
                got, halved = got[:, [best]], half.decode(stored, *given)[0][:, [best]]
                logits = difference(
                    f"{name}, {asked}, torch − onnxruntime", got, wanted, masks=True
                )
                equal &= logits.largest <= LARGEST_LOGIT_DIFFERENCE
                cost = difference(f"{name}, {asked}, float16 − float32", halved, wanted, masks=True)
                report += [logits, cost]
                earlier = wanted
    return report, equal
