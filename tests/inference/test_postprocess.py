from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from napari_sam2_adapters.inference.postprocess import (
    block_keys,
    clean_block,
    label_objects,
    postprocess,
)
from napari_sam2_adapters.inference.rules import ClassRule, PostprocessConfig


def picture(*rows: str) -> np.ndarray:
    """Labels from rows of digits."""
    return np.array([[int(digit) for digit in row] for row in rows], np.uint8)


SPECKS = picture(
    "1111111",
    "1211221",
    "1111221",
    "3333333",
    "3323333",
)


def test_a_speck_takes_the_class_that_surrounds_it_most() -> None:
    tidy = clean_block(SPECKS, [ClassRule(value=2, smallest_px=4)], [1, 2, 3])
    expected = picture("1111111", "1111221", "1111221", "3333333", "3333333")
    np.testing.assert_array_equal(tidy, expected)
    assert SPECKS[1, 1] == 2  # the argument is left as it was


@pytest.mark.parametrize(("smallest", "left"), [(0, 3), (1, 3), (2, 1), (4, 1), (5, 0)])
def test_objects_of_just_the_smallest_size_stay(smallest: int, left: int) -> None:
    tidy = clean_block(SPECKS, [ClassRule(value=2, smallest_px=smallest)], [1, 2, 3])
    assert len(label_objects(tidy, [2])[1]) == left


def test_only_the_largest_object_stays_if_that_is_asked_for() -> None:
    tidy = clean_block(SPECKS, [ClassRule(value=2, only_largest=True)], [1, 2, 3])
    expected = picture("1111111", "1111221", "1111221", "3333333", "3333333")
    np.testing.assert_array_equal(tidy, expected)
    gone = clean_block(SPECKS, [ClassRule(value=2, only_largest=True, smallest_px=5)], [1, 2, 3])
    assert not (gone == 2).any()
    without = [ClassRule(value=4, only_largest=True)]
    np.testing.assert_array_equal(clean_block(SPECKS, without, [1, 2, 3, 4]), SPECKS)
    assert PostprocessConfig(rules=tuple(without)).cleans


def test_the_largest_object_of_a_volume_is_one_through_its_slices() -> None:
    volume = np.stack([picture("22111", "11111"), picture("22111", "11222")])
    tidy = clean_block(volume, [ClassRule(value=2, only_largest=True)], [1, 2])
    np.testing.assert_array_equal(tidy == 2, np.stack([picture("22111", "11111") == 2] * 2))


def test_an_object_that_is_alone_in_the_picture_stays() -> None:
    alone = np.full((3, 3), 2, np.uint8)
    assert (clean_block(alone, [ClassRule(value=2, smallest_px=100)], [1, 2]) == 2).all()


def test_what_was_not_segmented_is_not_spread() -> None:
    part = picture("0000", "0210", "0110", "0000")
    tidy = clean_block(part, [ClassRule(value=2, smallest_px=9)], [1, 2])
    np.testing.assert_array_equal(tidy, picture("0000", "0110", "0110", "0000"))
    background = clean_block(part, [ClassRule(value=1, smallest_px=9)], [0, 1, 2])
    np.testing.assert_array_equal(background, picture("0000", "0200", "0000", "0000"))


RING = picture(
    "11111111",
    "12222221",
    "12132221",
    "12122221",
    "12222221",
    "11111111",
)


@pytest.mark.parametrize(("largest", "filled"), [(2, False), (3, True)])
def test_holes_are_filled_up_to_their_size(largest: int, filled: bool) -> None:
    tidy = clean_block(RING, [ClassRule(value=2, fill_holes_px=largest)], [1, 2, 3])
    assert (tidy[1:5, 1:7] == 2).all() == filled
    assert (tidy[0] == 1).all()


def test_a_volume_of_one_slice_is_filled_as_the_slice_is() -> None:
    rule = [ClassRule(value=2, fill_holes_px=9)]
    np.testing.assert_array_equal(
        clean_block(RING[None], rule, [1, 2, 3])[0], clean_block(RING, rule, [1, 2, 3])
    )


