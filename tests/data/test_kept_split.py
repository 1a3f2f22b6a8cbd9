"""A training that goes on is scored on what neither part of it has learnt."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from napari_sam2_adapters.data.dataset import Pair, build_dataset
from napari_sam2_adapters.data.kept_split import keep_split, was_learnt
from napari_sam2_adapters.data.packed_split import pack_split, unpack_split
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


def test_a_part_that_reaches_out_of_the_image_is_of_another_one() -> None:
    """A division without checksums cannot be known by them."""
    labels = np.indices((8, 10)).sum(axis=0).astype(np.int16) % 2
    upper = Region(0, (0,), slice(0, 4), slice(0, 10), "")
    for lower in ((4, 9), (4, 8)):
        before = Split((upper,), (replace(upper, rows=slice(*lower)),), "")
        kept = keep_split({(0, (0,)): labels}, {(0, (0,)): ""}, 2, before)
        assert (kept is None) == (lower == (4, 9))


def test_a_data_set_keeps_the_part_of_an_earlier_one() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (6, 40, 40), dtype=np.uint8)
    labels = np.zeros(image.shape, np.uint8)
    for plane in range(3):
        labels[plane, 5:15, 5:15], labels[plane, 20:30, 20:30] = 1, 2
    first = build_dataset([Pair(image, labels, "ZYX", "cells")])
    more = labels.copy()
    more[3:] = labels[:3]
    second = build_dataset([Pair(image, more, "ZYX", "cells")], before=first.split, seed=5)
    assert second.held_out == first.held_out
    assert len(second.train) == len(first.train) + 3


def cells(side: int, seed: int) -> Pair:
    """Noise with stripes of two classes."""
    image = np.random.default_rng(seed).integers(0, 255, (side, side), dtype=np.uint8)
    labels = np.zeros(image.shape, np.uint8)
    labels[::16], labels[8::16] = 1, 2
    return Pair(image, labels, "YX", "cells")


@pytest.mark.parametrize("side", [64, 256])
def test_another_image_is_divided_on_its_own(side: int) -> None:
    """The rectangles of an image of 128 px would leave out labels of a larger one, or lie outside of a smaller one."""
    before, other = build_dataset([cells(128, 0)]).split, cells(side, 1)
    assert build_dataset([other], before=before).split == replace(
        build_dataset([other]).split,
        images=(*build_dataset([other]).split.images, *before.images),
        train=(*build_dataset([other]).train, *renumbered(before.train)),
        held_out=(*build_dataset([other]).held_out, *renumbered(before.held_out)),
    )


def renumbered(regions: Sequence[Region]) -> list[Region]:
    return [replace(region, pair=1) for region in regions]


def test_images_are_known_in_any_order() -> None:
    """What was learnt before is not held out now."""
    pairs = [cells(64, seed) for seed in range(4)]
    first = build_dataset(pairs, held_out_fraction=0.25)
    second = build_dataset(pairs[::-1], before=first.split)
    assert [3 - region.pair for region in second.held_out] == [first.held_out[0].pair]
    assert second.split_description == "the same part held out as before"


def test_images_that_come_back_are_known() -> None:
    one, other = cells(128, 0), cells(128, 1)
    first = build_dataset([one])
    between = build_dataset([other], before=first.split)
    last = build_dataset([other, one], before=between.split)
    assert last.held_out == [*between.held_out, *renumbered(first.held_out)]
    assert last.train == [*between.train, *renumbered(first.train)]


def test_twice_the_same_image_is_two() -> None:
    pairs = [cells(64, 0), cells(64, 0), cells(64, 1)]
    first = build_dataset(pairs, held_out_fraction=0.3)
    second = build_dataset(pairs, before=first.split)
    assert (second.train, second.held_out) == (first.train, first.held_out)


def test_scores_on_what_was_learnt_before_are_said_to_flatter() -> None:
    pairs = [cells(64, seed) for seed in range(3)]
    first = build_dataset(pairs, held_out_fraction=0.3)
    without = [pair for n, pair in enumerate(pairs) if n != first.held_out[0].pair]
    second = build_dataset(without, before=first.split)
    assert second.split_description.endswith(
        "of which the adapter has learnt before, so that scores flatter it"
    )
    assert "flatter" not in build_dataset(without).split_description


def test_further_labels_of_an_image_are_divided_as_its_first() -> None:
    pair = cells(128, 0)
    first = build_dataset([pair])
    second = build_dataset([pair, pair], before=first.split)
    assert second.train == [*first.train, *renumbered(first.train)]
    assert second.held_out == [*first.held_out, *renumbered(first.held_out)]


def test_labels_of_an_image_may_change_places() -> None:
    """Though those of the first have nothing in the part to learn from."""
    one, other = cells(128, 0), cells(128, 0)
    other = replace(other, image=one.image, labels=other.labels.copy())
    first = build_dataset([one, other])
    region = first.train[0]
    other.labels[region.rows, region.columns] = 0
    first = build_dataset([one, other], before=first.split)
    assert {region.pair for region in first.train} == {0}
    second = build_dataset([other, one], before=first.split)
    assert second.split_description == "the same part held out as before"
    assert {(r.rows.start, r.columns.start) for r in second.held_out} == {
        (r.rows.start, r.columns.start) for r in first.held_out
    }
    assert {region.pair for region in second.train} == {1}


def test_who_holds_nothing_out_learns_from_everything() -> None:
    first = build_dataset([cells(128, 0)])
    second = build_dataset([cells(128, 0)], before=first.split, held_out_fraction=0)
    assert second.held_out == []
    assert second.train[0].shape == (128, 128)
    third = build_dataset([cells(128, 0)], before=second.split)
    assert third.held_out
    assert third.split_description.endswith("so that scores flatter it")


def test_what_was_learnt_is_told_however_often_the_training_goes_on() -> None:
    """Also after a division was drawn anew, which says nothing of it by itself."""
    image = np.random.default_rng(0).integers(0, 255, (120, 120), np.uint8)
    labels = np.ones((120, 120), np.uint8)
    labels[:, ::2] = 2
    pairs = [Pair(image, labels, "YX", "cells")]
    split = build_dataset(pairs, held_out_fraction=0).split
    for _ in range(2):
        dataset = build_dataset(pairs, held_out_fraction=0.25, crop_size_px=32, before=split)
        assert "has learnt before, so that scores flatter it" in dataset.split_description
        split = unpack_split(pack_split(dataset.split))
        assert split is not None
        assert was_learnt(split.held_out, split, ())
    fresh = build_dataset(pairs, held_out_fraction=0.25, crop_size_px=32).split
    for _ in range(2):
        again = build_dataset(pairs, held_out_fraction=0.25, crop_size_px=32, before=fresh)
        assert again.split_description == "the same part held out as before"
        assert len(again.split.train) == len(fresh.train)
        assert not was_learnt(again.split.held_out, again.split, ())
        fresh = again.split
