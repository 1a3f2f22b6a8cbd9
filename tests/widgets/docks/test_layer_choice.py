"""The drop-down of layers, on napari's model of a viewer."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels

from napari_sam2_adapters.widgets.docks.layer_choice import LayerChoice


def test_the_only_layer_is_a_guess_until_somebody_chooses(qtbot) -> None:
    viewer = ViewerModel()
    choice = LayerChoice(viewer, lambda layer: isinstance(layer, Labels), "none")
    qtbot.addWidget(choice)
    assert (choice.layer, choice.guessed) == (None, False)
    first = viewer.add_labels(np.zeros((4, 4), int))
    second = viewer.add_labels(np.zeros((4, 4), int))
    assert (choice.layer, choice.guessed) == (first, True)
    choice.activated.emit(1)  # looked at the list, and left it as it was
    assert (choice.layer, choice.guessed) == (first, False)
    viewer.layers.remove(first)
    assert (choice.layer, choice.guessed) == (second, True)
    choice.layer = second
    assert not choice.guessed
