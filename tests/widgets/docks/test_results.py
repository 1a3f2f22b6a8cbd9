from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.widgets.docks.layers import take_picture
from napari_sam2_adapters.widgets.docks.results import add_layer, find_own, is_own, make_labels

CLASSES = (
    ClassInfo(value=1, name="background", color="#999999"),
    ClassInfo(value=2, name="nucleus", color="#e69f00"),
)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def put(viewer: ViewerModel, image: Image, data: np.ndarray, role: str = "segmentation"):
    place = take_picture(image).placement
    layer = make_labels(viewer, image, data, CLASSES, role=role, name="result", place=place)
    add_layer(viewer, layer)
    return layer


def test_a_result_says_its_classes_and_colours(viewer: ViewerModel) -> None:
    image = viewer.add_image(np.zeros((8, 8)))
    layer = put(viewer, image, np.full((8, 8), 2, np.uint8))
    assert list(layer.features["index"]) == [1, 2]
    assert "nucleus" in layer.get_status((3, 3), world=True)["coordinates"]
    np.testing.assert_allclose(layer.get_color(2), [0xE6 / 255, 0x9F / 255, 0, 1], atol=1e-6)
    assert layer.get_color(1)[3] == 0  # background hides nothing


def test_the_second_result_goes_into_the_same_layer(viewer: ViewerModel) -> None:
    image = viewer.add_image(np.zeros((8, 8)))
    first = put(viewer, image, np.zeros((8, 8), np.uint8))
    first.name = "renamed"
    second = put(viewer, image, np.ones((8, 8), np.uint8))
    assert second is first
    assert second.data.all()
    assert put(viewer, image, np.zeros((8, 8), np.uint8), role="preview") is not first


def test_a_users_layer_of_that_name_is_left_alone(viewer: ViewerModel) -> None:
    image = viewer.add_image(np.zeros((8, 8)))
    theirs = viewer.add_labels(np.full((8, 8), 5, np.uint8), name="result")
    ours = put(viewer, image, np.zeros((8, 8), np.uint8))
    assert ours is not theirs
    assert not is_own(theirs)
    assert (theirs.data == 5).all()


def test_results_of_another_image_are_not_ours_to_reuse(viewer: ViewerModel) -> None:
    image, other = viewer.add_image(np.zeros((8, 8))), viewer.add_image(np.zeros((8, 8)))
    put(viewer, image, np.zeros((8, 8), np.uint8))
    assert find_own(viewer, "segmentation", other) is None


def test_a_layer_of_ours_says_so_before_anybody_hears_of_it(viewer: ViewerModel) -> None:
    heard = []
    image = viewer.add_image(np.zeros((8, 8)))
    viewer.layers.events.inserted.connect(lambda event: heard.append(is_own(event.value)))
    put(viewer, image, np.zeros((8, 8), np.uint8))
    assert heard == [True]


def test_what_is_painted_in_or_copied_is_no_longer_ours(viewer: ViewerModel) -> None:
    image = viewer.add_image(np.zeros((8, 8)))
    ours = put(viewer, image, np.zeros((8, 8), np.uint8))
    data, state, kind = ours.as_layer_data_tuple()
    assert not is_own(Labels.create(data.copy(), state, kind))
    assert find_own(viewer, "segmentation", image) is ours
    ours.paint((3, 3), 2)
    assert not is_own(ours)
    assert find_own(viewer, "segmentation", image) is None
    assert put(viewer, image, np.zeros((8, 8), np.uint8)) is not ours


def test_it_is_the_painters_from_the_first_dab_on(viewer: ViewerModel) -> None:
    image = viewer.add_image(np.zeros((8, 8)))
    ours = put(viewer, image, np.zeros((8, 8), np.uint8))
    with ours.block_history():  # as long as the mouse button is down
        ours.paint((3, 3), 2)
        assert not is_own(ours)
    ours.undo()
    assert not ours.data.any()
    assert not is_own(ours)


def test_what_is_added_leaves_the_selection_as_it_is(viewer: ViewerModel) -> None:
    image, strokes = viewer.add_image(np.zeros((8, 8))), viewer.add_labels(np.zeros((8, 8), int))
    heard = []
    viewer.layers.selection.events.active.connect(lambda event: heard.append(event.value))
    ours = put(viewer, image, np.zeros((8, 8), np.uint8))
    assert (viewer.layers[-1], viewer.layers.selection.active) == (ours, strokes)
    viewer.layers.selection = {image, strokes}
    heard.clear()
    place = take_picture(image).placement
    other = make_labels(viewer, image, np.zeros((8, 8), np.uint8), CLASSES, role="preview", name="p", place=place)  # fmt: skip
    add_layer(viewer, other, below=strokes)
    assert set(viewer.layers.selection) == {image, strokes}
    assert list(viewer.layers) == [image, other, strokes, ours]
    assert heard == []


PAINTING = ("polygon", "brush_stroke")


def shown(layer: Labels) -> list[bool]:
    """Whether what napari draws while somebody paints is there to be drawn; earlier ones know the polygon alone."""
    return [overlay.visible for name, overlay in layer._overlays.items() if name in PAINTING]


def test_one_can_paint_in_what_was_added_a_few_turns_later(
    make_napari_viewer_proxy: Any, qtbot: Any
) -> None:
    viewer = make_napari_viewer_proxy()
    image = viewer.add_image(np.zeros((64, 64)))
    theirs = Labels(np.zeros((64, 64), np.uint8))
    viewer.add_layer(theirs)
    ours = put(viewer, image, np.zeros((64, 64), np.uint8))
    assert ours in viewer.layers
    assert not any(shown(ours))  # so that inserting it took half as long
    assert all(shown(theirs))
    qtbot.waitUntil(lambda: all(shown(ours)), timeout=60_000)
    viewer.layers.selection.active = ours
    for mode in ("polygon", "paint", "pan_zoom"):
        ours.mode = mode
    ours.paint((3, 3), 2)
    assert ours.data[3, 3] == 2


def test_what_is_removed_at_once_is_whole_when_it_comes_back(
    make_napari_viewer_proxy: Any, qtbot: Any
) -> None:
    viewer = make_napari_viewer_proxy()
    ours = put(viewer, viewer.add_image(np.zeros((64, 64))), np.zeros((64, 64), np.uint8))
    viewer.layers.remove(ours)
    qtbot.waitUntil(lambda: all(shown(ours)), timeout=60_000)
    viewer.layers.append(ours)
    assert all(shown(ours))
