from __future__ import annotations

import json
from dataclasses import replace

import pytest

from napari_sam2_adapters.data.packed_split import division_in, pack_split, unpack_split
from napari_sam2_adapters.data.splitting import Region, Split


def test_a_division_comes_back_from_json_with_its_images_and_without_the_users_names() -> None:
    learnt = Region(0, (3,), slice(0, 8), slice(2, 9), "patient Smith (Z 3)")
    held_out = Region(1, (), slice(4, 8), slice(0, 9), "nuclei")
    split = Split((learnt,), (held_out,), "", ("abc", "def"))
    text = json.dumps(pack_split(split))
    assert "Smith" not in text
    assert unpack_split(json.loads(text)) == Split(
        (replace(learnt, name=""),), (replace(held_out, name=""),), "", ("abc", "def")
    )


def test_a_division_of_before_has_no_images_but_names() -> None:
    packed = [["train", 0, [], [0, 8], [2, 9], "cells"]]
    assert unpack_split(packed) == Split((Region(0, (), slice(0, 8), slice(2, 9), ""),), (), "")


def test_an_adapter_of_before_tells_nothing() -> None:
    assert unpack_split(()) is None
    assert division_in({"split": "1 of 3 images held out"}) is None


@pytest.mark.parametrize(
    "packed",
    [
        [["train"]],
        [["dev", 0, [], [0, 8], [2, 9]]],
        [["train", 0, [], [0], [2, 9]]],
        [["train", "one", [], [0, 8], [2, 9]]],
        [["train", 0, None, [0, 8], [2, 9]]],
        "everything",
        [1],
    ],
)
def test_what_is_no_division_is_refused(packed) -> None:
    with pytest.raises(ValueError, match="division of the images is damaged"):
        unpack_split(packed)
