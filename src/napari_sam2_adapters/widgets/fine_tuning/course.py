"""How a training goes: curves, scores, and previews on the slice on show."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from napari.layers import Image, Layer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_sam2_adapters.config import ClassInfo, name_anew
from napari_sam2_adapters.widgets.docks.layers import Picture
from napari_sam2_adapters.widgets.docks.log import show_failure
from napari_sam2_adapters.widgets.fine_tuning.data_form import DataForm
from napari_sam2_adapters.widgets.fine_tuning.messages import (
    FineTuned,
    Learned,
    Place,
    Previewed,
    Wish,
)
from napari_sam2_adapters.widgets.fine_tuning.outcome import OutcomeTable
from napari_sam2_adapters.widgets.fine_tuning.plot import LearningPlot
from napari_sam2_adapters.widgets.fine_tuning.preview import PreviewLayer

__all__ = ["Course"]


class Course(QWidget):
    """Plot, table of scores and previews of one training.

    Parameters
    ----------
    viewer
        The napari viewer.
    data
        Says which image strokes belong to.
    parent
        Qt parent.
    """

    def __init__(self, viewer: Any, data: DataForm, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer, self._data = viewer, data
        self._previews: list[PreviewLayer] = []
        self._last: PreviewLayer | None = None
        self._to_add: tuple[PreviewLayer, Sequence[Layer]] | None = None
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._add_preview)
        self.wish = Wish()
        self.preview = QCheckBox("Show what it has learnt on the current slice")
        self.preview.setToolTip("Segments what is on show every two seconds or less often.")
        self.preview.setChecked(True)
        self.plot = LearningPlot(viewer)
        self.outcome = OutcomeTable()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.preview)
        layout.addWidget(self.plot)
        layout.addWidget(self.outcome)
        self.plot.hide()
        self.preview.toggled.connect(lambda _: self.look())
        self._classes: tuple[ClassInfo, ...] = ()
        """What the run at work calls its classes; empty when none is, or when the dock's labels are not those that it learns from."""
        data.book.changed.connect(self._take_names)

    def begin(
        self,
        images: Sequence[tuple[Image, Picture, int | None]],
        classes: tuple[ClassInfo, ...],
        steps: int,
        names: tuple[ClassInfo, ...] = (),
    ) -> None:
        """Get ready for a training.

        Parameters
        ----------
        images
            Layer, what was taken from it, and its channel axis, of each pair.
        classes
            What is learnt, as the run tells of it.
        steps
            How long.
        names
            What the classes are called by now, if otherwise.
        """
        for one in self._previews:
            if not any(one.shows(layer) for layer, _, _ in images):
                one.remove()  # it would lie over that of this run, and nobody brings it up to date
        self._previews = [
            PreviewLayer(self._viewer, number, layer, picture, axis, classes)
            for number, (layer, picture, axis) in enumerate(images)
        ]
        self._last, self._to_add = None, None
        self.plot.clear(classes, steps)
        self.plot.show()
        self.outcome.clear_scores(classes)
        self.wish = Wish(shown=threading.Event())
        if names:
            self.rename(names)
        called = names or classes
        self._classes = called if self._called_alike(called) else ()
        self.look()

    def rename(self, classes: tuple[ClassInfo, ...]) -> None:
        """Call the classes of the run at work otherwise, in the window and in what it saves."""
        self.wish.classes = classes
        self.outcome.rename(classes)
        for one in self._previews:
            one.rename(classes)

    def remove_previews(self) -> None:
        """Take away our layers of previews, which nobody brings up to date any more; one that was painted in stays."""
        for one in self._previews:
            one.remove()
        self._previews, self._last, self._to_add = [], None, None

    def look(self) -> None:
        """Tell the worker what is on show; done with each report, so it follows slider and camera."""
        self.wish.place = self._place() if self.preview.isChecked() else None

    def take_progress(self, learned: Learned) -> None:
        """Draw what is new."""
        for check in learned.checks:
            if check.class_bias is None:  # that of calibrated weights is of a step gone by
                self.plot.add_check(check.step, check.dice)
            self.outcome.show_check(check)
        if learned.steps:
            self.plot.add_loss(
                [step.step for step in learned.steps], [step.loss for step in learned.steps]
            )

    def take_preview(self, previewed: Previewed, below: Sequence[Layer]) -> None:
        """Show a preview below the strokes."""
        one = self._previews[previewed.place.pair]
        if self.preview.isChecked() and one.show(previewed):
            self._to_add = one, below
            self._later.start(0)
        else:
            self._tell_shown()

    def _add_preview(self) -> None:
        """Add the layer that waits for its turn."""
        if self._to_add is not None:
            (one, below), self._to_add = self._to_add, None
            inside = [layer for layer in below if layer in self._viewer.layers]
            one.add(min(inside, key=self._viewer.layers.index) if inside else None)
        self._tell_shown()

    def _tell_shown(self) -> None:
        if self.wish.shown is not None:
            self.wish.shown.set()

    def take_result(self, result: FineTuned) -> None:
        """Show before and after."""
        self._classes = ()
        self.outcome.rename(result.segmenter.classes)
        self.outcome.show_verdict(result.verdict)

    def _called_alike(self, classes: tuple[ClassInfo, ...]) -> bool:
        """Whether the dock's labels could be those of a run: one that is resumed has labels of its own."""
        try:
            named = name_anew(classes, self._data.classes, "")
        except ValueError:
            return False
        return [info.name for info in named] == [info.name for info in classes]

    def _take_names(self) -> None:
        """Let the run at work have the names that were given since."""
        known = {info.value for info in self._classes}
        painted = [info for info in self._data.book.classes if info.value in known]
        if not painted:
            return
        try:
            self.rename(name_anew(self._classes, painted, "what is being trained"))
        except ValueError as error:
            show_failure(str(error))

    def _place(self) -> Place | None:
        """The part on show of the image in hand: that of the active image or strokes, else the last one, else the first visible one."""
        possible = [one for one in self._previews if one.possible and not one.taken_away]
        possible = [one for one in possible if one.visible] or possible
        active = self._viewer.layers.selection.active
        row = self._data.row_of(active)
        active = active if row is None else row.image.layer
        for one in possible:
            if one.shows(active):
                self._last = one
        if self._last not in possible:
            self._last = possible[0] if possible else None
        return None if self._last is None else self._last.place_on_show()
