"""One image layer with its labels layer: chosen, checked, and marked where something is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.layers import Image, Labels, Layer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_sam2_adapters.data.axes import ArrayLike
from napari_sam2_adapters.data.dataset import Pair
from napari_sam2_adapters.data.normalize import NO_NUMBER
from napari_sam2_adapters.widgets.annotation.counting import LabelCounter
from napari_sam2_adapters.widgets.annotation.lining_up import add_lined_up, can_be_lined_up
from napari_sam2_adapters.widgets.annotation.lying import elsewhere, misfit
from napari_sam2_adapters.widgets.annotation.pairing import best_labels
from napari_sam2_adapters.widgets.annotation.strokes import add_strokes
from napari_sam2_adapters.widgets.docks.arrays import without_axis
from napari_sam2_adapters.widgets.docks.dock import button, sentence
from napari_sam2_adapters.widgets.docks.image_form import ImageForm
from napari_sam2_adapters.widgets.docks.layer_choice import LayerChoice
from napari_sam2_adapters.widgets.docks.log import show_failure
from napari_sam2_adapters.widgets.docks.marking import mark
from napari_sam2_adapters.widgets.docks.results import is_own
from napari_sam2_adapters.widgets.docks.spread import edit_past_channels, note_spread, spread_of

__all__ = ["PairRow"]


_PLACE = ("scale", "translate", "rotate", "shear", "affine", "units")
"""What of a layer says where it lies."""


class PairRow(QWidget):
    """Choice of an image and its labels.

    Parameters
    ----------
    viewer
        The napari viewer.
    parent
        Qt parent.
    """

    changed = Signal()
    counted = Signal()
    edited = Signal()
    removed = Signal()

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._placed: list[Layer] = []
        self._empty: ArrayLike | None = None
        self.guessed = False
        self.image = ImageForm(viewer)
        self.labels = LayerChoice(
            viewer,
            lambda layer: isinstance(layer, Labels) and not is_own(layer),
            "choose a labels layer",
            guess=False,  # only labels that fit the image are, by guess_labels
        )
        self.labels.setToolTip("Labels layer with some painted pixels of each class.")
        self.counter = LabelCounter(viewer, self)
        self.title = QLabel()
        self.remove_button = button(
            "×", "Learn no longer from this pair; the layers stay.", self.removed.emit
        )
        self.remove_button.setFixedWidth(24)
        self.add_button = button(
            "+", "Add an empty labels layer on this image, to paint in.", self.add_labels
        )
        self.add_button.setFixedWidth(28)
        self.problem_line = sentence()
        self.problem_line.setStyleSheet("color: #d55e00;")
        self.problem_line.hide()
        self.line_up_button = button(
            "Line up",
            "Add a layer of these labels that lies on the slices of the image; this one is hidden, and stays.",
            self.line_up,
        )
        self.line_up_button.hide()
        self._lay_out()
        self.image.choice.layer_changed.connect(self._take_image)
        self.image.changed.connect(self._line_up)
        self.image.changed.connect(self.changed)
        self.labels.layer_changed.connect(self._take_labels)
        self.counter.counted.connect(self.counted)
        self.counter.edited.connect(self._take_edit)
        self.labels.activated.connect(self._settle)
        self._take_image()

    @property
    def pair(self) -> Pair:
        """Arrays of the image and the labels.

        Raises
        ------
        ValueError
            When the layers cannot be taken.
        """
        picture, layer = self.image.picture(), self.labels.layer
        if layer is None:
            raise ValueError("Choose a labels layer, or add one and paint.")
        labels = without_axis(layer.data, self.spread)
        return Pair(picture.array, labels, picture.axes, picture.name, picture.rgb)

    @property
    def spread(self) -> int | None:
        """Axis that the labels have in place of the image's channels: as they say, or by their shape; None for none."""
        layer = self.labels.layer
        if layer is None or layer.multiscale:
            return None
        try:
            picture = self.image.picture()
        except ValueError:
            return spread_of(layer)
        fits = tuple(layer.data.shape) == picture.layer_shape
        return picture.spread if fits else spread_of(layer)

    @property
    def channels(self) -> int | None:
        """Channels of the image; None while there is none."""
        try:
            picture = self.image.picture()
        except ValueError:
            return None
        if "C" not in picture.axes:
            return 1
        number = int(picture.array.shape[picture.axes.index("C")])
        return 3 if picture.rgb and number == 4 else number

    def problem(self) -> tuple[QWidget | None, str]:
        """The wrong field and what is wrong with it; ``(None, "")`` when nothing is."""
        try:
            picture = self.image.picture()
        except ValueError as error:
            return self.image.choice, str(error)
        if picture.array is self._empty:
            return self.image.choice, NO_NUMBER
        layer = self.labels.layer
        if layer is None:
            return self.labels, (
                "Choose a labels layer with painted pixels, or add one with + and paint some of each class."
            )
        if layer.multiscale:
            return (
                self.labels,
                f"{layer.name} is multiscale; choose a labels layer of one resolution.",
            )
        reason = misfit(layer, picture)
        return (self.labels, reason) if reason else (None, "")

    def notice(self) -> str:
        """What is odd about a pair that can be learnt from; empty when nothing is."""
        field, reason = self.problem()
        layer = self.labels.layer
        return "" if field or reason or layer is None else elsewhere(layer, self.image.picture())

    def take_judgement(self, array: ArrayLike, empty: bool) -> None:
        """Know whether there is no number in an array, if it is that of the image."""
        try:
            own = self.image.picture().array
        except ValueError:
            return
        if own is array and empty != (self._empty is array):
            self._empty = array if empty else None
            self.changed.emit()

    def mark(self, field: QWidget | None, reason: str, *, say: bool) -> None:
        """Mark the field that is wrong, if any, and say why below it when asked to; nothing with an empty reason."""
        for choice in (self.image.choice, self.labels):
            mark(choice, bool(reason) and choice is field)
        self.problem_line.setText(reason)
        self.problem_line.setVisible(say and bool(reason))
        self.line_up_button.setVisible(self._off_line())

    def guess_labels(self, taken: Sequence[Labels], *, again: bool) -> None:
        """Choose the labels that fit best, unless the user has chosen or painted in some.

        Parameters
        ----------
        taken
            Labels of other pairs.
        again
            Whether an earlier guess may be changed.
        """
        image = self.image.layer
        self.add_button.setEnabled(image is not None)
        free = self.labels.layer is None or (again and self.guessed)
        if image is None or not free:
            return
        best = best_labels(image, [layer for layer in self.labels.layers if layer not in taken])
        if best is not None and best is not self.labels.layer:
            self.labels.layer = best
            self.guessed = True

    def take_restored(self, layer: Labels, image: str) -> None:
        """Learn from labels that were put back, where they belong to this image."""
        chosen = self.image.layer
        if chosen is not None and chosen.name == image and layer in self.labels.layers:
            self.choose(chosen, layer)

    def choose(self, image: Image, labels: Labels) -> None:
        """Choose both layers."""
        self.image.choice.layer = image
        self.labels.layer = labels
        self.guessed = False

    def add_labels(self) -> None:
        """Add an empty labels layer that lies on the image, and get the brush ready."""
        image = self.image.layer
        if image is None:
            return
        try:
            picture = self.image.picture()
        except ValueError as error:
            show_failure(str(error))
            return
        self.labels.layer = add_strokes(self._viewer, image, picture)
        self.guessed = False

    def line_up(self) -> None:
        """Learn from a layer of the chosen labels that lies on the slices of the image."""
        image, layer = self.image.layer, self.labels.layer
        if image is not None and layer is not None and self._off_line():
            self.labels.layer = add_lined_up(self._viewer, layer, image, self.image.picture())
            self.guessed = False

    def stop(self) -> None:
        """Listen to no layer any more."""
        self.counter.stop()
        self.image.stop()
        self._watch_place(stop=True)

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.addWidget(self.title, stretch=1)
        head.addWidget(self.remove_button)
        row = QHBoxLayout()
        row.addWidget(self.labels, stretch=1)
        row.addWidget(self.add_button)
        self.image.form.insertRow(1, "Labels", row)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(head)
        layout.addWidget(self.image)
        layout.addWidget(self.problem_line)
        layout.addWidget(self.line_up_button, alignment=Qt.AlignmentFlag.AlignLeft)

    def _off_line(self) -> bool:
        """Whether the labels are the image's but for the axis that lines them up."""
        try:
            picture = self.image.picture()
        except ValueError:
            return False
        return self.labels.layer is not None and can_be_lined_up(self.labels.layer, picture)

    def _take_image(self) -> None:
        self._empty = None  # a judgement of another image
        self._fit()
        self._watch_place()
        self.changed.emit()

    def _take_labels(self) -> None:
        self.counter.follow(self.labels.layer)
        self._fit()
        self._line_up()
        self._watch_place()
        self.changed.emit()

    def _take_edit(self) -> None:
        self._settle()
        self.edited.emit()

    def _settle(self, index: int = 0) -> None:
        """What the user chose or painted in is no guess any more."""
        self.guessed = False

    def _fit(self) -> None:
        layer = self.labels.layer
        if layer is not None and not layer.multiscale:
            self.image.fit_labels(tuple(layer.data.shape), spread_of(layer))

    def _line_up(self) -> None:
        """Let labels that lie on channels by their shape alone say so, for whoever saves or measures them."""
        layer, spread = self.labels.layer, self.spread
        if layer is None or spread is None:
            return
        edit_past_channels(layer)
        if spread_of(layer) is None:
            note_spread(layer, spread)
            self.counter.follow(None)  # it has counted by other axes
            self.counter.follow(layer)

    def _watch_place(self, *, stop: bool = False) -> None:
        """Hear of layers that are moved, until they lie on each other."""
        chosen = () if stop else (self.image.layer, self.labels.layer)
        placed = [layer for layer in chosen if layer is not None]
        for layers, change in ((self._placed, "disconnect"), (placed, "connect")):
            for layer in layers:
                for name in _PLACE:
                    getattr(getattr(layer.events, name), change)(self._take_place)
        self._placed = placed

    def _take_place(self, event: object = None) -> None:
        self.changed.emit()
