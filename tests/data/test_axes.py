"""Axes, and planes of numpy, dask and zarr arrays."""

import dask.array
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_sam2_adapters.data.axes import (
    channel_count,
    check_axes,
    chunk_width,
    guess_axes,
    in_axes,
    label_axes,
    plane_indices,
    plane_shape,
    read_plane,
    without_alpha,
)


@pytest.mark.parametrize(
    ("shape", "rgb", "axes"),
    [
        ((40, 50), None, "YX"),
        ((7, 40, 50), None, "ZYX"),
        ((2, 7, 40, 50), None, "TZYX"),
        ((2, 3, 7, 40, 50), None, "TCZYX"),
        ((40, 50, 3), None, "YXC"),
        ((40, 50, 4), None, "YXC"),
        ((7, 40, 50, 3), None, "ZYXC"),
        ((40, 50, 3), False, "ZYX"),
        ((3, 3, 3), None, "ZYX"),
        ((3, 3, 3), True, "YXC"),
        ((2, 7, 40, 50, 3), True, "TZYXC"),
        ((40, 50, 5), None, "ZYX"),
    ],
)
def test_axes_are_guessed_from_the_shape(shape, rgb, axes):
    assert guess_axes(shape, rgb=rgb) == axes


@pytest.mark.parametrize(
    ("shape", "rgb", "part"),
    [
        ((50,), None, "2 to 5 axes"),
        ((2, 2, 2, 2, 40, 50), None, "2 to 5 axes"),
        ((40, 50), True, "3 or 4"),
        ((40, 50, 5), True, "3 or 4"),
    ],
)
def test_a_shape_that_is_no_picture_is_refused(shape, rgb, part):
    with pytest.raises(ValueError, match=part):
        guess_axes(shape, rgb=rgb)


@pytest.mark.parametrize(
    ("shape", "axes", "part"),
    [
        ((4, 5), "XY", "Y and then X"),
        ((4, 5), "ZX", "Y and then X"),
        ((4, 5, 6), "YX", "2 dimensions, but the shape"),
        ((4, 5, 6), "YYX", "at most once"),
        ((4, 5, 6), "QYX", "letters"),
        ((0, 5), "YX", "no pixels"),
    ],
)
def test_axes_that_do_not_name_the_shape_are_refused(shape, axes, part):
    with pytest.raises(ValueError, match=part):
        check_axes(shape, axes)


def test_counts_and_indices_follow_the_axes():
    shape, axes = (2, 3, 5, 40, 50), "TCZYX"
    assert channel_count(shape, axes) == 3
    assert channel_count((40, 50), "YX") == 1
    assert plane_shape(shape, axes) == (40, 50)
    assert plane_shape((40, 50, 3), "YXC") == (40, 50)
    assert label_axes(axes) == "TZYX"
    indices = plane_indices(shape, axes)
    assert indices[:2] == [(0, 0), (0, 1)]
    assert len(indices) == 10
    assert plane_indices((40, 50, 3), "YXC") == [()]


def test_without_alpha_keeps_colours_and_stays_lazy():
    rgba = np.arange(5 * 6 * 4).reshape(5, 6, 4)
    for array in (rgba, dask.array.from_array(rgba, chunks=3), zarr.array(rgba)):
        opaque = without_alpha(array, "YXC")
        assert opaque.shape == (5, 6, 3)
        assert isinstance(opaque, np.ndarray) == isinstance(array, np.ndarray)
        np.testing.assert_array_equal(np.asarray(opaque), rgba[..., :3])
    assert without_alpha(rgba[..., :3], "YXC").shape == (5, 6, 3)


@given(st.permutations("TZCYX"), st.integers(2, 5), st.data())
def test_a_plane_is_the_same_whatever_the_order_of_axes(letters, n_axes, data):
    kept = [letter for letter in letters if letter in "YX" or letter in letters[: n_axes - 2]]
    axes = "".join(kept)
    if axes.index("Y") > axes.index("X"):
        axes = axes.translate(str.maketrans("XY", "YX"))
    sizes = {"T": 2, "Z": 3, "C": 4, "Y": 5, "X": 6}
    array = np.random.default_rng(0).random([sizes[a] for a in axes])
    index = data.draw(st.sampled_from(plane_indices(array.shape, axes)))
    plane = read_plane(array, axes, index, slice(1, 4), slice(2, 6))
    assert plane.shape == (sizes["C"] if "C" in axes else 1, 3, 4)
    for channel in range(len(plane)):
        place = dict(zip([a for a in axes if a not in "YXC"], index, strict=True)) | {"C": channel}
        for row in range(3):
            where = tuple(place.get(a, row + 1 if a == "Y" else 3) for a in axes)
            assert plane[channel, row, 1] == array[where]


@pytest.mark.parametrize(
    "wrap", [lambda a: dask.array.from_array(a, chunks=(1, 8, 8, 3)), zarr.array]
)
def test_dask_and_zarr_give_what_numpy_gives(wrap):
    array = np.random.default_rng(1).integers(0, 60000, (4, 20, 30, 3), dtype=np.uint16)
    got = read_plane(wrap(array), "ZYXC", (2,), slice(3, 17), slice(5, 9))
    assert isinstance(got, np.ndarray)
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, array[2, 3:17, 5:9].transpose(2, 0, 1))


def test_only_the_region_is_computed():
    computed = []

    def block(block_info):
        computed.append(block_info[None]["chunk-location"])
        return np.zeros((1, 10, 10), np.uint8)

    lazy = dask.array.map_blocks(
        block,
        chunks=((1,) * 5, (10,) * 4, (10,) * 4),
        dtype=np.uint8,
        meta=np.empty((0, 0, 0), np.uint8),
    )
    read_plane(lazy, "ZYX", (3,), slice(0, 10), slice(12, 18))
    assert computed == [(3, 0, 1)]


def test_an_index_for_other_axes_is_refused():
    with pytest.raises(ValueError, match="named by 1 numbers"):
        read_plane(np.zeros((2, 4, 5)), "ZYX")


@pytest.mark.parametrize("wrap", [np.asarray, dask.array.from_array, zarr.array])
def test_axes_are_exchanged_left_out_and_added(wrap):
    array = np.random.default_rng(0).integers(0, 9, (1, 3, 4, 5))
    found = in_axes(wrap(array), "TZYX", "ZYX")
    np.testing.assert_array_equal(found, array[0])
    np.testing.assert_array_equal(in_axes(wrap(array), "TZYX", "YZX"), array[0].swapaxes(0, 1))
    np.testing.assert_array_equal(in_axes(wrap(array), "TZYX", "ZTYX"), array.swapaxes(0, 1))
    np.testing.assert_array_equal(in_axes(wrap(array[0]), "ZYX", "ZTYX"), array.swapaxes(0, 1))


def test_an_axis_that_is_longer_than_1_is_not_left_out():
    with pytest.raises(ValueError, match=r"TYX are wanted, without Z \(3\)"):
        in_axes(np.zeros((2, 3, 4, 5)), "TZYX", "TYX")


def test_the_widest_chunk_along_x_is_told_of_arrays_that_have_chunks():
    shape = (4, 30, 50)
    lazy = dask.array.zeros(shape, chunks=((2, 2), (30,), (20, 25, 5)))
    stored = zarr.create_array({}, shape=shape, chunks=(1, 10, 16), dtype="u1")
    assert chunk_width(lazy, "ZYX") == 25
    assert chunk_width(stored, "ZYX") == 16
    assert chunk_width(stored, "YXC") == 10
    assert chunk_width(np.zeros(shape), "ZYX") == 1
