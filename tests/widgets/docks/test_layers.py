import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_sam2_adapters.widgets.docks.layers import (
    current_plane,
    guess_channel_axis,
    pixel_size,
    take_picture,
)


def turned(ndim: int) -> np.ndarray:
    """A rotation of the last two axes by 30 degrees."""
    matrix = np.eye(ndim)
    angle = np.deg2rad(30)
    matrix[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix


def odd_image(shape: tuple[int, ...], **settings) -> Image:
    """An image whose every transform is set."""
    ndim = len(shape)
    affine = np.eye(ndim + 1)
    affine[-3:-1, -1] = 7, -3
    affine[-2, -3] = 0.2
    shear = np.zeros(ndim * (ndim - 1) // 2)
    shear[-1] = 0.4
    return Image(
        np.zeros(shape, np.uint8),
        scale=np.linspace(0.5, 2, ndim),
        translate=np.arange(ndim) * 3.0,
        rotate=turned(ndim),
        shear=shear,
        affine=affine,
        units=["micrometer"] * ndim,
        axis_labels=[f"axis{i}" for i in range(ndim)],
        **settings,
    )


def test_labels_lie_exactly_on_their_image() -> None:
    image = odd_image((4, 20, 30))
    picture = take_picture(image)
    labels = Labels(np.zeros(picture.label_shape, np.uint8), **picture.placement)
    for point in [(0, 0, 0), (3, 19, 29), (1, 7, 20)]:
        np.testing.assert_allclose(labels.data_to_world(point), image.data_to_world(point))
    assert labels.units == image.units
    assert labels.axis_labels == image.axis_labels


def test_labels_of_an_image_with_channels_lie_on_its_other_axes() -> None:
    image = odd_image((5, 3, 20, 30))
    picture = take_picture(image, channel_axis=1)
    assert picture.axes == "ZCYX"
    labels = Labels(np.zeros(picture.label_shape, np.uint8), **picture.placement)
    expected = np.delete(np.asarray(image.data_to_world((2, 0, 7, 20))), 1)
    np.testing.assert_allclose(labels.data_to_world((2, 7, 20)), expected)
    assert labels.axis_labels == ("axis0", "axis2", "axis3")


def test_labels_of_a_coarse_level_lie_on_the_fine_one() -> None:
    fine = np.zeros((64, 96), np.uint8)
    image = Image(
        [fine, fine[::2, ::2], fine[::4, ::4]],
        multiscale=True,
        scale=(2, 0.5),
        translate=(1, 2),
        rotate=30,
        shear=[0.3],
    )
    picture = take_picture(image, level=2)
    assert picture.label_shape == (16, 24)
    labels = Labels(np.zeros(picture.label_shape, np.uint8), **picture.placement)
    # a pixel of the coarse level covers 4 × 4 of the fine one, centred at 1.5
    np.testing.assert_allclose(
        labels.data_to_world((3, 5)), image.data_to_world((3 * 4 + 1.5, 5 * 4 + 1.5))
    )


def test_rgb_colours_are_the_channels() -> None:
    picture = take_picture(Image(np.zeros((5, 20, 30, 3), np.uint8), rgb=True))
    assert (picture.axes, picture.label_shape) == ("ZYXC", (5, 20, 30))


def test_a_lazy_image_is_not_computed() -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        raise AssertionError("computed")

    lazy = da.zeros((50, 64, 64), chunks=(1, 64, 64)).map_blocks(fail, dtype=float)
    layer = Image(da.zeros(lazy.shape), contrast_limits=(0, 1))
    layer._data = lazy
    picture = take_picture(layer)
    assert picture.array is lazy
    assert picture.label_shape == lazy.shape


def test_too_many_axes_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="Take a part of it"):
        take_picture(Image(np.zeros((2, 2, 2, 8, 8), np.uint8)))


def test_the_channel_axis_is_the_one_that_the_labels_lack() -> None:
    image = Image(np.zeros((4, 3, 20, 30), np.uint8), rgb=False)
    assert guess_channel_axis(image, (4, 20, 30)) == 1
    assert guess_channel_axis(image, (4, 3, 20, 30)) is None
    assert guess_channel_axis(image, (4, 1, 20, 30)) == 1
    assert guess_channel_axis(image) is None
    as_many_times = Image(np.zeros((2, 2, 4, 20, 30), np.uint8), rgb=False)
    assert guess_channel_axis(as_many_times, (2, 4, 20, 30)) == 1  # TCZYX
    named = Image(np.zeros((4, 20, 30), np.uint8), axis_labels=("c", "y", "x"))
    assert guess_channel_axis(named) == 0


def test_the_plane_on_show_is_found_through_the_transforms() -> None:
    image = Image(np.zeros((10, 20, 30), np.uint8), scale=(2, 1, 1), translate=(5, 0, 0))
    picture = take_picture(image)
    assert current_plane(image, (5 + 2 * 7, 3, 3), picture, None) == (7,)
    assert current_plane(image, (-100, 0, 0), picture, None) == (0,)


def test_pixel_size_is_known_only_in_a_physical_unit() -> None:
    plain = take_picture(Image(np.zeros((8, 8)), scale=(2, 3)))
    assert pixel_size(plain) == (None, None)
    physical = take_picture(Image(np.zeros((8, 8)), scale=(2, 3), units=["um", "um"]))
    assert pixel_size(physical) == ((2.0, 3.0), "micrometer")
