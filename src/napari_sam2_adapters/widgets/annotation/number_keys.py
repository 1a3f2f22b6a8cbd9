"""The keys 1–9 as the classes to paint with, on the labels layers in use and only while they are painted in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari.layers import Labels

__all__ = ["NumberKeys"]

_PAINTING = {"paint", "polygon", "fill", "erase"}
_MOST = 9


class NumberKeys:
    """Binds number keys on layers, over napari's own, which change the tool; they come back when the tool is left.

    Parameters
    ----------
    values
        Gives the label values of the keys 1, 2, … in order.
    """

    def __init__(self, values: Callable[[], Sequence[int]]) -> None:
        self._values = values
        self._layers: list[Labels] = []
        self._bound: dict[Labels, list[str]] = {}

    def follow(self, layers: Sequence[Labels]) -> None:
        """Serve these layers, and leave the others as they were."""
        for layer in [known for known in self._layers if known not in layers]:
            layer.events.mode.disconnect(self._take_mode)
            self._unbind(layer)
        for layer in [wanted for wanted in layers if wanted not in self._layers]:
            layer.events.mode.connect(self._take_mode)
        self._layers = list(layers)
        self.refresh()

    def refresh(self) -> None:
        """Bind as many keys as there are classes, where the tool paints."""
        for layer in self._layers:
            self._unbind(layer)
            if str(layer.mode) in _PAINTING:
                self._bind(layer)

    def _take_mode(self, event: Any) -> None:
        self.refresh()

    def _bind(self, layer: Labels) -> None:
        keys = []
        for number, value in enumerate(self._values()[:_MOST], start=1):
            layer.bind_key(str(number), _picker(value), overwrite=True)
            keys.append(str(number))
        self._bound[layer] = keys

    def _unbind(self, layer: Labels) -> None:
        for key in self._bound.pop(layer, []):
            layer.bind_key(key, None)


def _picker(value: int) -> Callable[[Labels], None]:
    def pick(layer: Labels) -> None:
        """Paint with this class."""
        layer.selected_label = value
        if str(layer.mode) == "erase":
            layer.mode = "paint"

    return pick
