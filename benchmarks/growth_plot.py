"""The plot of `growth.py`: time and memory over side, slices and classes, on linear axes so that straight lines are straight."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

__all__ = ["plot_growth"]

_PANEL = (440, 320)
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 24, 46, 64
_AXES = {
    "side": ("megapixels of one image", lambda row: row["side"] ** 2 / 1e6),
    "slices": ("slices of 224 px", lambda row: row["slices"]),
    "classes": ("classes, image of 2048 px", lambda row: row["classes"]),
}
_MEASURES = {
    "computing": ("processor seconds", "#0072b2"),
    "peak_mb": ("peak memory over the network (MB)", "#d55e00"),
}


def plot_growth(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Draw a panel for each axis and measure."""
    width, height = _PANEL
    sheet = Image.new("RGB", (width * len(_AXES), height * len(_MEASURES)), "white")
    pen = ImageDraw.Draw(sheet)
    for column, (axis, (label, position)) in enumerate(_AXES.items()):
        for line, (measure, (title, colour)) in enumerate(_MEASURES.items()):
            latest = {position(row): row[measure] for row in rows if row["axis"] == axis}
            corner = (column * width, line * height)
            _panel(pen, corner, sorted(latest.items()), (title, label, colour))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _panel(
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    points: list[tuple[float, float]],
    words: tuple[str, str, str],
) -> None:
    if not points:
        return
    title, label, colour = words
    font = ImageFont.load_default(size=15)
    left, right = corner[0] + _LEFT, corner[0] + _PANEL[0] - _RIGHT
    top, bottom = corner[1] + _TOP, corner[1] + _PANEL[1] - _BOTTOM
    x_step, y_step = _step(points[-1][0]), _step(max(value for _, value in points))
    x_most = -(-points[-1][0] // x_step) * x_step
    y_most = -(-max(value for _, value in points) // y_step) * y_step

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * x / x_most, bottom - (bottom - top) * y / y_most

    for number in range(round(y_most / y_step) + 1):
        _, y = place(0, number * y_step)
        pen.line((left, y, right, y), "#e3e6eb")
        pen.text((left - 10, y), f"{number * y_step:g}", "#333333", font, anchor="rm")
    for number in range(round(x_most / x_step) + 1):
        x, _ = place(number * x_step, 0)
        pen.line((x, bottom, x, bottom + 5), "#333333")
        pen.text((x, bottom + 9), f"{number * x_step:g}", "#333333", font, anchor="mt")
    pen.line([place(*point) for point in points], colour, 3)
    for point in points:
        x, y = place(*point)
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), colour)
    pen.text((left, corner[1] + 14), title, "#111111", font)
    pen.text((right, bottom + 36), label, "#111111", font, anchor="rt")


def _step(most: float) -> float:
    """A round distance of at most eight grid lines."""
    rounds = (factor * 10.0**power for power in range(-3, 9) for factor in (1, 2, 5))
    return next(step for step in rounds if most <= 8 * step)