def test_what_touches_the_border_or_the_unknown_is_no_hole() -> None:
    bay = picture("2222", "2112", "2112")
    rule = [ClassRule(value=2, fill_holes_px=99)]
    np.testing.assert_array_equal(clean_block(bay, rule, [1, 2]), bay)
    unknown = picture("2222", "2012", "2222")
    np.testing.assert_array_equal(clean_block(unknown, rule, [1, 2]), unknown)
    assert (clean_block(unknown, rule, [0, 1, 2]) == 2).all()


def test_specks_go_before_holes_are_filled() -> None:
    rules = [ClassRule(value=2, fill_holes_px=9), ClassRule(value=3, smallest_px=2)]
    tidy = clean_block(RING, rules, [1, 2, 3])
    assert (tidy[1:5, 1:7] == 2).all()


def test_objects_are_numbered_class_by_class_and_not_joined_by_corners() -> None:
    labels = picture("1200", "2100", "0001")
    numbers, classes = label_objects(labels, [2, 1], first=10)
    assert classes.tolist() == [2, 2, 1, 1, 1]
    assert sorted(np.unique(numbers)) == [0, 10, 11, 12, 13, 14]
    for number, value in zip(range(10, 15), classes, strict=True):
        assert (labels[numbers == number] == value).all()
    assert numbers.dtype == np.uint32


def test_a_volume_joins_what_slices_part() -> None:
    column = np.ones((3, 5, 5), np.uint8)
    column[:, 2, 2] = 2
    column[1, 0, 0] = 2
    for together, left in (("slices", 0), ("volumes", 3)):
        rules = (ClassRule(value=2, smallest_px=2, objects=True),)
        config = PostprocessConfig(rules=rules, together=together)
        tidy, objects = np.zeros_like(column), np.zeros(column.shape, np.uint32)
        records = list(
            postprocess(column, "ZYX", config, classes=[1, 2], cleaned=tidy, objects=objects)
        )
        assert (tidy == 2).sum() == left
        assert sum(len(r.object_classes) for r in records) == (1 if left else 0)
        assert records[-1].done == records[-1].total == (3 if together == "slices" else 1)


def test_numbers_go_on_from_block_to_block_and_time_is_never_joined() -> None:
    labels = np.ones((2, 2, 4, 4), np.uint8)
    labels[..., 1:3, 1:3] = 2
    config = PostprocessConfig(rules=(ClassRule(value=2, objects=True),), together="volumes")
    objects = np.zeros(labels.shape, np.uint32)
    records = list(
        postprocess(
            labels, "TZYX", config, classes=[1, 2], cleaned=labels, objects=objects, first_object=5
        )
    )
    assert [r.first_object for r in records] == [5, 6]
    np.testing.assert_array_equal(np.unique(objects[0]), [0, 5])
    np.testing.assert_array_equal(np.unique(objects[1]), [0, 6])


def test_only_the_blocks_of_the_planes_are_touched() -> None:
    assert block_keys((2, 3, 4, 4), "TZYX", "slices", [(1, 2)]) == [
        (1, 2, slice(None), slice(None))
    ]
    assert block_keys((2, 3, 4, 4), "TZYX", "volumes", [(1, 2), (1, 0)]) == [
        (1, slice(None), slice(None), slice(None))
    ]
    labels = np.stack([SPECKS, SPECKS])
    tidy = np.zeros_like(labels)
    config = PostprocessConfig(rules=(ClassRule(value=2, smallest_px=4),))
    for _ in postprocess(labels, "ZYX", config, classes=[1, 2, 3], cleaned=tidy, planes=[(1,)]):
        pass
    assert not tidy[0].any()
    assert (tidy[1] == 2).sum() == 4


def test_arrays_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"objects has shape \(2, 2\), but the labels have"):
        next(
            postprocess(
                SPECKS, "YX", PostprocessConfig(), classes=[1], cleaned=SPECKS.copy(),
                objects=np.zeros((2, 2), np.uint32),
            )
        )  # fmt: skip
    with pytest.raises(ValueError, match="Leave out the C"):
        block_keys((2, 4, 4), "CYX", "slices")


def test_a_class_has_one_rule() -> None:
    with pytest.raises(ValidationError, match="each class has one rule"):
        PostprocessConfig(rules=(ClassRule(value=1), ClassRule(value=1)))
    assert not PostprocessConfig(rules=(ClassRule(value=1, smallest_px=1, objects=True),)).cleans
    assert PostprocessConfig(rules=(ClassRule(value=1, fill_holes_px=1),)).cleans
