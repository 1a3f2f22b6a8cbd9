"""Crops: where labels are, every class alike, never beyond the learning part."""

import numpy as np
import pytest

from napari_sam2_adapters.data.dataset import Pair, build_dataset
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.data.sampling import CropSampler


@pytest.fixture(scope="module")
def dataset():
    sample = load_sample("fluorescence")
    return build_dataset(sample.train_pairs(strokes=True), sample.classes)


def sampler_of(dataset, crop, seed=0):
    return CropSampler(dataset, crop, np.random.default_rng(seed))


@pytest.mark.parametrize(("crop", "size"), [(64, None), (64, 86), (224, 299), (300, 320), (33, 40)])
def test_a_crop_has_its_size_and_labels_in_its_middle(dataset, crop, size):
    sampler = sampler_of(dataset, crop)
    rim = ((size or crop) - crop) // 2
    for _ in range(20):
        image, labels = sampler.sample(size)
        side = size or crop
        assert image.shape == (1, side, side)
        assert labels.shape == (side, side)
        assert image.dtype == np.float32
        assert labels.dtype == np.int64
        assert (labels[rim : rim + crop, rim : rim + crop] >= 0).any()


def test_a_crop_is_a_piece_of_its_image(dataset):
    pictures = [dataset.read(region) for region in dataset.train]
    sampler = sampler_of(dataset, 40)
    for _ in range(10):
        image, labels = sampler.sample()
        places = []
        for whole, whole_labels in pictures:
            windows = np.lib.stride_tricks.sliding_window_view(whole[0], (40, 40))
            rows, columns = np.nonzero(
                (windows[..., 0, 0] == image[0, 0, 0]) & (windows[..., 9, 7] == image[0, 9, 7])
            )
            places += [
                whole_labels[r : r + 40, c : c + 40]
                for r, c in zip(rows, columns, strict=True)
                if np.array_equal(windows[r, c], image[0])
            ]
        assert any(np.array_equal(place, labels) for place in places)


def test_rare_classes_come_as_often_as_the_others():
    labels = np.ones((200, 200), np.uint8)
    labels[150:153, 20:23] = 2
    labels[:, 190:] = 3
    dataset = build_dataset([Pair(np.zeros((200, 200)), labels, "YX", "rare")], held_out_fraction=0)
    sampler = sampler_of(dataset, 5)
    drawn = [sampler.sample()[1] for _ in range(600)]
    with_rare = sum((crop == 1).any() for crop in drawn)
    assert 150 < with_rare < 260
    # every pixel of a class is in reach, at any place of the crop
    corners = {tuple(np.argwhere(crop == 1)[0]) for crop in drawn if (crop == 1).any()}
    assert len(corners) > 10


def test_images_with_few_strokes_come_as_often_as_those_with_many():
    rng = np.random.default_rng(0)
    much = rng.integers(1, 3, (64, 64)).astype(np.uint8)
    little = np.zeros((64, 64), np.uint8)
    little[10, 10], little[50, 50] = 1, 2
    pairs = [
        Pair(np.zeros((64, 64), np.uint8), much, "YX", "much"),
        Pair(np.zeros((64, 64), np.uint8), little, "YX", "little"),
    ]
    sampler = sampler_of(build_dataset(pairs, held_out_fraction=0), 16)
    from_little = sum((sampler.sample()[1] < 0).any() for _ in range(200))
    assert 70 < from_little < 130


def test_nothing_held_out_is_ever_shown():
    """The held-out block is bright and the rest dark: no crop may hold a bright pixel."""
    labels = np.random.default_rng(0).integers(1, 3, (120, 150)).astype(np.uint8)
    image = np.zeros((120, 150), np.uint8)
    probe = build_dataset([Pair(image, labels, "YX", "probe")], crop_size_px=48)
    (held,) = probe.held_out
    image[held.rows, held.columns] = 255
    dataset = build_dataset([Pair(image, labels, "YX", "probe")], crop_size_px=48)
    assert dataset.held_out == probe.held_out
    sampler = sampler_of(dataset, 48)
    assert max(sampler.sample(68)[0].max() for _ in range(200)) == 0
    assert dataset.read(held)[0].min() == 1


def test_beyond_the_edge_the_image_is_mirrored_and_unlabelled():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (20, 30)).astype(np.uint8)
    labels = np.full((20, 30), 1, np.uint8)
    labels[5:15] = 2
    dataset = build_dataset([Pair(picture, labels, "YX", "small")], held_out_fraction=0)
    image, found = sampler_of(dataset, 64).sample()
    assert (found >= 0).sum() == 20 * 30
    rows = np.flatnonzero((found >= 0).any(axis=1))
    columns = np.flatnonzero((found >= 0).any(axis=0))
    top, left = rows[0], columns[0]
    padded = np.pad(
        dataset.read(dataset.train[0])[0][0],
        ((top, 64 - 20 - top), (left, 64 - 30 - left)),
        mode="reflect",
    )
    np.testing.assert_array_equal(image[0], padded)


def test_a_line_one_pixel_wide_can_be_learnt_from():
    line = np.array([[1, 2, 1, 2, 1]], np.uint8)
    dataset = build_dataset([Pair(line * 50, line, "YX", "line")], held_out_fraction=0)
    image, labels = sampler_of(dataset, 8).sample()
    assert image.shape == (1, 8, 8)
    assert np.isfinite(image).all()
    assert (labels >= 0).sum() == 5


def test_the_same_state_gives_the_same_crops(dataset):
    sampler = sampler_of(dataset, 64)
    sampler.sample()
    state = sampler.rng.bit_generator.state
    first = [sampler.sample(80) for _ in range(4)]
    other = sampler_of(dataset, 64, seed=99)
    other.rng.bit_generator.state = state
    for (image, labels), (again, labels_again) in zip(
        first, (other.sample(80) for _ in range(4)), strict=True
    ):
        np.testing.assert_array_equal(image, again)
        np.testing.assert_array_equal(labels, labels_again)


def test_sizes_that_cannot_be_are_refused(dataset):
    with pytest.raises(ValueError, match="at least one pixel"):
        sampler_of(dataset, 0)
    with pytest.raises(ValueError, match="64 px wide, so it cannot be had in 32"):
        sampler_of(dataset, 64).sample(32)
