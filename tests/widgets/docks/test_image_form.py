"""Which axis of an image holds its channels, as adapters come and go."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam2_adapters.widgets.docks.image_form import ImageForm


@pytest.fixture
def form(qtbot) -> ImageForm:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((3, 40, 50), np.uint8))
    made = ImageForm(viewer)
    qtbot.addWidget(made)
    return made


def test_slices_that_were_taken_for_channels_are_slices_to_an_adapter_of_grey_images(form) -> None:
    for number, axis in ((1, None), (3, 0), (1, None), (3, 0), (40, 1), (2, None)):
        form.fit_channels(number)
        assert form.channel_axis == axis


def test_an_axis_that_the_user_has_chosen_stays(form) -> None:
    form.fit_channels(3)
    form.channels.activated.emit(form.channels.currentIndex())
    form.fit_channels(1)
    assert form.channel_axis == 0


def test_nothing_of_one_image_is_taken_back_from_another(form) -> None:
    form.fit_channels(3)
    named = form.choice._viewer.add_image(np.zeros((4, 20, 30)), axis_labels=("c", "y", "x"))
    form.choice.layer = named
    assert form.channel_axis == 0
    form.fit_channels(1)
    assert form.channel_axis == 0  # it says so itself


def test_other_data_of_a_layer_bring_other_axes_and_keep_what_was_chosen_where_that_can_be(
    form,
) -> None:
    layer, told = form.layer, []
    form.changed.connect(lambda: told.append(form.channels.count()))
    form.channels.setCurrentIndex(form.channels.findData(1))
    layer.data = np.zeros((3, 40, 50), np.uint8)  # the next picture of a camera
    layer.data = np.zeros((8, 40, 50), np.uint8)
    assert form.channel_axis == 1
    assert form.channels.itemText(1).endswith("8 long")
    layer.data = np.zeros((40, 50), np.uint8)
    assert form.channel_axis is None
    assert told == [4, 4, 4, 1]
    assert form.picture().axes == "YX"
    layer.data = np.zeros((3, 40, 50), np.uint8)
    form.fit_channels(3)
    assert form.channel_axis == 0
    layer.data = np.zeros((4, 40, 50), np.uint8)
    assert form.channel_axis is None  # four slices, as far as is known


def test_a_layer_that_is_no_longer_chosen_is_not_heard_nor_held(form) -> None:
    first, told = form.layer, []
    other = form.choice._viewer.add_image(np.zeros((4, 20, 30)))
    form.choice.layer = other
    form.changed.connect(lambda: told.append(form.layer))
    first.data = np.zeros((2, 9, 9))
    assert told == []
    form.stop()
    other.data = np.zeros((2, 9, 9))
    assert told == []


def test_labels_that_fit_the_chosen_axis_leave_it_where_another_would_fit_as_well(form) -> None:
    form.choice.layer = form.choice._viewer.add_image(np.zeros((4, 4, 20, 30), np.uint8), rgb=False)
    form.channels.setCurrentIndex(form.channels.findData(1))
    form.fit_labels((4, 20, 30))
    assert form.channel_axis == 1
    form.fit_labels((4, 4, 20, 30))
    assert form.channel_axis is None
