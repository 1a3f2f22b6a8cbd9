"""A small picture of what the network sees: the channels as colours, the grey values scaled to 0 … 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QWidget

from napari_sam2_adapters.config import Normalization
from napari_sam2_adapters.data.axes import ArrayLike, plane_shape, read_plane, without_alpha
from napari_sam2_adapters.data.normalize import (
    Limits,
    has_no_number,
    intensity_limits,
    normalize_plane,
    resolve_normalization,
)
from napari_sam2_adapters.widgets.docks.dock import sentence
from napari_sam2_adapters.widgets.docks.jobs import Question
from napari_sam2_adapters.widgets.docks.layers import Picture

__all__ = ["Seen", "SeenPicture", "as_colours", "see"]

SIDE_PX = 96
_LARGEST_PART_PX = 2048
_SOON_MS = 250


@dataclass(frozen=True)
class Seen:
    """What the network sees of a plane.

    Attributes
    ----------
    colours
        (h, w, 3) uint8.
    limits
        Grey values that became 0 and 1, by channel.
    words
        How channels became colours and grey values 0 … 1.
    empty
        Whether the image has no number anywhere, so that there is nothing to see.
    """

    colours: NDArray[np.uint8]
    limits: Limits
    words: str
    empty: bool = False


class SeenPicture(QWidget):
    """The picture with a sentence beside it, drawn in a worker; hidden while there is nothing to see.

    Parameters
    ----------
    parent
        Qt parent.
    """

    judged = Signal(object, bool)
    """The array that was looked at, and whether there is nothing to see in it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.picture = QLabel()
        self.picture.setFixedSize(SIDE_PX, SIDE_PX)
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.picture.setToolTip("The plane on show as the network sees it, before any training.")
        self.words = sentence()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.picture)
        layout.addWidget(self.words, stretch=1)
        self._wanted: tuple[Any, ...] | None = None
        self._array: ArrayLike | None = None
        self._asked: ArrayLike | None = None
        self._limits: Limits | None = None
        self._normalization: Normalization | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SOON_MS)
        self._timer.timeout.connect(self._ask)
        self._question = Question(self)
        self._question.answered.connect(self._take)
        self._question.failed.connect(self._fail)
        self.hide()

    def look(
        self, place: tuple[Picture, tuple[int, ...]] | None, normalization: Normalization
    ) -> None:
        """Show a plane, soon; None shows nothing.

        Parameters
        ----------
        place
            What was taken from the image layer, and the plane's index over its axes other than Y, X and C.
        normalization
            Settings, perhaps ``auto``.
        """
        if place is None:
            self._wanted = self._array = self._limits = None
            self.hide()
            return
        picture, plane = place
        if picture.array is not self._array or normalization != self._normalization:
            self._array, self._limits, self._normalization = picture.array, None, normalization
        self._wanted = (picture.array, picture.axes, picture.rgb, plane, normalization)
        self._timer.start()

    def stop(self) -> None:
        """Draw no more."""
        self._wanted = None
        self._timer.stop()

    def _ask(self) -> None:
        if self._wanted is None:
            return
        if self._question.waiting:
            self._timer.start()
            return
        self._asked = self._wanted[0]
        self._question.ask(see, *self._wanted, self._limits)

    def _take(self, seen: Seen) -> None:
        array, self._asked = self._asked, None
        if self._wanted is None:
            return
        if array is self._array:
            self._limits = seen.limits
        height, width = seen.colours.shape[:2]
        content = seen.colours.tobytes()  # by name: the image does not keep it
        image = QImage(content, width, height, 3 * width, QImage.Format.Format_RGB888)
        self.picture.setPixmap(
            QPixmap.fromImage(image.copy()).scaled(
                SIDE_PX,
                SIDE_PX,
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
        )
        self.words.setText(seen.words)
        self.show()
        self.judged.emit(array, seen.empty)

    def _fail(self, reason: str) -> None:
        self._asked = None
        self.picture.clear()
        self.words.setText(reason)
        self.show()


def see(
    array: ArrayLike,
    axes: str,
    rgb: bool,
    plane: tuple[int, ...],
    normalization: Normalization,
    limits: Limits | None = None,
) -> Seen:
    """Scale a plane as the network gets it, thinned out to a small picture.

    Parameters
    ----------
    array, axes, rgb
        The image, and whether its channels are colours.
    plane
        Index over its axes other than Y, X and C.
    normalization
        Settings, perhaps ``auto``.
    limits
        Grey values that become 0 and 1, when they are known already.

    Raises
    ------
    ValueError
        When the image is of a type that cannot be scaled.
    """
    if rgb:
        array = without_alpha(array, axes)
    settled = resolve_normalization(normalization, array.dtype, axes, rgb)
    limits = limits or intensity_limits(array, axes, settled)
    height, width = plane_shape(array.shape, axes)
    rows, columns = _middle(height), _middle(width)
    step = max(1, max(rows.stop - rows.start, columns.stop - columns.start) // (2 * SIDE_PX))
    part = read_plane(
        array,
        axes,
        plane,
        slice(rows.start, rows.stop, step),
        slice(columns.start, columns.stop, step),
    )
    colours = as_colours(normalize_plane(part, limits))
    cut = "" if (rows.stop, columns.stop) == (height, width) else " The middle of the plane."
    return Seen(
        np.round(colours * 255).astype(np.uint8).transpose(1, 2, 0),
        limits,
        _words(len(part), limits, settled) + cut,
        empty=has_no_number(array, axes, settled, limits),
    )


def as_colours(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Channels (C, h, w) as the three that a fresh network reads: one repeated, three as they are, others averaged in turn."""
    n_channels = len(plane)
    if n_channels == 3:
        return plane
    if n_channels == 1:
        return np.repeat(plane, 3, axis=0)
    parts = [plane[i::3] for i in range(3)] if n_channels > 2 else [plane[:1], plane[1:], plane]
    return np.stack([part.mean(axis=0) for part in parts])


def _middle(length: int) -> slice:
    if length <= _LARGEST_PART_PX:
        return slice(0, length)
    start = (length - _LARGEST_PART_PX) // 2
    return slice(start, start + _LARGEST_PART_PX)


def _words(n_channels: int, limits: Limits, settled: Normalization) -> str:
    channels = {
        1: "grey, in all three colours",
        3: "three channels as red, green and blue",
    }.get(n_channels, f"{n_channels} channels mixed into three, which is learnt too")
    low, high = _range(limits.low), _range(limits.high)
    how = ""
    if settled.mode == "percentile":
        how = f", the {settled.low:g} and {settled.high:g} % marks of the image"
    return f"What the network sees: {channels}; {low} becomes black, {high} white{how}."


def _range(values: tuple[float, ...]) -> str:
    low, high = min(values), max(values)
    return f"{low:.4g}" if low == high else f"{low:.4g} … {high:.4g}"
