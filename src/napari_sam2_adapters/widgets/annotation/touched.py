"""Labels layers with strokes that no copy on disk has yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from napari.layers import Labels

from napari_sam2_adapters.widgets.annotation.class_names import classes_of_layer
from napari_sam2_adapters.widgets.annotation.snapshots import LabelsToSave

__all__ = ["TouchedLayers"]


class TouchedLayers:
    """Remembers which layers were painted in until they are saved, also when they are chosen no more or have left the viewer."""

    def __init__(self) -> None:
        self._images: dict[Labels, str] = {}
        self._handed_over: set[Labels] = set()

    def touch(self, layer: Labels, image: str) -> None:
        """Take note of a stroke.

        Parameters
        ----------
        layer
            The layer that was painted in.
        image
            Name of the image that it belongs to.
        """
        self._images[layer] = image
        self._handed_over.discard(layer)

    def to_save(
        self, chosen: Sequence[Labels], describe: Callable[[Labels], LabelsToSave]
    ) -> list[LabelsToSave]:
        """The layers that are chosen, and those that were painted in before.

        Parameters
        ----------
        chosen
            Layers that are chosen now.
        describe
            Gives what is to be saved of a layer; of one that is chosen no more, it does not know image and classes.
        """
        self._handed_over = set(self._images)
        left = [layer for layer in self._images if layer not in chosen and not layer.multiscale]
        return [
            *(describe(layer) for layer in chosen if not layer.multiscale),
            *(
                replace(
                    describe(layer),
                    image=self._images[layer],
                    classes=classes_of_layer(layer, (), "unlabelled"),
                )
                for layer in left
            ),
        ]

    def take_saved(self) -> None:
        """What was handed over is saved; strokes that came since are not."""
        for layer in self._handed_over:
            self._images.pop(layer, None)
        self._handed_over.clear()
