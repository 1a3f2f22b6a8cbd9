"""Pictures of images with the classes painted over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.config import ClassInfo, Normalization
from napari_sam2_adapters.data.axes import ArrayLike, label_axes, plane_shape, read_plane
from napari_sam2_adapters.data.normalize import intensity_limits, normalize_plane

__all__ = ["draw_overlay", "is_background", "overlay_picture"]

_GAP = 8
_LINE = 26
_OPACITY = 0.55
_FILL_OPACITY = 0.35
_READ_FACTOR = 2
"""Planes are read at up to this many times the picture's size and then averaged."""


def draw_overlay(
    path: Path,
    images: Sequence[NDArray[np.uint8]],
    columns: dict[str, Sequence[NDArray[np.integer[Any]]]],
    classes: Sequence[ClassInfo],
    notes: Sequence[str],
) -> None:
    """Write a PNG with one row per image: the image, then each set of labels painted over it, then a legend.

    Parameters
    ----------
    path
        The file, replaced if it is there.
    images
        (H, W) or (H, W, 3), all of one size.
    columns
        Label values (H, W) per image, by the title of their column.
    classes
        Their colours are painted; the first class is left clear.
    notes
        A line under each image's row.
    """
    height, width = images[0].shape[:2]
    titles = ["image", *columns]
    row_height = height + _LINE + _GAP
    sheet = Image.new(
        "RGB",
        (len(titles) * (width + _GAP) + _GAP, 2 * _LINE + len(images) * row_height),
        "white",
    )
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    for column, title in enumerate(titles):
        pen.text((_GAP + column * (width + _GAP), 5), title, "black", font)
    for row, image in enumerate(images):
        top = _LINE + row * row_height
        for column, labels in enumerate([None, *(labels[row] for labels in columns.values())]):
            panel = _paint(image, labels, classes)
            sheet.paste(Image.fromarray(panel), (_GAP + column * (width + _GAP), top))
        pen.text((_GAP, top + height + 3), notes[row], "black", font)
    left = _GAP
    for entry in classes[1:]:
        top = sheet.height - _LINE + 5
        pen.rectangle((left, top + 2, left + 12, top + 14), entry.color)
        pen.text((left + 18, top), entry.name, "black", font)
        left += 36 + int(pen.textlength(entry.name, font))
    write_atomically(path, lambda file: sheet.save(file, "PNG"), overwrite=True)


def _paint(
    image: NDArray[np.uint8], labels: NDArray[np.integer[Any]] | None, classes: Sequence[ClassInfo]
) -> NDArray[np.uint8]:
    """The image in colour, stretched to its full range, with the classes but the first painted over it."""
    grey = image.astype(np.float32)
    grey = (grey - grey.min()) / max(float(np.ptp(grey)), 1.0) * 255
    panel = np.repeat(grey[..., None], 3, axis=2) if grey.ndim == 2 else grey
    if labels is not None:
        for entry in classes[1:]:
            color = np.array(ImageColor.getrgb(entry.color), np.float32)
            here = labels == entry.value
            panel[here] = (1 - _OPACITY) * panel[here] + _OPACITY * color
    return panel.round().astype(np.uint8)


def overlay_picture(
    image: ArrayLike,
    axes: str,
    labels: ArrayLike,
    classes: Sequence[ClassInfo],
    *,
    rgb: bool = False,
    longest_px: int = 512,
) -> NDArray[np.uint8]:
    """A small picture of the middle plane, with each class filled lightly and outlined; classes called background stay clear.

    Parameters
    ----------
    image, axes
        The image; channels other than colours are averaged.
    labels
        Label values, with the axes of the image but C.
    classes
        Their colours are painted.
    rgb
        Whether the channels are red, green and blue.
    longest_px
        The longer side of the picture is at most this long.

    Returns
    -------
    ndarray
        (h, w, 3) uint8.
    """
    height, width = plane_shape(image.shape, axes)
    step = max(1, max(height, width) // (_READ_FACTOR * longest_px))
    every = slice(None, None, step)
    others = [n for n, axis in zip(image.shape, axes, strict=True) if axis not in "YXC"]
    middle = tuple(int(n) // 2 for n in others)
    plane = read_plane(image, axes, middle, every, every)
    values = read_plane(labels, label_axes(axes), middle, every, every)[0]
    share = min(1.0, longest_px / max(values.shape))
    size = tuple(max(1, round(n * share)) for n in reversed(values.shape))
    grey = Image.fromarray(_shades(plane, colours=rgb)).resize(size, Image.Resampling.BOX)
    rows, columns = (
        np.arange(n) * full // n for n, full in zip(size[::-1], values.shape, strict=True)
    )
    return _paint_outlined(np.asarray(grey), values[np.ix_(rows, columns)], classes)


def is_background(entry: ClassInfo) -> bool:
    """Whether a class is what the others leave."""
    return entry.name.strip().lower() == "background"


def _shades(plane: NDArray[Any], *, colours: bool) -> NDArray[np.uint8]:
    """(C, h, w) of any type to (h, w, 3) uint8."""
    if plane.dtype == np.bool_:
        plane = plane.astype(np.uint8)
    fixed = colours and plane.dtype == np.uint8
    normalization = (
        Normalization(mode="range", low=0, high=255)
        if fixed
        else Normalization(mode="percentile", low=0.5, high=99.5)
    )
    shades = normalize_plane(plane, intensity_limits(plane, "CYX", normalization))
    if not (colours and len(shades) >= 3):
        shades = np.repeat(shades.mean(axis=0, keepdims=True), 3, axis=0)
    return np.ascontiguousarray((np.moveaxis(shades[:3], 0, -1) * 255).round().astype(np.uint8))


def _paint_outlined(
    picture: NDArray[np.uint8], labels: NDArray[np.integer[Any]], classes: Sequence[ClassInfo]
) -> NDArray[np.uint8]:
    edge = np.zeros(labels.shape, bool)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    painted = picture.astype(np.float32)
    for entry in classes:
        if is_background(entry):
            continue
        color = np.array(ImageColor.getrgb(entry.color), np.float32)
        here = labels == entry.value
        painted[here] = (1 - _FILL_OPACITY) * painted[here] + _FILL_OPACITY * color
        painted[here & edge] = color
    return painted.round().astype(np.uint8)
