"""Choice of an image layer, its channel axis and its resolution level."""

from __future__ import annotations

from itertools import product
from typing import Any

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QWidget

from napari_sam2_adapters.widgets.docks.drop_down import DropDown
from napari_sam2_adapters.widgets.docks.layer_choice import LayerChoice
from napari_sam2_adapters.widgets.docks.layers import (
    Picture,
    guess_channel_axis,
    level_count,
    take_picture,
)
from napari_sam2_adapters.widgets.docks.results import is_own

__all__ = ["ImageForm"]


class ImageForm(QWidget):
    """An image layer with its channel axis and level, where it has such.

    Parameters
    ----------
    viewer
        The napari viewer.
    parent
        Qt parent.
    """

    changed = Signal()

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._fitted = 0
        self._watched: Image | None = None
        self._shapes: list[tuple[int, ...]] = []
        self.choice = LayerChoice(
            viewer,
            lambda layer: isinstance(layer, Image) and not is_own(layer),
            "choose an image layer",
        )
        self.choice.setToolTip("Image layer: 2D, stack or time series, grey, RGB or with channels.")
        self.channels = DropDown()
        self.channels.setToolTip("Which axis of the data holds the channels.")
        self.levels = DropDown()
        self.levels.setToolTip("Resolution of a multiscale image; 0 is the finest.")
        self.form = QFormLayout(self)
        self.form.setContentsMargins(0, 0, 0, 0)
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.form.addRow("Image", self.choice)
        self.form.addRow("Channels", self.channels)
        self.form.addRow("Level", self.levels)
        self.choice.layer_changed.connect(self._take_layer)
        self.channels.activated.connect(self._settle)
        self.channels.currentIndexChanged.connect(lambda _: self.changed.emit())
        self.levels.currentIndexChanged.connect(lambda _: self.changed.emit())
        self._take_layer()

    @property
    def layer(self) -> Image | None:
        """The chosen layer."""
        return self.choice.layer

    @property
    def channel_axis(self) -> int | None:
        """The chosen channel axis; None for grey and RGB images."""
        return self.channels.currentData()  # type: ignore[no-any-return]

    @property
    def level(self) -> int:
        """The chosen resolution level."""
        return int(max(0, self.levels.currentIndex()))

    def picture(self) -> Picture:
        """Take the image's array.

        Raises
        ------
        ValueError
            When no layer is chosen or its axes do not make sense.
        """
        if self.layer is None:
            raise ValueError(
                "Choose an image layer. Open an image, or take File ▸ Open Sample ▸ SAM2 adapters."
            )
        return take_picture(self.layer, channel_axis=self.channel_axis, level=self.level)

    def fit_labels(self, shape: tuple[int, ...], spread: int | None = None) -> None:
        """Choose level and channel axis so that labels of this shape fit, where that can be done; the axis stays where it fits.

        Parameters
        ----------
        shape
            Shape of the labels layer.
        spread
            Axis that it is known to have in place of the channels.
        """
        if self.layer is None:
            return
        own = self.channel_axis if spread is None else spread
        guessed = guess_channel_axis(self.layer, shape) if spread is None else spread
        for axis, level in product(dict.fromkeys((own, guessed)), range(level_count(self.layer))):
            array = self.layer.data[level] if self.layer.multiscale else self.layer.data
            lengths = array.shape[: self.layer.ndim]  # without the colours of RGB
            plain = tuple(n for i, n in enumerate(lengths) if i != axis)
            spread_out = tuple(1 if i == axis else n for i, n in enumerate(lengths))
            if tuple(shape) in (plain, spread_out):
                self.channels.setCurrentIndex(max(0, self.channels.findData(axis)))
                self.levels.setCurrentIndex(level)
                return

    def fit_channels(self, number: int) -> None:
        """Choose the channel axis of this length, if the layer has just one and none is chosen.

        What was chosen so for another number is taken back: the slices of a stack are no channels to an adapter of grey images.
        """
        if self.layer is None or self.layer.rgb or self._fitted == number:
            return
        if self._fitted:
            self._fitted = 0
            guess = guess_channel_axis(self.layer)
            self.channels.setCurrentIndex(max(0, self.channels.findData(guess)))
        if number < 2 or self.channel_axis is not None:
            return
        shape = self.layer.data[0].shape if self.layer.multiscale else self.layer.data.shape
        fitting = [axis for axis, length in enumerate(shape) if length == number]
        if len(fitting) == 1 and len(shape) >= 3:
            self._fitted = number
            self.channels.setCurrentIndex(self.channels.findData(fitting[0]))

    def stop(self) -> None:
        """Listen to the layer no more."""
        self._watch(None)

    def _settle(self, index: int = 0) -> None:
        """What the user has chosen is not taken back."""
        self._fitted = 0

    def _take_layer(self) -> None:
        layer, before, chosen = self.layer, self._shapes, (self.channel_axis, self.level)
        same = layer is not None and layer is self._watched
        self._watch(layer)
        self._shapes = [] if layer is None else _level_shapes(layer)
        if same and self._shapes == before:
            self.changed.emit()
            return
        alike = [*map(len, self._shapes)] == [*map(len, before)]
        like_before = same and alike and not self._fitted
        if not like_before:
            self._fitted = 0
        for box in (self.channels, self.levels):
            box.blockSignals(True)
            box.clear()
        if layer is not None:
            self.channels.addItem("none", None)
            if not layer.rgb and layer.ndim >= 3:
                shape = layer.data[0].shape if layer.multiscale else layer.data.shape
                for axis, length in enumerate(shape):
                    self.channels.addItem(
                        f"axis {axis} ({layer.axis_labels[axis]}), {length} long", axis
                    )
            wanted = chosen[0] if like_before else guess_channel_axis(layer)
            self.channels.setCurrentIndex(max(0, self.channels.findData(wanted)))
            for number, lengths in enumerate(self._shapes):
                self.levels.addItem(f"{number} ({' × '.join(map(str, lengths))})")
            self.levels.setCurrentIndex(chosen[1] if like_before else 0)
        self.form.setRowVisible(self.channels, self.channels.count() > 1)
        self.form.setRowVisible(self.levels, self.levels.count() > 1)
        for box in (self.channels, self.levels):
            box.blockSignals(False)
        self.changed.emit()

    def _watch(self, layer: Image | None) -> None:
        for watched, change in ((self._watched, "disconnect"), (layer, "connect")):
            if watched is not None:
                getattr(watched.events.data, change)(self._take_data)
        self._watched = layer

    def _take_data(self, event: object = None) -> None:
        """The layer has other data: its axes and levels may be others too."""
        self.choice.layer_changed.emit()


def _level_shapes(layer: Image) -> list[tuple[int, ...]]:
    """Shapes of all levels, the finest first."""
    levels = layer.data if layer.multiscale else [layer.data]
    return [tuple(int(n) for n in level.shape) for level in levels]
