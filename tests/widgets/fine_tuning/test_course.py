"""Which image a training shows what it has learnt on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam2_adapters.config import default_classes
from napari_sam2_adapters.widgets.docks.layers import take_picture
from napari_sam2_adapters.widgets.fine_tuning.course import Course
from napari_sam2_adapters.widgets.fine_tuning.data_form import DataForm
from napari_sam2_adapters.widgets.fine_tuning.messages import Place, Previewed


@pytest.fixture
def course(qtbot) -> Iterator[Course]:
    """Of two images with strokes."""
    viewer, images = ViewerModel(), []
    for name in ("first", "second"):
        image = viewer.add_image(np.zeros((40, 50), np.uint8), name=name)
        viewer.add_labels(np.zeros((40, 50), np.uint8), name=f"{name} strokes")
        images.append((image, take_picture(image), None))
    data = DataForm(viewer)
    qtbot.addWidget(data)
    data.find_pairs()
    course = Course(viewer, data)
    qtbot.addWidget(course)
    course.begin(images, default_classes([1, 2]), 10)
    yield course
    data.stop_following()


def pair_on_show(course: Course) -> int:
    course.look()
    assert course.wish.place is not None
    return course.wish.place.pair


def test_it_shows_the_image_whose_strokes_are_in_hand(course) -> None:
    layers = course._viewer.layers
    for name, pair in (("second strokes", 1), ("first strokes", 0), ("second", 1)):
        layers.selection.active = layers[name]
        assert pair_on_show(course) == pair
    layers.selection.active = None
    assert pair_on_show(course) == 1  # the last one


def test_it_shows_no_hidden_image_beside_a_visible_one(course) -> None:
    layers = course._viewer.layers
    layers.selection.active = layers["first"]
    assert pair_on_show(course) == 0
    layers.selection.active = None
    layers["first"].visible = False
    assert pair_on_show(course) == 1
    layers["second"].visible = False
    assert pair_on_show(course) == 1  # as the last one


def test_a_preview_of_an_image_that_is_learnt_from_no_more_goes(course) -> None:
    viewer = course._viewer
    place = Place((), slice(0, 40), slice(0, 50), 0)
    course.take_preview(Previewed(place, np.ones((40, 50), np.uint8)), below=[])
    course._add_preview()
    assert "first – preview" in viewer.layers
    second = viewer.layers["second"]
    course.begin([(second, take_picture(second), None)], default_classes([1, 2]), 10)
    assert "first – preview" not in viewer.layers
