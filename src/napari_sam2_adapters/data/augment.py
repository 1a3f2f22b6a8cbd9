"""Flips, turns, zoom and shading of a crop, with its labels turned alike.

Every random number comes from the generator that is passed. What a turn opens is unlabelled, never background.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from napari_sam2_adapters.metrics import UNLABELLED

__all__ = [
    "augment_interactive",
    "augment_paper",
    "augment_upright",
    "center_crop",
    "interactive_source_size",
    "paper_source_size",
    "upright_source_size",
]

SMALLEST_SCALE, LARGEST_SCALE = 0.75, 1.33
_TILT_DEGREES = 15
_GAIN = 0.2
_CHANNEL_GAIN = 0.05
_SHIFT = 0.1
_GAMMA = 1.25
_NOISE = 0.03


def interactive_source_size(size: int) -> int:
    """Side of the crop that :func:`augment_interactive` needs so that its smallest scale opens nothing."""
    return math.ceil(size / SMALLEST_SCALE)


def upright_source_size(size: int) -> int:
    """Side of the crop that :func:`augment_upright` needs so that neither its smallest scale nor its tilt opens anything."""
    return math.ceil(interactive_source_size(size) * _tilted(1.0, _TILT_DEGREES))


def paper_source_size(size: int) -> int:
    """Side of the crop that :func:`augment_paper` needs so that no turn opens a corner."""
    return math.ceil(size * math.sqrt(2))


def augment_interactive(
    image: Tensor, labels: Tensor, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Flip, turn by right angles, zoom by 0.75 to 1.33, and shade mildly.

    Parameters
    ----------
    image
        (C, S, S) float32 between 0 and 1.
    labels
        (S, S) class indices, -1 where unlabelled.
    size
        Side of the result; S is best :func:`interactive_source_size` of it.
    generator
        Source of all random numbers, on the CPU.

    Returns
    -------
    image, labels
        (C, size, size) float32 between 0 and 1, and (size, size) of the labels' dtype.

    Raises
    ------
    ValueError
        When the shapes of image and labels do not fit.
    """
    _check(image, labels)
    image, labels = _flip_or_not(image, labels, generator)
    quarters = int(torch.randint(4, (1,), generator=generator))
    image, labels = image.rot90(quarters, (-2, -1)), labels.rot90(quarters, (-2, -1))
    return _zoom_and_shade(image, labels, size, generator)


def augment_upright(
    image: Tensor, labels: Tensor, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Tilt by up to 15°, zoom by 0.75 to 1.33, and shade mildly: left stays left and up stays up.

    Takes, gives and raises what :func:`augment_interactive` does. S is best :func:`upright_source_size` of the
    size; else corners open, which are 0 in the image and unlabelled.
    """
    _check(image, labels)
    image, labels = _turn(image, labels, _uniform(generator, -_TILT_DEGREES, _TILT_DEGREES))
    return _zoom_and_shade(image, labels, size, generator)


def augment_paper(
    image: Tensor, labels: Tensor, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Turn by any angle between -90° and 90°, flip left to right, and crop at random, as in the paper.

    Takes, gives and raises what :func:`augment_interactive` does. S is best :func:`paper_source_size` of the
    size; else corners open, which are 0 in the image and unlabelled.
    """
    _check(image, labels)
    image, labels = _turn(image, labels, _uniform(generator, -90, 90))
    image, labels = _flip_or_not(image, labels, generator)
    # what lies farther than this from the centre may have been opened by the turn
    safe = max(size, math.floor(min(labels.shape) / math.sqrt(2)))
    image, labels = center_crop(image, labels, safe)
    top, left = (int(torch.randint(safe - size + 1, (1,), generator=generator)) for _ in range(2))
    image = image[:, top : top + size, left : left + size]
    return image.contiguous(), labels[top : top + size, left : left + size].contiguous()


def center_crop(image: Tensor, labels: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The central square of (C, H, W) image and (H, W) labels; what is missing is mirrored and unlabelled."""
    height, width = labels.shape
    top, left = (height - size) // 2, (width - size) // 2
    if top < 0 or left < 0:
        above, before = max(0, -top), max(0, -left)
        pads = [before, above, max(0, size - width - before), max(0, size - height - above)]
        mode = "reflect" if max(pads) < min(height, width) else "edge"
        image = transforms.pad(image, pads, padding_mode=mode)
        labels = transforms.pad(labels[None], pads, fill=UNLABELLED)[0]
        top, left = max(0, top), max(0, left)
    rows, columns = slice(top, top + size), slice(left, left + size)
    return image[:, rows, columns], labels[rows, columns]


def _turn(image: Tensor, labels: Tensor, degrees: float) -> tuple[Tensor, Tensor]:
    """Both turned about their centre; what opens is 0 in the image and unlabelled."""
    turned = transforms.rotate(image, degrees, InterpolationMode.BILINEAR, fill=[0.0])
    return turned, transforms.rotate(
        labels[None], degrees, InterpolationMode.NEAREST, fill=[float(UNLABELLED)]
    )[0]


def _tilted(side: float, degrees: float) -> float:
    """Side of the smallest square that holds a square of this side, turned by this angle."""
    return side * (math.cos(math.radians(degrees)) + math.sin(math.radians(degrees)))


def _zoom_and_shade(
    image: Tensor, labels: Tensor, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The middle of both, zoomed to ``size``, with the image shaded."""
    scale = math.exp(_uniform(generator, math.log(SMALLEST_SCALE), math.log(LARGEST_SCALE)))
    image, labels = center_crop(image, labels, max(1, round(size / scale)))
    image = transforms.resize(image, [size, size], antialias=True)
    labels = transforms.resize(labels[None], [size, size], InterpolationMode.NEAREST_EXACT)[0]
    return _shade(image, generator).contiguous(), labels.contiguous()


def _flip_or_not(
    image: Tensor, labels: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Both mirrored left to right in half of the draws."""
    if _uniform(generator, 0, 1) < 0.5:
        return image.flip(-1), labels.flip(-1)
    return image, labels


def _shade(image: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and gamma a little and add noise."""
    n_channels = image.shape[0]
    gain = _uniform(generator, 1 - _GAIN, 1 + _GAIN)
    own = 1 + _CHANNEL_GAIN * (2 * torch.rand(n_channels, 1, 1, generator=generator) - 1)
    shift = _uniform(generator, -_SHIFT, _SHIFT)
    gamma = math.exp(_uniform(generator, -math.log(_GAMMA), math.log(_GAMMA)))
    sigma = _uniform(generator, 0, _NOISE)
    noise = torch.randn(image.shape, generator=generator) * sigma
    middle = image.mean(dim=(-2, -1), keepdim=True)
    shaded = ((image - middle) * gain * own + middle + shift).clamp(0, 1) ** gamma
    return (shaded + noise).clamp(0, 1)


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(1, generator=generator))


def _check(image: Tensor, labels: Tensor) -> None:
    if image.ndim != 3 or labels.ndim != 2 or image.shape[1:] != labels.shape:
        raise ValueError(
            f"Augmentation takes an image (C, S, S) and labels (S, S), got {tuple(image.shape)} "
            f"and {tuple(labels.shape)}."
        )
