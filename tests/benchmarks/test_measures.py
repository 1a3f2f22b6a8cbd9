"""Measures against cases that can be worked out by hand."""

import math

import numpy as np
import pytest
from measures import area_under_roc, boundary_f_scores, rand_and_information


def square(shift: int = 0, size: int = 20) -> np.ndarray:
    labels = np.zeros((60, 60), np.int16)
    labels[20 : 20 + size, 20 + shift : 20 + shift + size] = 1
    return labels


class TestBoundaryFScore:
    @pytest.mark.parametrize("shift", [0, 1, 2])
    def test_outlines_within_two_pixels_are_right(self, shift: int) -> None:
        np.testing.assert_array_equal(boundary_f_scores(square(), square(shift), 2), [1, 1])

    def test_three_pixels_aside_the_sides_that_moved_are_wrong(self) -> None:
        # Of the 76 pixels of an outline these lie near the other one: 19 of the top, 19 of the bottom, and of one side the two next to each.
        f = boundary_f_scores(square(), square(3), 2)[1]
        assert f == pytest.approx((19 + 19 + 4) / 76)

    def test_a_thick_and_a_thin_answer(self) -> None:
        grown = np.zeros((60, 60), np.int16)
        grown[10:50, 10:50] = 1
        assert boundary_f_scores(square(), grown, 2)[1] == 0

    def test_a_class_in_one_image_alone_scores_0_and_in_neither_nothing(self) -> None:
        scores = boundary_f_scores(square(), np.zeros((60, 60), np.int16), 3)
        assert scores[1] == 0
        assert np.isnan(scores[2])

    def test_what_is_unlabelled_neither_counts_nor_makes_an_outline(self) -> None:
        truth, found = square(), square()
        truth[:, 40:] = -1
        found[:, 45:50] = 1
        np.testing.assert_array_equal(boundary_f_scores(truth, found, 2), [1, 1])
        half = np.where(np.arange(60) < 30, 0, -1) * np.ones((60, 1), int)
        assert np.isnan(boundary_f_scores(half, np.zeros((60, 60), int), 2)).all()

    def test_mirrored_roles_swap_precision_and_recall_and_keep_f(self) -> None:
        other = square(1, 26)
        np.testing.assert_allclose(
            boundary_f_scores(square(), other, 2), boundary_f_scores(other, square(), 2)
        )


def cells(*columns: int, width: int = 1) -> np.ndarray:
    """Membranes along these columns of an image of 40 by 41 px."""
    membrane = np.zeros((40, 41), bool)
    for column in columns:
        membrane[:, column : column + width] = True
    return membrane


class TestRandAndInformation:
    def test_the_same_is_1(self) -> None:
        assert rand_and_information(cells(10, 20), cells(10, 20)) == pytest.approx((1, 1))

    def test_the_width_of_a_membrane_does_not_matter(self) -> None:
        # 20 is the middle column, so the regions grow to it from both sides.
        assert rand_and_information(cells(20), cells(18, width=5)) == pytest.approx((1, 1))

    def test_one_merger(self) -> None:
        # Two halves in truth, one region found: Σp² = Σt² = 1/2, Σs² = 1; the information is 0.
        v_rand, v_info = rand_and_information(cells(20), cells())
        assert v_rand == pytest.approx(2 * 0.5 / (1 + 0.5))
        assert v_info == pytest.approx(0, abs=1e-12)

    def test_one_split(self) -> None:
        # Two halves in truth, one of them halved: Σp² = Σs² = 1/4 + 2/16, Σt² = 1/2; I = H(T) = ln 2, H(S) = 3/2 ln 2.
        found = cells(20)
        found[20, 20:] = True
        v_rand, v_info = rand_and_information(cells(20), found)
        # The line itself goes to one of its sides, so that the halves are not quite alike.
        assert v_rand == pytest.approx(2 * 0.375 / (0.375 + 0.5), abs=0.01)
        assert v_info == pytest.approx(2 * math.log(2) / (2.5 * math.log(2)), abs=0.01)

    def test_splits_and_mergers_weigh_alike(self) -> None:
        fine, coarse = cells(10, 30), cells(10)
        there, back = rand_and_information(fine, coarse), rand_and_information(coarse, fine)
        assert there == pytest.approx(back, abs=0.03)

    def test_a_gap_in_a_membrane_merges(self) -> None:
        broken = cells(20)
        broken[5:7] = False
        assert rand_and_information(cells(20), broken)[0] == pytest.approx(2 / 3)

    def test_nothing_to_score_is_nan_and_a_single_region_found_is_right(self) -> None:
        everything = np.ones((8, 8), bool)
        assert np.isnan(rand_and_information(everything, cells()[:8, :8])).all()
        assert rand_and_information(~everything, ~everything) == (1, 1)
        assert rand_and_information(~everything, everything) == (1, 1)


class TestAreaUnderRoc:
    def test_perfect_reversed_and_without_a_clue(self) -> None:
        truth = np.array([False, False, True, True])
        rising = np.array([0.1, 0.2, 0.8, 0.9])
        assert area_under_roc(truth, rising) == 1
        assert area_under_roc(truth, -rising) == 0
        assert area_under_roc(truth, np.full(4, 0.5)) == 0.5

    def test_by_counting_pairs(self) -> None:
        # 1 beats 0.5 and 0.2; 0.5 ties with 0.5 and beats 0.2: (2 + 1.5) / 4.
        truth = np.array([True, True, False, False])
        assert area_under_roc(truth, np.array([1, 0.5, 0.5, 0.2])) == pytest.approx(3.5 / 4)

    def test_one_kind_alone_has_none(self) -> None:
        assert np.isnan(area_under_roc(np.ones(3, bool), np.zeros(3)))
