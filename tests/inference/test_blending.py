from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from napari_sam2_adapters.inference.blending import Blending
from napari_sam2_adapters.inference.tiling import gaussian_window, longest_overlap, tile_starts

CASES = [
    (200, 133, 64, 0.5),
    (64, 300, 64, 0.25),
    (90, 70, 128, 0.3),
    (100, 101, 32, 0.75),
    (96, 96, 32, 0.0),
]


def blend(values, rows, columns, window, blending=None, live=None):
    """The image (C, H, W) of all final parts; ``values`` gives the tile at a row and a column."""
    tall, wide = window.shape
    channels = len(values(rows[0], columns[0]))
    blending = blending or Blending(channels, window, rows, columns)
    shape = channels, rows[-1] + tall - rows[0], columns[-1] + wide - columns[0]
    image, times = np.full(shape, np.nan, np.float32), np.zeros(shape[1:], int)
    for row in rows:
        for column in columns:
            tile = blending.add(values(row, column), row, column)
            place = (
                slice(tile.rows.start - rows[0], tile.rows.stop - rows[0]),
                slice(tile.columns.start - columns[0], tile.columns.stop - columns[0]),
            )
            image[(slice(None), *place)] = tile.final()
            times[place] += 1
            if live is not None:
                live(tile, row, column)
    assert (times == 1).all()  # each pixel leaves once
    return image


def plainly(values, rows, columns, window):
    """The same with sums as large as the image, tiles in the same order."""
    tall, wide = window.shape
    first = values(rows[0], columns[0])
    shape = rows[-1] + tall - rows[0], columns[-1] + wide - columns[0]
    sums, weights = np.zeros((len(first), *shape), np.float32), np.zeros(shape, np.float32)
    for row in rows:
        for column in columns:
            y, x = row - rows[0], column - columns[0]
            sums[:, y : y + tall, x : x + wide] += values(row, column) * window
            weights[y : y + tall, x : x + wide] += window
    return sums / weights


@pytest.mark.parametrize(("height", "width", "tile", "overlap"), CASES)
def test_blending_gives_any_image_back(height, width, tile, overlap):
    """Tiles cut from one image agree where they overlap, so their mean is the image (a partition of unity)."""
    image = data.astronaut()[:height, :width].transpose(2, 0, 1).astype(np.float32)
    window = gaussian_window(min(tile, height), min(tile, width))
    tall, wide = window.shape
    rows, columns = tile_starts(height, tile, overlap), tile_starts(width, tile, overlap)

    def cut(row, column):
        return image[:, row : row + tall, column : column + wide]

    np.testing.assert_allclose(blend(cut, rows, columns, window), image, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("height", "width", "tile", "overlap"), CASES)
def test_tiles_that_differ_have_the_mean_that_sums_over_the_image_give(
    height, width, tile, overlap
):
    window = gaussian_window(min(tile, height), min(tile, width))
    rows, columns = tile_starts(height, tile, overlap), tile_starts(width, tile, overlap)

    def noise(row, column):
        return np.random.default_rng([row, column]).normal(size=(2, *window.shape)).astype("f4")

    wanted = plainly(noise, rows, columns, window)
    assert np.array_equal(blend(noise, rows, columns, window), wanted)
    some_rows, some_columns = rows[1:-1] or rows, columns[1:] or columns  # a part of an image
    wanted = plainly(noise, some_rows, some_columns, window)
    assert np.array_equal(blend(noise, some_rows, some_columns, window), wanted)


def test_the_next_plane_begins_anew():
    rows = columns = [0, 24, 48]
    window = gaussian_window(32, 32)
    blending = Blending(1, window, rows, columns)
    for level in (3.0, -7.0):
        image = blend(
            lambda row, column, level=level: np.full((1, 32, 32), level, np.float32),
            rows,
            columns,
            window,
            blending,
        )
        np.testing.assert_allclose(image, level, rtol=1e-5)
    blending.add(np.full((1, 32, 32), 9.0, np.float32), 0, 0)  # left in the middle of a row
    blending.add(np.full((1, 32, 32), 9.0, np.float32), 0, 24)
    again = blend(
        lambda row, column: np.ones((1, 32, 32), np.float32), rows, columns, window, blending
    )
    np.testing.assert_allclose(again, 1, rtol=1e-5)


def test_a_tile_shows_what_is_known_so_far():
    rows, columns, window = [0, 16], [0, 16], gaussian_window(32, 32)
    seen = {}

    def values(row, column):
        return np.full((1, 32, 32), row + column / 100, np.float32)

    def live(tile, row, column):
        seen[row, column] = tile.so_far()

    image = blend(values, rows, columns, window, live=live)
    np.testing.assert_allclose(seen[0, 0], 0, atol=1e-6)
    np.testing.assert_allclose(seen[16, 16], image[:, 16:, 16:])  # the last tile knows all
    middle = seen[0, 16][:, :, :16]
    assert ((middle > 0) & (middle < 0.16)).all()


def test_what_is_held_is_where_the_next_row_overlaps():
    rows, columns = tile_starts(448 * 40, 448, 0.25), tile_starts(448 * 20, 448, 0.25)
    blending = Blending(3, gaussian_window(448, 448), rows, columns)
    assert longest_overlap(rows, 448) <= 120
    assert blending._above.nbytes == 4 * longest_overlap(rows, 448) * 448 * 20 * 4
