from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_sam2_adapters.widgets.docks.layers import name_axes, take_picture, world_matrix
from napari_sam2_adapters.widgets.segmenting.extent_form import ExtentForm
from napari_sam2_adapters.widgets.segmenting.regions import rectangle_region, shown_region


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def box(top: float, left: float, bottom: float, right: float) -> np.ndarray:
    return np.array([[top, left], [top, right], [bottom, right], [bottom, left]])


def test_a_rectangle_holds_the_pixels_under_it_through_all_transforms(viewer) -> None:
    image = viewer.add_image(np.zeros((3, 40, 60)), scale=(5, 2, 0.5), translate=(0, 10, -5))
    shapes = viewer.add_shapes(ndim=2)
    corners = np.array([[9.5, 19.5], [29.5, 49.5]]) * (2, 0.5) + (10, -5)
    shapes.add_rectangles([box(0, 0, 1, 1), box(*corners[0], *corners[1])])
    shapes.selected_data = set()
    region = rectangle_region(shapes, image, take_picture(image), None)
    assert region == (slice(10, 30), slice(20, 50))


def test_the_chosen_shape_counts_and_is_cut_at_the_border(viewer) -> None:
    image = viewer.add_image(np.zeros((40, 60)))
    shapes = viewer.add_shapes([box(-20, 50, 9.5, 99), box(20, 20, 30, 30)])
    shapes.selected_data = {0}
    assert rectangle_region(shapes, image, take_picture(image), None) == (
        slice(0, 10),
        slice(50, 60),
    )
    shapes.selected_data = {1}
    assert rectangle_region(shapes, image, take_picture(image), None)[0] == slice(20, 31)


def test_a_rectangle_on_a_coarse_level_of_an_image_with_channels(viewer) -> None:
    fine = np.zeros((64, 2, 96))
    image = viewer.add_image([fine, fine[::2, :, ::2]], multiscale=True)
    shapes = viewer.add_shapes([np.insert(box(7.5, 15.5, 23.5, 31.5), 1, 0, axis=1)], ndim=3)
    picture = take_picture(image, channel_axis=1, level=1)
    assert rectangle_region(shapes, image, picture, 1) == (slice(4, 12), slice(8, 16))


def test_rectangles_beside_the_image_and_none_at_all_are_said(viewer) -> None:
    image = viewer.add_image(np.zeros((40, 60)))
    shapes = viewer.add_shapes(ndim=2, name="part")
    with pytest.raises(ValueError, match=r"part is empty\. Draw a rectangle"):
        rectangle_region(shapes, image, take_picture(image), None)
    shapes.add_rectangles(box(50, 0, 60, 10))
    with pytest.raises(ValueError, match="lies beside"):
        rectangle_region(shapes, image, take_picture(image), None)


def test_a_view_in_3d_has_no_rows_and_columns(viewer) -> None:
    image = viewer.add_image(np.zeros((5, 40, 60)))
    image.corner_pixels = np.array([[2, 10, 20], [2, 19, 39]])
    assert shown_region(viewer, image, take_picture(image), None) == (slice(10, 20), slice(20, 40))
    viewer.dims.ndisplay = 3
    with pytest.raises(ValueError, match="in 2D"):
        shown_region(viewer, image, take_picture(image), None)
    viewer.dims.ndisplay = 2
    viewer.dims.order = (1, 0, 2)
    with pytest.raises(ValueError, match="from the side"):
        shown_region(viewer, image, take_picture(image), None)


def test_slices_can_be_chosen_along_each_axis(viewer, qtbot) -> None:
    image = viewer.add_image(np.zeros((2, 4, 8, 8)))
    form = ExtentForm(viewer)
    qtbot.addWidget(form)
    picture = take_picture(image)
    form.fit(picture)
    viewer.dims.set_point(0, 1)
    viewer.dims.set_point(1, 2)

    def planes(choice: str) -> list[tuple[int, ...]]:
        form.planes.setCurrentIndex(form.planes.findData(choice))
        return list(form.region(image, picture, None).planes)

    assert planes("current") == [(1, 2)]
    assert planes("block") == [(1, 2), (1, 0), (1, 1), (1, 3)]  # the slice on show first
    assert sorted(planes("all")) == list(np.ndindex(2, 4))
    form.first.setValue(1)
    form.last.setValue(2)
    assert planes("range") == [(1, 2), (1, 1)]
    form.last.setValue(0)
    with pytest.raises(ValueError, match="begin at 1 and end at 0"):
        planes("range")
    plain = take_picture(Image(np.zeros((8, 8))))
    form.fit(plain)
    assert form.region(Image(np.zeros((8, 8))), plain, None).planes == ((),)


def test_axes_are_called_as_the_layer_calls_them() -> None:
    assert name_axes(("-3", "-2", "-1")) == "ZYX"
    assert name_axes(("time", "y", "x")) == "TYX"
    assert name_axes(("z", "t", "y", "x")) == "ZTYX"
    assert name_axes(("-4", "t", "y", "x")) == "ZTYX"
    assert name_axes(("t", "t", "y", "x")) == "TZYX"
    with pytest.raises(ValueError, match="Take a part of it"):
        name_axes("abcdef")


def test_the_world_matrix_is_the_layers_own_transform() -> None:
    image = Image(
        np.zeros((4, 5, 6)), scale=(1, 2, 3), translate=(4, 5, 6), rotate=20, shear=[0, 0, 0.3]
    )
    matrix = world_matrix(image)
    for point in [(0, 0, 0), (3, 1, 4)]:
        np.testing.assert_allclose((matrix @ [*point, 1])[:-1], image.data_to_world(point))


def test_it_is_told_when_the_stack_is_seen_from_another_side_and_when_it_is_not(
    viewer, qtbot
) -> None:
    image = viewer.add_image(np.zeros((5, 20, 30), np.uint8))
    form = ExtentForm(viewer)
    qtbot.addWidget(form)
    form.fit(take_picture(image))
    form.area.setCurrentIndex(form.area.findData("shown"))
    can: list[bool] = []

    def look() -> None:
        try:
            form.region(image, take_picture(image), None)
        except ValueError:
            can.append(False)
        else:
            can.append(True)

    form.changed.connect(look)
    viewer.dims.order = (1, 0, 2)
    viewer.dims.order = (0, 1, 2)
    viewer.dims.ndisplay = 3
    viewer.dims.ndisplay = 2
    assert can == [False, True, False, True]
