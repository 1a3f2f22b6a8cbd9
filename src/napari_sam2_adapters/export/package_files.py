"""What lies beside the network in a bioimage.io package: test input and output, cover, documentation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageColor

from napari_sam2_adapters.config import ClassInfo, Normalization
from napari_sam2_adapters.data.axes import (
    channel_count,
    plane_indices,
    read_plane,
    without_alpha,
)
from napari_sam2_adapters.data.io import read_image
from napari_sam2_adapters.data.normalize import intensity_limits, normalize_plane
from napari_sam2_adapters.export.onnx import Translated
from napari_sam2_adapters.export.pictures import fit_to_tile, grey_tiles
from napari_sam2_adapters.wording import counted

__all__ = ["TestPair", "draw_cover", "make_test_pair", "write_documentation"]

_COVER_SIDE = 384
_OPACITY = 0.5


@dataclass(frozen=True)
class TestPair:
    """An image tile and what the network makes of it in PyTorch.

    Attributes
    ----------
    grey
        (1, C, side, side) float32 grey values, before any scaling.
    scaled
        The same between 0 and 1, by this package's own scaling.
    probabilities
        (1, classes, side, side) float32.
    """

    __test__ = False  # for pytest, which takes it for a test

    grey: NDArray[np.float32]
    scaled: NDArray[np.float32]
    probabilities: NDArray[np.float32]


def make_test_pair(translated: Translated, image: Path | None) -> TestPair:
    """Run the network on the middle of the first plane of an image, or on a bundled one.

    Parameters
    ----------
    translated
        The network.
    image
        An image file; None for the sample, whose grey values are spread over a fixed range where the model has one.

    Raises
    ------
    ValueError
        When the image cannot be read or has another number of channels.
    """
    header, side = translated.header, translated.tile_size_px
    channels, scaling = header.model.input_channels, header.normalization
    if image is None:
        grey = grey_tiles(channels, side, 1)[0].astype(np.float64)
        if scaling.mode == "range":
            grey = scaling.low + grey / 255 * (scaling.high - scaling.low)
    else:
        grey = _read_tile(image, channels, side)
    grey = grey.astype(np.float32)
    scaled = normalize_plane(grey, intensity_limits(grey, "CYX", scaling))[None]
    with torch.inference_mode():
        probabilities: NDArray[np.float32] = translated.network(torch.from_numpy(scaled)).numpy()
    return TestPair(grey[None], scaled, probabilities)


def _read_tile(path: Path, channels: int, side_px: int) -> NDArray[Any]:
    file = read_image(path)
    array = without_alpha(file.array, file.axes) if channels == 3 and file.rgb else file.array
    got = channel_count(array.shape, file.axes)
    if got != channels:
        raise ValueError(
            f"{path.name} has {counted(got, 'channel')}, but the model takes {channels}. Give an image of its kind."
        )
    return fit_to_tile(
        read_plane(array, file.axes, plane_indices(array.shape, file.axes)[0]), side_px
    )


def draw_cover(path: Path, pair: TestPair, classes: tuple[ClassInfo, ...]) -> None:
    """Write a PNG twice as wide as high: the image, and beside it the image with the classes in their colours.

    Parameters
    ----------
    path
        The file.
    pair
        Image and probabilities.
    classes
        In the order of the probabilities.
    """
    picture = pair.scaled[0]
    shown = picture if len(picture) == 3 else np.repeat(picture[:1], 3, axis=0)
    image = np.moveaxis(shown, 0, -1) * 255  # (H, W, 3)
    palette = np.array([ImageColor.getrgb(entry.color)[:3] for entry in classes], np.float32)
    painted = (1 - _OPACITY) * image + _OPACITY * palette[pair.probabilities[0].argmax(0)]
    sheet = Image.fromarray(np.hstack([image, painted]).round().astype(np.uint8))
    sheet.resize((2 * _COVER_SIDE, _COVER_SIDE), Image.Resampling.LANCZOS).save(path, "PNG")


def write_documentation(path: Path, translated: Translated, name: str) -> None:
    """Write the package's README: what the model finds, how to give it images, how it was checked."""
    header, side = translated.header, translated.tile_size_px
    model, scaling = header.model, header.normalization
    classes = "\n".join(
        f"| {place} | {entry.name} | {entry.value} | {entry.color} |"
        for place, entry in enumerate(header.classes)
    )
    dice = header.scores.get("mean_dice")
    score = (
        f"Mean Dice {dice:.3f} on labelled pixels that were held out from training."
        if isinstance(dice, int | float)
        else "No labelled pixels were held out in training, so there is no score."
    )
    size = ""
    if header.pixel_size:
        sides = " × ".join(f"{length:g}" for length in header.pixel_size)
        size = f" It was trained on pixels of {sides} {header.unit or 'pixel'} (height × width)."
    text = f"""# {name}

Semantic segmentation into {counted(len(header.classes), "class", "classes")}, by {model.adapter.upper()} on a frozen {model.backbone}
backbone of the SAM family. Made with napari-sam2-adapters.

| output channel | class | label value | colour |
|---|---|---|---|
{classes}

The output is a probability per class and pixel; the label of a pixel is the value of its most probable class.

## Input

Tiles of {side} × {side} px with {counted(model.input_channels, "channel")}.{size} {_scaling_in_words(scaling)}
Larger images are segmented in overlapping tiles, of which {side // 8} px at each edge are not used.

## Weights

ONNX only. The network in PyTorch is made of the code of several packages, so a file of its weights alone would be of no use without them.

## Validation

{score}
{translated.agreement.words()}
The test output was made with PyTorch and the scaling of napari-sam2-adapters, not with what it is compared with.
To validate the model on your own images: segment labelled images that it has not seen, and compute the Dice score of each class.
"""
    path.write_text(text, encoding="utf-8")


def _scaling_in_words(scaling: Normalization) -> str:
    if scaling.mode == "range":
        return f"Grey values from {scaling.low:g} to {scaling.high:g} become 0 to 1, and what lies outside is clipped."
    return (
        f"In each channel the {scaling.low:g} % and {scaling.high:g} % percentiles of the image become 0 and 1, and what lies outside is "
        "clipped. Where the two percentiles are the same grey value, napari-sam2-adapters takes the smallest and the largest one instead, "
        "which a bioimage.io package cannot say: such nearly empty images come out differently."
    )
