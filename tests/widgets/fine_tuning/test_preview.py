"""The layer of previews, on napari's model of a viewer."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_sam2_adapters.config import default_classes
from napari_sam2_adapters.widgets.docks.layers import take_picture
from napari_sam2_adapters.widgets.docks.results import OURS, is_own
from napari_sam2_adapters.widgets.docks.turned import direction_in, turned_entry
from napari_sam2_adapters.widgets.fine_tuning.messages import Place, Previewed
from napari_sam2_adapters.widgets.fine_tuning.preview import PreviewLayer

ALL = Place((), slice(0, 64), slice(0, 64))


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def image(viewer: ViewerModel) -> Image:
    return viewer.add_image(np.random.default_rng(0).random((64, 64)), name="cells")


@pytest.fixture
def preview(viewer: ViewerModel, image: Image) -> PreviewLayer:
    return PreviewLayer(viewer, 0, image, take_picture(image), None, default_classes([1, 2]))


def shown(preview: PreviewLayer, viewer: ViewerModel, value: int) -> Labels:
    if preview.show(Previewed(ALL, np.full((64, 64), value, np.uint8))):
        preview.add(None)
    return viewer.layers[-1]


def test_a_preview_follows_the_last(preview, viewer) -> None:
    layer = shown(preview, viewer, 1)
    assert layer.name == "cells – preview"
    assert (layer.data == 1).all()
    assert shown(preview, viewer, 2) is layer
    assert (layer.data == 2).all()
    preview.remove()
    assert layer not in viewer.layers


def test_a_preview_that_is_painted_in_is_written_into_no_more(preview, viewer) -> None:
    layer = shown(preview, viewer, 1)
    layer.data_setitem((np.arange(20), np.arange(20)), 2)
    assert preview.place_on_show() is None
    shown(preview, viewer, 1)
    assert (layer.data == 2).sum() == 20
    preview.remove()
    assert layer in viewer.layers


def value_on(labels: Labels, image: Image, place: tuple[int, ...]) -> int:
    """The label where a pixel of an image lies."""
    found = np.round(labels.world_to_data(image.data_to_world(place))).astype(int)
    return int(labels.data[tuple(found)])


def test_a_preview_of_a_sagittal_volume_keeps_its_direction() -> None:
    viewer = ViewerModel()
    direction = np.eye(3)[[2, 0, 1]]
    metadata = {OURS: turned_entry(direction)}
    image = viewer.add_image(np.zeros((5, 20, 30)), metadata=metadata)
    preview = PreviewLayer(viewer, 0, image, take_picture(image), None, default_classes([1]))
    preview.show(Previewed(Place((4,), slice(2, 6), slice(3, 9)), np.ones((4, 6), np.uint8)))
    preview.add(None)
    np.testing.assert_array_equal(direction_in(viewer.layers[-1].metadata), direction)


def test_a_preview_of_slices_with_channels_is_on_the_slice_that_it_is_of() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(
        np.zeros((5, 3, 20, 30)), axis_labels=tuple("zcyx"), scale=(2, 1, 0.5, 0.5)
    )
    preview = PreviewLayer(
        viewer, 0, image, take_picture(image, channel_axis=1), 1, default_classes([1])
    )
    for plane in (4, 1):
        place = Place((plane,), slice(2, 6), slice(3, 9))
        preview.show(Previewed(place, np.full((4, 6), plane, np.uint8)))
    preview.add(None)
    layer = viewer.layers[-1]
    assert is_own(layer)
    for plane, channel in ((4, 0), (4, 2), (1, 1)):
        assert value_on(layer, image, (plane, channel, 3, 4)) == plane
    assert not value_on(layer, image, (3, 0, 3, 4))


def test_a_preview_does_not_keep_its_image(viewer) -> None:
    image = viewer.add_image(np.zeros((64, 64)), name="cells")
    held = weakref.ref(image.data)
    preview = PreviewLayer(viewer, 0, image, take_picture(image), None, default_classes([1, 2]))
    shown(preview, viewer, 1)
    viewer.layers.remove(image)
    viewer.layers.selection._current = None  # napari's own hold on what was selected last
    assert not preview.possible
    assert not preview.show(Previewed(ALL, np.full((64, 64), 2, np.uint8)))
    del image
    gc.collect()
    assert held() is None
