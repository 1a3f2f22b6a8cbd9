"""The drop-down of layers, on napari's model of a viewer."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.widgets.docks.layer_choice import LayerChoice
from napari_sam2_adapters.widgets.docks.results import add_layer, is_own, make_labels


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


def test_a_result_is_listed_as_soon_as_somebody_has_painted_in_it(qtbot) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((8, 8)))
    ours = make_labels(
        viewer, image, np.zeros((8, 8), np.uint8), (ClassInfo(value=1, name="cell"),),
        role="segmentation", name="result", place={"scale": (1, 1)},
    )  # fmt: skip
    add_layer(viewer, ours)
    choice = LayerChoice(
        viewer, lambda layer: isinstance(layer, Labels) and not is_own(layer), "none", guess=False
    )
    qtbot.addWidget(choice)
    assert choice.layers == []
    ours.paint((3, 3), 1)
    assert choice.layers == [ours]
    assert choice.layer is None
