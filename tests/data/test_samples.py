"""The sample data that ship: complete, small, and honest."""

from itertools import combinations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_sam2_adapters.data.dataset import build_dataset
from napari_sam2_adapters.data.matching import find_images, match_labels
from napari_sam2_adapters.data.samples import (
    SAMPLE_CLASSES,
    SAMPLE_NAMES,
    load_sample,
    sample_folder,
)

BOTH = pytest.mark.parametrize("name", SAMPLE_NAMES)


@BOTH
def test_shapes_types_and_classes(name):
    sample = load_sample(name)
    colours = (3,) if sample.rgb else ()
    assert sample.train_images.shape == (4, 256, 256, *colours)
    assert sample.held_out_images.shape == (3, 256, 256, *colours)
    assert sample.axes == ("YXC" if sample.rgb else "YX")
    assert sample.train_images.dtype == sample.train_strokes.dtype == np.uint8
    for labels in (sample.train_labels, sample.held_out_labels):
        assert labels.shape[1:] == (256, 256)
        for plane in labels:
            assert set(np.unique(plane)) == {1, 2, 3}
    assert [c.name for c in SAMPLE_CLASSES] == ["background", "nucleus", "border"]


# Machado, Oliveira and Fernandes (2009): what linear RGB becomes for those who lack one kind of cone
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("vision", VISIONS)
def test_readers_of_every_colour_vision_tell_the_classes_apart(vision):
    coded = np.array([list(bytes.fromhex(c.color[1:])) for c in SAMPLE_CLASSES]) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(VISIONS[vision]).T, 0, 1)
    lab = rgb2lab(np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055))
    for one, other in combinations(lab, 2):
        assert deltaE_ciede2000(one, other) > 20  # vermilion and orange have 12.5


@BOTH
def test_strokes_are_sparse_and_agree_with_the_dense_labels(name):
    sample = load_sample(name)
    for strokes, dense in zip(sample.train_strokes, sample.train_labels, strict=True):
        painted = strokes > 0
        assert 0.01 < painted.mean() < 0.06
        np.testing.assert_array_equal(strokes[painted], dense[painted])
        assert all((strokes == value).sum() > 150 for value in (1, 2, 3))


@BOTH
def test_the_border_is_a_band_of_four_pixels(name):
    """Most border pixels lie in a horizontal or vertical run of 4, or of a few more where it is slanted."""
    border = load_sample(name).train_labels[1] == 3
    runs = []
    for mask in (border, border.T):
        edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(int), axis=1)
        lengths = np.zeros(mask.shape, int)
        starts, stops = np.argwhere(edges == 1), np.argwhere(edges == -1)
        for (row, start), (_, stop) in zip(starts, stops, strict=True):
            lengths[row, start:stop] = stop - start
        runs.append(lengths)
    shortest = np.minimum(runs[0], runs[1].T)[border]
    assert 4 <= np.median(shortest) <= 5


@BOTH
def test_no_image_is_in_both_parts(name):
    sample = load_sample(name)
    for held in sample.held_out_images:
        for image in sample.train_images:
            assert abs(np.corrcoef(image.ravel(), held.ravel())[0, 1]) < 0.6


@BOTH
def test_pairs_make_a_data_set(name):
    sample = load_sample(name)
    assert [p.name for p in sample.held_out_pairs()] == ["held_out_1", "held_out_2", "held_out_3"]
    for strokes in (False, True):
        dataset = build_dataset(sample.train_pairs(strokes=strokes), sample.classes)
        assert dataset.input_channels == (3 if sample.rgb else 1)
        assert dataset.labelled_pixels(dataset.held_out).all()


@BOTH
def test_the_folders_serve_the_command_line(name):
    folder = sample_folder(name)
    images = find_images(folder / "images", "train_*")
    assert [a.name for a, _ in match_labels(images, folder / "strokes")] == [
        f"train_{i}.png" for i in range(1, 5)
    ]
    assert len(match_labels(find_images(folder / "images"), folder / "labels")) == 7


def test_all_of_it_is_at_most_two_megabytes():
    files = [path for name in SAMPLE_NAMES for path in sample_folder(name).rglob("*")]
    assert sum(path.stat().st_size for path in files if path.is_file()) <= 2e6


def test_an_unknown_sample_is_refused():
    with pytest.raises(ValueError, match=r"'cells'. The samples are fluorescence, tissue"):
        load_sample("cells")
