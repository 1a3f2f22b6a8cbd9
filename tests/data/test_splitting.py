"""What is held out never touches what is learnt from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam2_adapters.data.splitting import split_regions


def split(planes, fraction=0.25, seed=0, crop=64, n_classes=None):
    names = {key: f"plane {key}" for key in planes}
    n_classes = n_classes or int(max(p.max() for p in planes.values())) + 1
    return split_regions(planes, names, n_classes, fraction, crop, np.random.default_rng(seed))


def classes_in(planes, regions):
    return set().union(
        *(
            set(np.unique(planes[r.pair, r.plane][r.rows, r.columns]).tolist()) - {-1}
            for r in regions
        ),
        set(),
    )


def strokes(shape, n_classes, n_strokes, rng):
    plane = np.full(shape, -1, np.int16)
    for stroke in range(n_strokes):
        row, column = rng.integers(0, shape[0] - 3), rng.integers(0, shape[1] - 8)
        plane[row : row + 3, column : column + 8] = stroke % n_classes
    return plane


def test_several_images_are_held_out_whole():
    rng = np.random.default_rng(0)
    planes = {(i, ()): rng.integers(0, 3, (20, 30)).astype(np.int16) for i in range(9)}
    result = split(planes, 0.2)
    assert result.description == "2 of 9 images held out"
    assert len(result.held_out) == 2
    assert {r.pair for r in result.held_out}.isdisjoint({r.pair for r in result.train})
    assert all(r.shape == (20, 30) for r in result.train + result.held_out)
    assert result.held_out[0].name == f"plane ({result.held_out[0].pair}, ())"


def test_all_slices_of_a_held_out_image_go_together():
    planes = {
        (i, (z,)): np.arange(4, dtype=np.int16).reshape(2, 2) % 2
        for i in range(3)
        for z in range(5)
    }
    result = split(planes, 0.3)
    assert result.description == "1 of 3 images held out"
    assert len({r.pair for r in result.held_out}) == 1
    assert len(result.held_out) == 5


def test_one_stack_gives_whole_slices():
    planes = {(0, (z,)): np.arange(4, dtype=np.int16).reshape(2, 2) % 2 for z in range(9)}
    result = split(planes, 0.2)
    assert result.description == "2 of 9 slices held out"
    assert {r.plane for r in result.train}.isdisjoint({r.plane for r in result.held_out})


def test_one_plane_gives_a_block_with_a_margin():
    planes = {(0, ()): np.random.default_rng(0).integers(0, 2, (400, 300)).astype(np.int16)}
    result = split(planes, 0.25, crop=224)
    (train,), (held,) = result.train, result.held_out
    # only a cut of the longer side leaves room for crops of 224
    assert held.columns == train.columns == slice(0, 300)
    gap = max(held.rows.start - train.rows.stop, train.rows.start - held.rows.stop)
    assert gap == 32
    assert 0.2 < held.shape[0] / 400 < 0.3
    assert "of the only image held out, with a margin of 32 px" in result.description
    side = "top" if held.rows.start == 0 else "bottom"
    assert result.description.startswith(f"the {side} ")


def test_the_held_out_part_has_every_class_where_it_can():
    # class 2 is in two of ten images only: a blind draw of two would mostly miss it
    planes = {(i, ()): np.array([[0, 1]], np.int16) for i in range(10)}
    planes[3, ()] = planes[7, ()] = np.array([[1, 2]], np.int16)
    for seed in range(5):
        result = split(planes, 0.2, seed)
        assert classes_in(planes, result.held_out) == {0, 1, 2}
        assert classes_in(planes, result.train) == {0, 1, 2}


def test_learning_keeps_every_class_even_if_that_takes_a_block():
    left = np.full((64, 64), -1, np.int16)
    left[::2, ::2], left[1::2, 1::2] = 0, 1
    right = np.full((64, 64), -1, np.int16)
    right[::2, ::2], right[1::2, 1::2] = 1, 2
    planes = {(0, ()): left, (1, ()): right}
    result = split(planes)
    assert classes_in(planes, result.train) == {0, 1, 2}
    assert len(result.held_out) == 1
    assert "of image plane" in result.description


def test_a_class_in_one_place_only_is_not_taken_from_learning():
    plane = np.full((100, 100), -1, np.int16)
    plane[50:52, 50:52] = 0
    plane[50:52, 52:54] = 1
    result = split({(0, ()): plane})
    assert result.held_out == ()
    assert len(result.train) == 1
    assert result.description.startswith("nothing held out: a class is labelled in one place only")


def test_nothing_is_held_out_on_request():
    result = split({(0, ()): np.array([[0, 1]], np.int16)}, 0)
    assert result.held_out == ()
    assert result.description == "nothing held out"


def test_the_seed_decides():
    planes = {(i, ()): np.array([[0, 1]], np.int16) for i in range(20)}
    draws = [[r.pair for r in split(planes, 0.2, seed).held_out] for seed in (0, 0, 1, 2)]
    assert draws[0] == draws[1]
    assert len({tuple(d) for d in draws}) > 1


@settings(max_examples=60)
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(2, 4),
    st.integers(2, 24),
    st.integers(0, 2**16),
    st.sampled_from([0.1, 0.2, 0.5, 0.9]),
)
def test_the_parts_never_share_or_touch_a_pixel(
    n_pairs, n_planes, n_classes, n_strokes, seed, fraction
):
    rng = np.random.default_rng(seed)
    planes = {
        (pair, (z,)): strokes((int(rng.integers(30, 300)), 90), n_classes, n_strokes, rng)
        for pair in range(n_pairs)
        for z in range(1)
    }
    for pair in range(n_pairs):
        for z in range(1, n_planes):
            planes[pair, (z,)] = strokes(planes[pair, (0,)].shape, n_classes, n_strokes, rng)
    result = split(planes, fraction, seed, n_classes=n_classes)
    assert classes_in(planes, result.train) == classes_in(planes, result.train + result.held_out)
    assert result.train
    seen = {key: np.zeros(plane.shape, int) for key, plane in planes.items()}
    for region in result.train:
        seen[region.pair, region.plane][region.rows, region.columns] += 1
    for region in result.held_out:
        around = seen[region.pair, region.plane]
        rows = slice(max(0, region.rows.start - 2), region.rows.stop + 2)
        columns = slice(max(0, region.columns.start - 2), region.columns.stop + 2)
        assert not around[rows, columns].any()
        assert (planes[region.pair, region.plane][region.rows, region.columns] >= 0).any()
    assert all(count.max() <= 1 for count in seen.values())


@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_a_block_lies_where_the_labels_are(side):
    """Labels near one edge only: the block must be laid there or across, and hold labelled pixels."""
    plane = np.full((128, 128), -1, np.int16)
    plane[:20:2], plane[1:20:2] = 0, 1
    plane = {"top": plane, "bottom": plane[::-1], "left": plane.T, "right": plane.T[:, ::-1]}[side]
    result = split({(0, ()): np.ascontiguousarray(plane)}, 0.25, crop=32)
    (held,) = result.held_out
    share = (plane[held.rows, held.columns] >= 0).sum() / (plane >= 0).sum()
    assert 0.15 < share < 0.4
