from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sam2_adapters.inference.tiling import (
    gaussian_window,
    longest_overlap,
    side_by_side,
    tile_starts,
)


@given(st.integers(1, 5000), st.integers(1, 600), st.floats(0, 0.75))
def test_tiles_cover_the_image_with_the_overlap_asked_for(length, tile, overlap):
    starts = tile_starts(length, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(0, length - tile)
    step = max(1, round(tile * (1 - overlap)))
    assert all(0 < b - a <= max(step, 1) for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize("bad", [(0, 10, 0.2), (10, 0, 0.2), (10, 10, 1.0), (10, 10, -0.1)])
def test_impossible_tilings_are_refused_in_a_sentence(bad):
    with pytest.raises(ValueError, match="Tiles need positive sizes"):
        tile_starts(*bad)


def test_window_is_symmetric_positive_and_highest_in_the_middle():
    window = gaussian_window(64, 96)
    assert window.shape == (64, 96)
    assert window.dtype == np.float32
    np.testing.assert_allclose(window, window[::-1, ::-1])
    assert window.min() > 0
    assert window[31, 47] == window.max()
    # σ = side / 8: one σ off the middle the Gaussian has fallen to exp(-1/2).
    assert window[32 + 8, 47] / window[32, 47] == pytest.approx(np.exp(-0.5), rel=0.1)


@given(st.integers(1, 5000), st.integers(1, 600), st.floats(0, 0.75), st.integers(1, 3000))
def test_tiles_side_by_side_cover_no_more_than_asked_for_unless_one_does(
    length, tile, overlap, most
):
    starts = tile_starts(length, tile, overlap)
    groups = side_by_side(starts, tile, most)
    assert list(itertools.chain(*groups)) == starts
    for group, following in itertools.zip_longest(groups, groups[1:]):
        assert len(group) == 1 or group[-1] + tile - group[0] <= most
        assert following is None or following[0] + tile - group[0] > most  # none is too small


def test_the_longest_overlap_is_that_of_the_tiles_that_lie_closest():
    assert longest_overlap([0], 64) == 0
    assert longest_overlap([0, 48, 96], 64) == 16
    assert longest_overlap([0, 33, 65], 64) == 32
