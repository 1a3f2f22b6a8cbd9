from __future__ import annotations

import numpy as np
import pytest

from napari_sam2_adapters.data.dataset import Pair, build_dataset
from napari_sam2_adapters.training.windows import choose_windows, labelled_windows, split_length


@pytest.mark.parametrize(
    ("low", "high", "length", "window"),
    [
        (0, 50, 50, 64),
        (10, 50, 50, 64),
        (0, 64, 64, 64),
        (0, 1000, 1000, 64),
        (700, 1000, 1000, 96),
    ],
)
def test_cores_tile_the_part_with_context(low: int, high: int, length: int, window: int) -> None:
    covered = np.zeros(length, int)
    for outer, core in split_length(low, high, length, window):
        assert 0 <= outer.start < outer.stop <= length
        assert outer.stop - outer.start == min(window, length)
        first, last = outer.start + core.start, outer.start + core.stop
        covered[first:last] += 1
        assert first - outer.start >= window // 8 or outer.start == 0
        assert outer.stop - last >= window // 8 or outer.stop == length
    assert (covered[low:high] == 1).all()
    assert covered.sum() == high - low


def test_no_scored_pixel_is_learnt_from(coins) -> None:
    dataset = coins()
    learnt = np.zeros((192, 192), bool)
    for region in dataset.train:
        learnt[region.rows, region.columns] = True
    windows = labelled_windows(dataset, 64)
    for window in windows:
        assert not learnt[window.region.rows, window.region.columns][window.core].any()


def test_a_bounded_check_keeps_to_its_bound_and_sees_every_class(stack_with_a_rare_class) -> None:
    dataset = build_dataset([stack_with_a_rare_class], held_out_fraction=0.5, crop_size_px=32)
    assert len(dataset.held_out) == 10
    windows = labelled_windows(dataset, 64)
    assert len(windows) == 10
    chosen = choose_windows(windows, most_pixels=4 * 64 * 64, seed=3)
    assert len(chosen) == 4
    assert (sum(windows[index].class_counts for index in chosen) > 0).all()
    assert choose_windows(windows, most_pixels=4 * 64 * 64, seed=3) == chosen
    more = choose_windows(windows, most_pixels=7 * 64 * 64, seed=3)
    assert len(more) == 7
    assert {*chosen} < {*more}
    assert choose_windows(windows, most_pixels=10**9, seed=3) == [*range(10)]


def test_unlabelled_windows_cost_nothing() -> None:
    labels = np.zeros((1, 256, 1024), np.uint8)
    labels[0, 5:9, ::8], labels[0, 9:12, ::8] = 1, 2
    pair = Pair(np.random.default_rng(0).random(labels.shape), labels, "ZYX", "strokes")
    dataset = build_dataset([pair], crop_size_px=32)
    windows = labelled_windows(dataset, 64)
    assert windows
    assert all(w.region.rows.start < 12 for w in windows)
