"""Readers of data sets, on folders of made pictures."""

from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from datasets import SAMPLE, read_dataset


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(np.asarray(array, np.uint8)))


def test_the_sample_has_classes_from_0_on():
    split = read_dataset(SAMPLE, None)
    assert [c.name for c in split.classes] == ["background", "nucleus", "border"]
    assert (len(split.train), len(split.test)) == (4, 3)
    for item in (*split.train, *split.test):
        assert item.image.shape == item.labels.shape == (256, 256)
        assert set(np.unique(item.labels)) == {0, 1, 2}
    assert not {i.name for i in split.train} & {i.name for i in split.test}


def test_outside_the_field_of_view_of_drive_nothing_counts(tmp_path):
    view = np.zeros((30, 30), np.uint8)
    view[5:25, 5:25] = 255
    for part in ("training", "testing"):
        write(tmp_path / "drive" / part / "images" / "a.png", np.full((30, 30, 3), 80))
        write(tmp_path / "drive" / part / "labels" / "a.png", np.eye(30))
        write(tmp_path / "drive" / part / "fov" / "a.png", view)
    split = read_dataset("drive", tmp_path)
    labels = split.test[0].labels
    np.testing.assert_array_equal(labels >= 0, view > 0)
    assert (labels == 1).sum() == 20
    assert split.also == {"auc"}


def test_membranes_are_split_by_slice_and_validation_images_are_training_images(tmp_path):
    for number in range(9):
        for folder in ("images", "labels"):
            write(tmp_path / "isbi2012" / folder / f"{number:02}.png", np.eye(64))
    split = read_dataset("isbi2012", tmp_path)
    assert [i.name for i in split.test] == ["00", "03", "06"]
    assert split.test[0].image.shape == (256, 256)
    assert split.also == {"regions"}
    inner = split.without_test()
    assert not {i.name for i in inner.test} & {i.name for i in (*inner.train, *split.test)}
    assert len(inner.train) + len(inner.test) == len(split.train)
    assert inner.also == split.also


def test_a_class_that_no_choice_can_bring_is_said():
    split = read_dataset(SAMPLE, None)
    # each image lacks one of the classes, so that two of them have them all and one never does
    lacking = [
        replace(i, labels=np.where(i.labels == n % 3, -1, i.labels))
        for n, i in enumerate(split.train)
    ]
    apart = replace(split, train=lacking)
    for seed in range(4):
        two = apart.choose(2, seed)
        assert set(np.unique([i.labels for i in two])) >= {0, 1, 2}
    with pytest.raises(SystemExit, match="1 of the 4 training images, a class was always missing"):
        apart.choose(1, 0)


@pytest.mark.parametrize(
    ("name", "message"), [("nuclei", "no data set 'nuclei'"), ("acdc", "no folder")]
)
def test_what_is_not_there_is_said(tmp_path, name, message):
    with pytest.raises(SystemExit, match=message):
        read_dataset(name, tmp_path)
    with pytest.raises(SystemExit, match=r"--data|no data set"):
        read_dataset(name, None)
