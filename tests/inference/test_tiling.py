from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sam2_adapters.inference.tiling import BlendedRows, gaussian_window, tile_starts


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


@pytest.mark.parametrize(
    ("height", "width", "tile", "overlap"),
    [(200, 133, 64, 0.5), (64, 300, 64, 0.25), (90, 70, 128, 0.3)],
)
def test_blending_gives_any_image_back(height, width, tile, overlap):
    """Tiles cut from one image agree where they overlap, so their mean is the image (a partition of unity)."""
    image = np.random.default_rng(0).normal(size=(3, height, width)).astype(np.float32)
    tile_height, tile_width = min(tile, height), min(tile, width)
    window = gaussian_window(tile_height, tile_width)
    rows, columns = tile_starts(height, tile, overlap), tile_starts(width, tile, overlap)
    band = BlendedRows(3, tile_height, width)
    finished = []
    for i, row in enumerate(rows):
        for column in columns:
            band.add(
                image[:, row : row + tile_height, column : column + tile_width], row, column, window
            )
        finished.append(band.take(rows[i + 1] if i + 1 < len(rows) else height).copy())
    np.testing.assert_allclose(np.concatenate(finished, axis=1), image, rtol=1e-4, atol=1e-5)


def test_what_stays_after_rows_were_taken_has_their_mean():
    band, window = BlendedRows(1, 8, 8), gaussian_window(8, 8)
    values = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    band.add(values, 0, 0, window)
    np.testing.assert_allclose(band.take(3), values[:, :3], rtol=1e-5)
    np.testing.assert_allclose(band.mean(3, 0, 5, 8), values[:, 3:], rtol=1e-5)
    np.testing.assert_allclose(band.take(8), values[:, 3:], rtol=1e-5)


def test_the_band_is_one_tile_high_whatever_the_image():
    band = BlendedRows(2, 32, 50)
    window = gaussian_window(32, 50)
    sizes = set()
    for row in range(0, 32 * 100, 16):
        band.add(np.ones((2, 32, 50), np.float32), row, 0, window)
        rows = band.take(row + 16)
        assert np.shares_memory(rows, band._sum)  # a row of tiles is held once
        sizes.add(band._sum.nbytes)
        np.testing.assert_allclose(rows, 1, rtol=1e-5)
    assert sizes == {2 * 32 * 50 * 4}
