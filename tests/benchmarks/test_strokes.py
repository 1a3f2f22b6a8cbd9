"""Simulated strokes, on drawn classes and on the nuclei of the sample."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from skimage.draw import disk
from skimage.measure import label
from strokes import FEWEST, LARGEST_SHARE, MOST, draw_strokes, simulate_strokes

from napari_sam2_adapters.data.samples import load_sample


def nuclei() -> list[np.ndarray]:
    return [labels.astype(np.int16) - 1 for labels in load_sample("fluorescence").train_labels]


def membranes() -> np.ndarray:
    labels = np.zeros((200, 260), np.int16)
    for place in range(20, 200, 40):
        labels[place : place + 2] = 1
        labels[:, place : place + 1] = 1
    return labels


@pytest.mark.parametrize("labels", [*nuclei(), membranes()], ids=lambda a: f"{a.shape}")
def test_strokes_lie_inside_their_class_and_cover_under_three_per_cent(labels):
    strokes = simulate_strokes(labels, 0)
    painted = strokes >= 0
    assert 0.002 < painted.mean() < LARGEST_SHARE
    assert (strokes[painted] == labels[painted]).all()
    assert set(np.unique(strokes)) == {-1, *np.unique(labels)}


def test_a_class_gets_three_to_eight_strokes_that_hang_together_and_are_a_few_pixels_wide():
    counts = set()
    for seed in range(25):
        strokes = draw_strokes(np.ones((120, 120), bool), 2000, np.random.default_rng(seed))
        counts.add(len(strokes))
        for stroke in strokes:
            picture = np.zeros((120, 120), bool)
            picture[tuple(stroke.T)] = True
            assert label(picture).max() == 1
            assert len(stroke) <= 2000 // len(strokes)
            # Distance of its middle from what is beside it: 2 px, more where it bends.
            assert distance_transform_edt(np.pad(picture, 1)).max() <= 4
    assert counts == set(range(FEWEST, MOST + 1))


def test_strokes_lie_by_turns_in_the_interior_and_along_the_edge():
    inside = np.zeros((200, 200), bool)
    inside[disk((100, 100), 70)] = True
    rows, columns = np.indices(inside.shape)
    depth = 70 - np.hypot(rows - 100, columns - 100)
    strokes = draw_strokes(inside, 1200, np.random.default_rng(3))
    for interior, edge in zip(strokes[::2], strokes[1::2], strict=False):
        assert depth[tuple(edge.T)].max() <= 5.5
        assert depth[tuple(interior.T)].min() > 1
    assert max(depth[tuple(s.T)].max() for s in strokes[::2]) > 15


def test_the_border_of_the_image_is_no_edge_of_a_class():
    labels = np.zeros((160, 160), np.int16)
    labels[:, 80:] = 1
    middles = []
    for seed in range(10):
        edge = draw_strokes(labels == 0, 600, np.random.default_rng(seed))[1]
        middles.append(edge[:, 1].mean())
    assert min(middles) > 70


def test_a_seed_and_a_name_give_the_same_strokes_and_others_give_others():
    labels = nuclei()[0]
    first = simulate_strokes(labels, 4, "a")
    np.testing.assert_array_equal(first, simulate_strokes(labels, 4, "a"))
    assert (first != simulate_strokes(labels, 5, "a")).any()
    assert (first != simulate_strokes(labels, 4, "b")).any()


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_class_of_a_few_pixels_gets_strokes_too(size):
    labels = np.zeros((96, 96), np.int16)
    labels[50, 40 : 40 + size] = 3
    strokes = simulate_strokes(labels, 0)
    assert 1 <= (strokes == 3).sum() <= size
    assert (labels[strokes == 3] == 3).all()
    assert (strokes >= 0).mean() < LARGEST_SHARE


def test_what_is_no_class_gets_no_strokes_and_is_nobodys_neighbourhood():
    labels = np.zeros((128, 128), np.int16)
    labels[:, 64:] = -1
    strokes = simulate_strokes(labels, 0)
    assert (strokes[:, 64:] == -1).all()
    assert (strokes[:, :64] == 0).any()


def test_a_single_class_and_a_very_small_image_are_served():
    assert set(np.unique(simulate_strokes(np.ones((64, 64), np.int16), 0))) == {-1, 1}
    small = np.array([[0, 1], [2, 2]], np.int16)
    strokes = simulate_strokes(small, 0)
    assert set(np.unique(strokes[strokes >= 0])) == {0, 1, 2}
