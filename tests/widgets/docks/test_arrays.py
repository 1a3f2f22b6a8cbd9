from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import zarr

from napari_sam2_adapters.inference.outputs import bytes_in_memory
from napari_sam2_adapters.widgets.docks import arrays
from napari_sam2_adapters.widgets.docks.arrays import (
    Both,
    PerClass,
    WithAxis,
    WithoutAxis,
    new_array,
    new_arrays,
    with_axis,
    without_axis,
)


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch):
    """A zarr array (3, 4, 5) of the numbers from 0."""
    monkeypatch.setattr(arrays, "IN_MEMORY_BYTES", 0)
    array = new_array((3, 4, 5), np.int32)
    assert not isinstance(array, np.ndarray)
    array[:] = np.arange(60).reshape(3, 4, 5)
    return array


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    "key",
    [
        (0, 1, slice(None), slice(1, 3)),
        (slice(None), 0, 2),
        (slice(0, 1), slice(None), slice(None), 4),
        (..., 3),
        slice(1),
        (0, slice(None), slice(0, 2), slice(None)),
    ],
)
def test_a_zarr_array_with_one_more_axis_reads_as_numpy_does(on_disk, axis: int, key) -> None:
    plain = np.expand_dims(on_disk[:], axis)
    seen = with_axis(on_disk, axis)
    assert isinstance(seen, WithAxis)
    assert (seen.shape, seen.ndim, seen.dtype) == (plain.shape, 4, plain.dtype)
    key = key if isinstance(key, tuple) else (key,)
    if Ellipsis not in key:  # the added axis has one place only
        key = tuple(
            0 if i == axis and isinstance(part, int) else part for i, part in enumerate(key)
        )
    np.testing.assert_array_equal(seen[key], plain[key])
    np.testing.assert_array_equal(np.asarray(seen), plain)
    assert without_axis(seen, axis) is on_disk


def test_what_is_written_through_the_axis_arrives(on_disk) -> None:
    seen = with_axis(on_disk, 1)
    seen[2, 0, 1] = -1
    seen[0, :, :, :] = np.full((1, 4, 5), 7)
    assert (on_disk[2, 1] == -1).all()
    assert (on_disk[0] == 7).all()


def test_an_axis_of_length_one_is_left_out_without_reading(monkeypatch) -> None:
    monkeypatch.setattr(arrays, "IN_MEMORY_BYTES", 0)
    array = new_array((3, 1, 4, 5), np.int32)
    array[:] = np.arange(60).reshape(3, 1, 4, 5)
    seen = without_axis(array, 1)
    assert isinstance(seen, WithoutAxis)
    assert (seen.shape, seen.ndim, seen.dtype) == ((3, 4, 5), 3, np.int32)
    whole = np.arange(60).reshape(3, 4, 5)
    for key in (2, (2,), (0, slice(1, 3)), (slice(None), 1, 4)):
        np.testing.assert_array_equal(seen[key], whole[key])
    np.testing.assert_array_equal(np.asarray(seen), whole)
    seen[1, 2] = -1
    assert (array[1, 0, 2] == -1).all()


def test_numpy_arrays_are_seen_through_a_view() -> None:
    array = np.zeros((3, 4, 5))
    seen = with_axis(array, 1)
    seen[1, 0, 2, 3] = 9
    assert array[1, 2, 3] == 9
    assert with_axis(array, None) is array
    np.testing.assert_array_equal(without_axis(seen, 1), array)


def test_two_arrays_or_one_per_class_are_written_together() -> None:
    first, second = np.zeros((2, 3)), np.ones((2, 3))
    Both(first, second)[0, 1:] = 5
    assert (first[0, 1:] == 5).all()
    assert (second[0] == [1, 5, 5]).all()
    classes = PerClass([first, second])
    assert classes.shape == (2, 2, 3)
    classes[(slice(None), 1, slice(0, 2))] = np.array([[1, 2], [3, 4]])
    assert (first[1] == [1, 2, 0]).all()
    assert (second[1] == [3, 4, 1]).all()


def test_arrays_that_are_made_together_share_the_free_memory(monkeypatch) -> None:
    free = SimpleNamespace(available=4 * 600)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    assert isinstance(new_array((10, 20), np.uint16), np.ndarray)
    assert all(isinstance(made, np.ndarray) for made in new_arrays(3, (10, 20), np.uint8))
    together = new_arrays(4, (10, 20), np.uint8)  # more than a quarter of what is free
    assert [tuple(made.shape) for made in together] == [(10, 20)] * 4
    assert not any(isinstance(made, np.ndarray) for made in together)


def test_what_several_arrays_take_of_the_main_memory_is_that_of_those_in_it() -> None:
    classes = [np.zeros((3, 64, 64), np.float32) for _ in range(3)]
    stored = zarr.create_array({}, shape=(64, 64), dtype="u1")
    assert bytes_in_memory(PerClass(classes)) == bytes_in_memory(np.stack(classes))
    assert bytes_in_memory(Both(np.zeros((64, 64), np.uint8), stored)) == 64 * 64
    assert bytes_in_memory(stored) == bytes_in_memory(None) == 0
