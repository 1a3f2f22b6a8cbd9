"""A drop-down of the viewer's layers of one kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_sam2_adapters.widgets.docks.drop_down import DropDown
from napari_sam2_adapters.widgets.docks.results import TAKEN

__all__ = ["LayerChoice"]


class LayerChoice(DropDown):
    """Drop-down of layers that follows the viewer.

    Parameters
    ----------
    viewer
        The napari viewer.
    wanted
        Says of a layer whether it may be chosen.
    nothing
        Text shown while no layer is chosen.
    guess
        Whether a layer that is the only one is chosen at once.
    parent
        Qt parent.
    """

    layer_changed = Signal()

    def __init__(
        self,
        viewer: Any,
        wanted: Callable[[Layer], bool],
        nothing: str,
        *,
        guess: bool = True,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._wanted, self._nothing = viewer, wanted, nothing
        self._guess = guess
        self._layers: list[Layer] = []
        self.guessed = False
        """Whether the layer was chosen because there was no other."""
        for event in (
            viewer.layers.events.inserted,
            viewer.layers.events.removed,
            viewer.layers.events.reordered,
        ):
            event.connect(self.refresh)
        TAKEN.over.connect(self._take_over)
        self.currentIndexChanged.connect(lambda _: self.layer_changed.emit())
        self.activated.connect(self._settle)
        self.refresh()

    @property
    def layers(self) -> list[Layer]:
        """Layers that can be chosen."""
        return list(self._layers)

    @property
    def layer(self) -> Layer | None:
        """The chosen layer."""
        index = self.currentIndex() - 1
        return self._layers[index] if 0 <= index < len(self._layers) else None

    @layer.setter
    def layer(self, layer: Layer | None) -> None:
        names = [known.name for known in self._layers]
        self.guessed = False
        self.setCurrentIndex(0 if layer is None else names.index(layer.name) + 1)

    def refresh(self, event: object = None) -> None:
        """List the viewer's layers anew; the choice stays, if its layer does."""
        chosen = self.layer
        was = None if chosen is None else chosen.unique_id
        for layer in self._layers:
            layer.events.name.disconnect(self.refresh)
        self._layers = [layer for layer in self._viewer.layers if self._wanted(layer)]
        self.blockSignals(True)
        self.clear()
        self.addItems([self._nothing, *(layer.name for layer in self._layers)])
        ids = [layer.unique_id for layer in self._layers]
        if was in ids:
            self.setCurrentIndex(ids.index(was) + 1)
        elif self._guess and len(ids) == 1:
            self.setCurrentIndex(1)
            self.guessed = True
        self.blockSignals(False)
        for layer in self._layers:
            layer.events.name.connect(self.refresh)
        now = None if self.layer is None else self.layer.unique_id
        if now != was:
            self.layer_changed.emit()

    def _take_over(self, layer: Layer) -> None:
        """List a layer that may be chosen now that it is the user's."""
        if self._wanted(layer) and layer not in self._layers:
            self.refresh()

    def _settle(self, index: int = 0) -> None:
        self.guessed = False
