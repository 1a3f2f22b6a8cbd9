"""A picture that shows images, true labels and predicted labels side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.config import ClassInfo

__all__ = ["draw_overlay"]

_GAP = 8
_LINE = 26
_OPACITY = 0.55


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
