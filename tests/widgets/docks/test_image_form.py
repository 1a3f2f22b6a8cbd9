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
