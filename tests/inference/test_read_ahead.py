from __future__ import annotations

import threading

import numpy as np
import pytest
from skimage import data

from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.inference.predict import predict
from napari_sam2_adapters.inference.read_ahead import read_ahead


def readers():
    return [t for t in threading.enumerate() if t.name.startswith("sam2-adapters-reading")]


def test_the_next_item_is_made_while_the_last_one_is_used():
    made = [threading.Event() for _ in range(3)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in read_ahead(items()):
        if number < 2:
            assert made[number + 1].wait(60)  # without a thread nobody would make it
    assert not readers()


@pytest.mark.parametrize("ahead", [1, 3])
def test_as_many_are_made_ahead_as_asked_and_no_more(ahead):
    made = [threading.Event() for _ in range(9)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number

    found = read_ahead(items(), ahead)
    assert next(found) == 0
    assert all(event.wait(60) for event in made[: ahead + 1])
    assert not any(event.is_set() for event in made[ahead + 1 :])
    assert list(found) == list(range(1, 9))
    assert not readers()


def test_an_error_comes_in_its_place_and_no_thread_stays():
    def items():
        yield 1
        yield 2
        raise OSError("the disk is gone")

    found = read_ahead(items())
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(OSError, match="disk is gone"):
        next(found)
    assert not readers()


def test_whoever_leaves_early_leaves_no_thread():
    items = read_ahead(range(100))
    assert [next(items), next(items)] == [0, 1]
    items.close()
    assert not readers()


def test_nothing_gives_nothing():
    assert list(read_ahead([])) == []


def test_an_image_is_read_by_another_thread_and_comes_out_the_same(tiny_segmenter):
    image, config = data.camera()[:300, :300], PredictConfig(tile_size_px=128)
    names = []

    class Watched:
        shape, dtype = image.shape, image.dtype

        def __getitem__(self, key):
            names.append(threading.current_thread().name)
            return image[key]

    segmenter = tiny_segmenter()
    found = predict(segmenter, Watched(), axes="YX", config=config)
    assert any(name.startswith("sam2-adapters-reading") for name in names)
    np.testing.assert_array_equal(
        found.labels, predict(segmenter, image, axes="YX", config=config).labels
    )
