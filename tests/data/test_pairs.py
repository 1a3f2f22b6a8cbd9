"""Images with labels: do they fit, and label values as class indices."""

import dask.array
import numpy as np
import pytest
import zarr

from napari_sam2_adapters.config import ClassInfo, default_classes
from napari_sam2_adapters.data.pairs import (
    MOST_CLASSES,
    Pair,
    check_classes,
    find_classes,
    labelled_planes,
    plane_name,
)


def pair_of(labels, axes="YX", dtype=np.uint8):
    labels = np.asarray(labels)
    return Pair(np.zeros(labels.shape, dtype), labels, axes, "one")


LABELS = np.array([[0, 0, 5], [2, 2, 5]], np.uint16)


def test_classes_are_the_values_that_occur():
    assert [c.value for c in find_classes([pair_of(LABELS)], "unlabelled")] == [2, 5]
    found = find_classes([pair_of(LABELS), pair_of(LABELS + 1)], "background")
    assert [c.value for c in found] == [0, 1, 2, 3, 5, 6]
    assert found[0].name == "background"
    assert len({c.color for c in found}) == 6


@pytest.mark.parametrize("wrap", [dask.array.from_array, zarr.array, lambda a: a.astype(np.int64)])
def test_any_array_of_whole_numbers_serves(wrap):
    pair = Pair(np.zeros(LABELS.shape), wrap(LABELS), "YX", "one")
    planes = labelled_planes([pair], default_classes([2, 5]), "unlabelled")
    np.testing.assert_array_equal(planes[0, ()], [[-1, -1, 1], [0, 0, 1]])
    assert planes[0, ()].dtype == np.int16


def test_zero_is_background_on_request():
    planes = labelled_planes([pair_of(LABELS)], default_classes([0, 2, 5]), "background")
    np.testing.assert_array_equal(planes[0, ()], [[0, 0, 2], [1, 1, 2]])


def test_indices_follow_the_order_of_the_classes():
    classes = [ClassInfo(value=5, name="five"), ClassInfo(value=2, name="two")]
    planes = labelled_planes([pair_of(LABELS)], classes, "unlabelled")
    np.testing.assert_array_equal(planes[0, ()], [[-1, -1, 0], [1, 1, 0]])


def test_negative_values_are_unlabelled():
    labels = LABELS.astype(np.int32)
    labels[0, :2] = -1
    for zero_is, classes in (("background", [0, 2, 5]), ("unlabelled", [2, 5])):
        planes = labelled_planes([pair_of(labels)], default_classes(classes), zero_is)
        assert (planes[0, ()][0, :2] == -1).all()


def test_bool_labels_are_two_values():
    pair = pair_of(LABELS == 5)
    assert [c.value for c in find_classes([pair], "background")] == [0, 1]
    planes = labelled_planes([pair], default_classes([0, 1]), "background")
    np.testing.assert_array_equal(planes[0, ()], LABELS == 5)


def test_planes_of_a_stack_that_nobody_painted_are_left_out():
    stack = np.zeros((2, 4, *LABELS.shape), np.uint8)
    stack[1, 2] = LABELS
    for zero_is, classes in (("background", [0, 2, 5]), ("unlabelled", [2, 5])):
        planes = labelled_planes([pair_of(stack, "TZYX")], default_classes(classes), zero_is)
        assert list(planes) == [(0, (1, 2))]
    assert plane_name(pair_of(stack, "TZYX"), (1, 2)) == "one (T 1, Z 2)"


def test_what_does_not_fit_is_refused_in_a_sentence():
    image = np.zeros((4, 5, 3), np.uint8)
    wrong_shape = Pair(image, np.zeros((5, 4), np.uint8), "YXC", "cells.png")
    with pytest.raises(ValueError, match=r"cells.png have the shape \(5, 4\).*needs \(4, 5\)"):
        find_classes([wrong_shape], "unlabelled")
    with pytest.raises(ValueError, match="float64, but labels are whole numbers"):
        find_classes([pair_of(LABELS.astype(float))], "unlabelled")
    with pytest.raises(ValueError, match="Nothing is labelled"):
        find_classes([pair_of(LABELS * 0)], "background")
    with pytest.raises(ValueError, match="Nothing is labelled"):
        find_classes([pair_of(np.full((3, 3), -1))], "unlabelled")
    with pytest.raises(ValueError, match="70000 occurs"):
        find_classes([pair_of(LABELS.astype(np.int64) * 14000)], "unlabelled")
    with pytest.raises(ValueError, match=r"values \[5\], which are in no class"):
        labelled_planes([pair_of(LABELS)], default_classes([1, 2]), "unlabelled")


@pytest.mark.parametrize("zero_is", ["unlabelled", "background"])
def test_grey_values_are_not_taken_for_classes(zero_is):
    first = 0 if zero_is == "background" else 1
    most = np.arange(first, MOST_CLASSES + first).reshape(4, 8)
    assert len(find_classes([pair_of(most)], zero_is)) == MOST_CLASSES
    grey = np.arange(first, MOST_CLASSES + first + 1).reshape(3, 11)
    with pytest.raises(ValueError, match=r"33 label values.*look like grey values.*settings file"):
        find_classes([pair_of(grey)], zero_is)
    with pytest.raises(ValueError, match=r"33 label values"):  # of two images together
        find_classes([pair_of(most), pair_of(most + 1)], zero_is)


def test_classes_that_are_named_may_be_more():
    named = default_classes(list(range(1, 256)))
    check_classes(named, "unlabelled")
    planes = labelled_planes([pair_of(np.arange(1, 101).reshape(10, 10))], named, "unlabelled")
    assert planes[0, ()].max() == 99
    with pytest.raises(ValueError, match="at most 255"):
        check_classes(default_classes(list(range(1, 257))), "unlabelled")
