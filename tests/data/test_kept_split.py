"""A training that goes on is scored on what neither part of it has learnt."""

import numpy as np

from napari_sam2_adapters.data.dataset import Pair, build_dataset
from napari_sam2_adapters.data.kept_split import keep_split
from napari_sam2_adapters.data.splitting import Region, Split


def whole(pair, plane, shape=(8, 10)):
    return Region(pair, plane, slice(0, shape[0]), slice(0, shape[1]), f"plane {plane}")


def planes(*indices):
    labels = np.full((8, 10), -1, np.int16)
    labels[1:3], labels[5:7] = 0, 1
    return {(0, (i,)): labels.copy() for i in indices}


def test_new_slices_are_learnt_and_the_held_out_one_stays() -> None:
    before = Split((whole(0, (0,)),), (whole(0, (1,)),), "1 of 2 slices held out")
    found = planes(0, 1, 4)
    kept = keep_split(found, {key: f"plane {key[1]}" for key in found}, 2, before)
    assert [region.plane for region in kept.held_out] == [(1,)]
    assert [region.plane for region in kept.train] == [(0,), (4,)]


def test_it_gives_way_when_a_class_would_not_be_learnt() -> None:
    before = Split((whole(0, (0,)),), (whole(0, (1,)),), "1 of 2 slices held out")
    found = planes(0, 1)
    found[0, (1,)][0] = 2
    assert keep_split(found, dict.fromkeys(found, ""), 3, before) is None


def test_without_a_held_out_part_there_is_nothing_to_keep() -> None:
    found = planes(0)
    assert keep_split(found, dict.fromkeys(found, ""), 2, Split((whole(0, (0,)),), (), "")) is None


def test_a_data_set_keeps_the_part_of_an_earlier_one() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (6, 40, 40), dtype=np.uint8)
    labels = np.zeros(image.shape, np.uint8)
    for plane in range(3):
        labels[plane, 5:15, 5:15], labels[plane, 20:30, 20:30] = 1, 2
    first = build_dataset([Pair(image, labels, "ZYX", "cells")])
    more = labels.copy()
    more[3:] = labels[:3]
    before = Split(tuple(first.train), tuple(first.held_out), first.split_description)
    second = build_dataset([Pair(image, more, "ZYX", "cells")], before=before, seed=5)
    assert second.held_out == first.held_out
    assert len(second.train) == len(first.train) + 3
