"""Which image a training shows what it has learnt on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam2_adapters.config import default_classes
from napari_sam2_adapters.training.records import ValidationRecord
from napari_sam2_adapters.widgets.docks.layers import take_picture
from napari_sam2_adapters.widgets.fine_tuning.course import Course
from napari_sam2_adapters.widgets.fine_tuning.data_form import DataForm
from napari_sam2_adapters.widgets.fine_tuning.messages import Learned, Place, Previewed


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
    data.layers[0].data[:2] = [[1], [2]]
    data.layers[0].refresh()
    qtbot.waitUntil(lambda: len(data.classes) == 2, timeout=60_000)
    course.begin(images, data.classes, 10)
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


def shown(course: Course) -> list[tuple[str, str]]:
    table = course.outcome
    return [(table.item(row, 0).text(), table.item(row, 2).text()) for row in range(3)]


def check(dice: dict[str, float]) -> ValidationRecord:
    return ValidationRecord(5, dice, dice, 0.5, 1.0, False, 0.1, 100)


def test_a_class_that_is_renamed_during_a_run_is_renamed_in_its_table_and_for_its_file(
    course,
) -> None:
    names = course._data.book.table
    names.item(0, 1).setText("class 3")
    names.item(1, 1).setText("class 1")
    course.take_progress(Learned((), (check({"class 1": 0.25, "class 2": 0.75}),), None))
    assert shown(course) == [("class 3", "0.25"), ("class 1", "0.75"), ("mean", "0.50")]
    assert [(info.value, info.name) for info in course.wish.classes] == [
        (1, "class 3"),
        (2, "class 1"),
    ]


def test_a_name_that_another_class_of_the_adapter_has_is_told_and_not_taken(
    course, monkeypatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("napari_sam2_adapters.widgets.fine_tuning.course.show_failure", said.append)
    known = default_classes([1, 2, 3])
    course.begin([], (*known[:2], known[2].model_copy(update={"name": "axon"})), 10)
    course._data.book.table.item(0, 1).setText("axon")
    assert "would both be called 'axon'" in said[0]
    assert course.wish.classes == ()


def test_a_run_with_labels_of_its_own_is_not_renamed_by_those_in_the_dock(course) -> None:
    other = tuple(
        info.model_copy(update={"name": f"cell {info.value}"}) for info in default_classes([1, 2])
    )
    course._data.book.table.item(1, 1).setText("mito")
    course.begin([], other, 10)
    course._data.book.table.item(0, 1).setText("axon")
    assert course.wish.classes == ()
    course.begin([], default_classes([1, 2]), 10, other)  # resumed under names that it got later
    assert [name for name, _ in shown(course)] == ["cell 1", "cell 2", "mean"]
    assert course.wish.classes == other
