"""Data sets from real pictures: split, reading, and what is refused."""

import dask.array
import numpy as np
import pytest
import zarr

from napari_sam2_adapters.config import ClassInfo, Normalization
from napari_sam2_adapters.data.dataset import Pair, build_dataset
from napari_sam2_adapters.data.samples import SAMPLE_CLASSES, load_sample


def test_real_images_with_strokes():
    sample = load_sample("fluorescence")
    dataset = build_dataset(sample.train_pairs(strokes=True), sample.classes)
    assert dataset.split_description == "1 of 4 images held out"
    assert dataset.input_channels == 1
    assert dataset.normalization == Normalization(mode="percentile")
    assert dataset.classes == SAMPLE_CLASSES
    image, labels = dataset.read(dataset.train[0])
    assert image.shape == (1, 256, 256)
    assert image.dtype == np.float32
    assert image.min() == 0
    assert image.max() == 1
    index = dataset.train[0].pair
    painted = sample.train_strokes[index]
    np.testing.assert_array_equal(labels, painted.astype(int) - 1)
    counted = dataset.labelled_pixels(dataset.train) + dataset.labelled_pixels(dataset.held_out)
    np.testing.assert_array_equal(counted, [(sample.train_strokes == v).sum() for v in (1, 2, 3)])


def test_colour_is_three_channels_with_or_without_alpha():
    sample = load_sample("tissue")
    dataset = build_dataset(sample.train_pairs(), sample.classes)
    assert dataset.input_channels == 3
    assert dataset.normalization.mode == "range"
    pair = dataset.pairs[0]
    alpha = np.dstack([pair.image, np.full((256, 256), 255, np.uint8)])
    other = build_dataset([Pair(alpha, pair.labels, "YXC", "rgba", rgb=True)], sample.classes)
    assert other.input_channels == 3
    region = other.train[0]
    expected = sample.train_images[0][region.rows, region.columns].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(other.read(region)[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    "wrap", [np.asarray, lambda a: dask.array.from_array(a, chunks=(1, *a.shape[1:])), zarr.array]
)
def test_a_stack_with_some_slices_labelled(wrap):
    sample = load_sample("fluorescence")
    images = np.concatenate([sample.train_images, sample.held_out_images])
    labels = np.zeros(images.shape, np.uint8)
    labels[:3] = sample.train_strokes[:3]
    stack = Pair(wrap(images), wrap(labels), "ZYX", "stack")
    dataset = build_dataset([stack], sample.classes, held_out_fraction=0.3)
    assert dataset.split_description == "1 of 3 slices held out"
    assert {r.plane[0] for r in dataset.train + dataset.held_out} == {0, 1, 2}
    for region in dataset.train:
        image, found = dataset.read(region)
        np.testing.assert_array_equal(found, labels[region.plane].astype(int) - 1)
        shown = np.corrcoef(image[0].ravel(), images[region.plane].ravel())[0, 1]
        assert shown > 0.999


def test_channels_and_time():
    sample = load_sample("tissue")
    movie = np.stack([sample.train_images[:2], sample.train_images[2:]]).transpose(0, 4, 1, 2, 3)
    labels = sample.train_labels.reshape(2, 2, 256, 256)
    dataset = build_dataset([Pair(movie, labels, "TCZYX", "movie")], sample.classes)
    assert dataset.input_channels == 3
    assert len(dataset.train) + len(dataset.held_out) == 4
    region = next(r for r in dataset.train + dataset.held_out if r.plane == (1, 0))
    assert region.name == "movie (T 1, Z 0)"
    image, found = dataset.read(region)
    np.testing.assert_array_equal(found, labels[1, 0].astype(int) - 1)
    for channel in range(3):
        original = sample.train_images[2][..., channel]
        assert np.corrcoef(image[channel].ravel(), original.ravel())[0, 1] > 0.999


def test_a_single_image_gives_a_block_and_a_margin():
    sample = load_sample("fluorescence")
    dataset = build_dataset(sample.train_pairs(strokes=True)[:1], sample.classes, crop_size_px=128)
    assert "of the only image held out, with a margin of 32 px" in dataset.split_description
    (train,), (held,) = dataset.train, dataset.held_out
    assert dataset.labelled_pixels([train]).all()
    assert dataset.labelled_pixels([held]).all()
    assert dataset.read(held)[0].shape == (1, *held.shape)
    assert train.shape[0] * train.shape[1] + held.shape[0] * held.shape[1] == 256 * (256 - 32)


def test_classes_are_found_when_none_are_given():
    sample = load_sample("fluorescence")
    dataset = build_dataset(sample.train_pairs(strokes=True))
    assert [c.value for c in dataset.classes] == [1, 2, 3]
    dataset = build_dataset(sample.train_pairs(strokes=True), zero_is="background")
    assert [c.value for c in dataset.classes] == [0, 1, 2, 3]
    assert dataset.labelled_pixels(dataset.train + dataset.held_out).sum() == 4 * 256 * 256


def test_images_of_several_types_share_one_normalisation():
    sample = load_sample("tissue")
    pairs = sample.train_pairs()[:2]
    deep = Pair(pairs[1].image.astype(np.uint16) * 256, pairs[1].labels, "YXC", "deep", rgb=True)
    dataset = build_dataset([pairs[0], deep], sample.classes)
    assert dataset.normalization.mode == "percentile"
    for region in dataset.train + dataset.held_out:
        assert 0.2 < dataset.read(region)[0].mean() < 0.8


def test_a_class_that_the_held_out_part_lacks_is_named():
    sample = load_sample("fluorescence")
    pairs = sample.train_pairs(strokes=True)
    rare = pairs[0].labels.copy()
    rare[0, 0] = 9
    pairs[0] = Pair(pairs[0].image, rare, "YX", "rare")
    classes = (*sample.classes, ClassInfo(value=9, name="debris"))
    dataset = build_dataset(pairs, classes)
    assert dataset.split_description.startswith("1 of 4 images held out; without 'debris'")
    assert 0 in {r.pair for r in dataset.train}


def test_a_listed_class_without_pixels_is_allowed():
    sample = load_sample("fluorescence")
    classes = (*sample.classes, ClassInfo(value=9, name="debris"))
    dataset = build_dataset(sample.train_pairs(), classes)
    assert dataset.labelled_pixels(dataset.train)[3] == 0


def test_same_seed_same_split():
    pairs = load_sample("fluorescence").train_pairs()
    splits = [
        [r.pair for r in build_dataset(pairs, seed=seed).held_out] for seed in (0, 0, 1, 2, 3, 4)
    ]
    assert splits[0] == splits[1]
    assert len({tuple(s) for s in splits}) > 1


def refused(part, pairs, classes=None, **settings):
    with pytest.raises(ValueError, match=part):
        build_dataset(pairs, classes, **settings)


def test_what_cannot_be_learnt_from_is_refused_in_a_sentence():
    sample = load_sample("fluorescence")
    pair = sample.train_pairs(strokes=True)[0]
    empty = Pair(pair.image, pair.labels * 0, "YX", "empty")
    only = Pair(pair.image, (pair.labels == 1).astype(np.uint8), "YX", "only")
    refused("no image to learn from", [])
    refused("Nothing is labelled", [empty])
    refused("Nothing is labelled", [empty], sample.classes)
    refused("Only the class 'background' .value 1. is labelled", [only], sample.classes)
    refused("in Python.*“Label 0 is” in the Fine-tune dock", [only], sample.classes)
    colour = load_sample("tissue").train_pairs()[0]
    refused("train_1 has 3 channels but train_1 has 1", [pair, colour])
    refused("which are in no class", [pair], sample.classes[:2])
    refused(
        "also in the list of classes", [pair], (ClassInfo(value=0, name="zero"), *sample.classes)
    )
    refused("different values", [pair], sample.classes + sample.classes)
    refused("not 'unlabeled'", [pair], zero_is="unlabeled")
    refused("held-out share lies from 0 to below 1", [pair], held_out_fraction=1.0)
    refused("the shape", [Pair(pair.image, pair.labels[:-1], "YX", "short")])


def test_an_image_without_a_number_is_not_learnt_from():
    labels = np.ones((64, 64), np.uint8)
    labels[:, 32:] = 2
    pairs = [Pair(np.full((64, 64), value, np.float32), labels, "YX", f"{value}") for value in (1, np.nan)]  # fmt: skip
    dataset = build_dataset(pairs, crop_size_px=32)
    assert dataset.limits(0).low == (1.0,)
    with pytest.raises(ValueError, match=r"nan cannot be learnt from\. All pixels .* NaN"):
        dataset.limits(1)


@pytest.mark.parametrize("axes", ["YX", "ZYX"])
def test_an_image_with_several_labels_is_held_out_with_all_of_them(axes: str) -> None:
    """Else its pixels would be scored by one and learnt from by the other."""
    image = np.random.default_rng(0).integers(0, 255, (128, 128), dtype=np.uint8)
    image = np.stack([image] * 5) if axes == "ZYX" else image
    labels = np.zeros(image.shape, np.uint8)
    labels[..., ::16, :], labels[..., 8::16, :] = 1, 2
    pairs = [Pair(image, labels.copy(), axes, name) for name in ("one", "other")]
    dataset = build_dataset(pairs)
    learnt, held_out = (
        [
            {(r.plane, str((r.rows, r.columns))) for r in regions if r.pair == pair}
            for pair in (0, 1)
        ]
        for regions in (dataset.train, dataset.held_out)
    )
    assert learnt[0] == learnt[1]
    assert held_out[0] == held_out[1]
    assert held_out[0]
    assert not held_out[0] & learnt[0]


def test_an_image_is_known_again_when_it_is_gone():
    """A file that is closed or moved while a training runs must not cost its result."""
    image = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    labels = np.repeat(np.arange(64, dtype=np.uint8) % 2 + 1, 64).reshape(64, 64)
    dataset = build_dataset([Pair(image, labels, "YX", "one")])
    checksums = dataset.checksums
    dataset.pairs = ()
    assert dataset.split.images == checksums
    assert len(set(checksums)) == 1
