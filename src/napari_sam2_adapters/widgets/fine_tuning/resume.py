"""Offers a run that was stopped or killed, when its images are open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_sam2_adapters.widgets.docks.dock import button, sentence
from napari_sam2_adapters.widgets.docks.jobs import Question
from napari_sam2_adapters.widgets.docks.layers import Picture, level_count, take_picture
from napari_sam2_adapters.widgets.docks.log import show_failure
from napari_sam2_adapters.widgets.fine_tuning.runs import (
    ImageOfRun,
    SavedRun,
    discard_run,
    find_runs,
)

__all__ = ["OpenImage", "ResumeBanner", "find_image"]

OpenImage = tuple[Image, Picture, int | None]
"""An image layer, what was taken from it, and its channel axis."""


class ResumeBanner(QWidget):
    """The newest run that can be resumed; hidden while there is none.

    Parameters
    ----------
    viewer
        The napari viewer.
    parent
        Qt parent.
    """

    wanted = Signal(object)

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.run: SavedRun | None = None
        self.text = sentence()
        self.resume_button = button("Resume", "", self.resume)
        self.discard_button = button(
            "Discard", "Delete its checkpoint; adapters and labels stay.", self.discard
        )
        self._finding, self._forgetting = Question(self), Question(self)
        self._finding.answered.connect(self._take)
        self._forgetting.answered.connect(lambda _: self.look())
        for question in (self._finding, self._forgetting):
            question.failed.connect(show_failure)
        row = QHBoxLayout()
        row.addWidget(self.resume_button)
        row.addWidget(self.discard_button)
        row.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text)
        layout.addLayout(row)
        for event in self._events():
            event.connect(self._check_images)
        self.hide()

    def resume(self) -> None:
        """Ask for the run that is offered to be finished."""
        if self.run is not None:
            self.wanted.emit(self.run)

    def look(self) -> None:
        """Find out, in a worker, whether a run can be resumed."""
        self._finding.ask(find_runs)

    def discard(self) -> None:
        """Delete the run that is offered."""
        if self.run is not None:
            run, self.run = self.run, None
            self.hide()
            self._forgetting.ask(discard_run, run)

    def stop(self) -> None:
        """Follow the viewer no more."""
        for event in self._events():
            event.disconnect(self._check_images)

    def images(self, run: SavedRun) -> list[OpenImage]:
        """The layers of a run's images.

        Raises
        ------
        ValueError
            When one of them is not open.
        """
        found = [find_image(self._viewer, image) for image in run.card.images]
        missing = [
            f"{image.name} ({' × '.join(map(str, image.shape))})"
            for image, layer in zip(run.card.images, found, strict=True)
            if layer is None
        ]
        if missing:
            raise ValueError(
                f"To resume it, open the image it learnt from: {', '.join(missing)}.{self._alike(run, found)}"
            )
        return [layer for layer in found if layer is not None]

    def _events(self) -> tuple[Any, ...]:
        """What may bring an image of the run, or take it away."""
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.renamed

    def _alike(self, run: SavedRun, found: Sequence[OpenImage | None]) -> str:
        """What may be a missing image under another name, in a sentence; empty when nothing is."""
        used = [one[0] for one in found if one is not None]
        for image, layer in zip(run.card.images, found, strict=True):
            alike = [] if layer is not None else _of_shape(self._viewer, image)
            other = next((one[0] for one in alike if one[0] not in used), None)
            if other is not None:
                return f" If it is open as {other.name}, rename that layer to {image.name}."
        return ""

    def _take(self, runs: list[SavedRun]) -> None:
        self.run = runs[0] if runs else None
        self.setVisible(self.run is not None)
        if self.run is not None:
            self._check_images()

    def _check_images(self, event: object = None) -> None:
        if self.run is None:
            return
        try:
            self.images(self.run)
        except ValueError as error:
            self.resume_button.setEnabled(False)
            self.resume_button.setToolTip(str(error))
            self.text.setText(f"A run can be finished: {self.run.sentence}. {error}")
        else:
            self.text.setText(f"A run can be finished: {self.run.sentence}.")
            self.resume_button.setEnabled(True)
            self.resume_button.setToolTip(
                "Go on where it was, with the labels and settings that it was started with."
            )


def find_image(viewer: Any, image: ImageOfRun) -> OpenImage | None:
    """The viewer's layer of an image of a run: of its name and its shape.

    The shape alone does not tell images of one microscope apart, and labels on the wrong one would be learnt all the same.
    """
    found = _of_shape(viewer, image)
    return next((one for one in found if one[0].name == image.name), None)


def _of_shape(viewer: Any, image: ImageOfRun) -> list[OpenImage]:
    """All layers that have the shape of an image of a run."""
    axis = image.axes.index("C") if "C" in image.axes and not image.rgb else None
    found: list[OpenImage] = []
    for layer in viewer.layers:
        if not isinstance(layer, Image) or bool(layer.rgb) != image.rgb:
            continue
        for level in range(level_count(layer)):
            array = layer.data[level] if layer.multiscale else layer.data
            if tuple(array.shape) == image.shape:
                found.append((layer, take_picture(layer, channel_axis=axis, level=level), axis))
    return found
