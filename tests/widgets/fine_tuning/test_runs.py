"""What is kept of a run on the disk."""

from __future__ import annotations

import json

from napari_sam2_adapters.data.splitting import Region, Split
from napari_sam2_adapters.widgets.fine_tuning.runs import pack_split, unpack_split


def test_a_division_comes_back_from_json_with_its_images() -> None:
    learnt = Region(0, (3,), slice(0, 8), slice(2, 9), "cells (Z 3)")
    held_out = Region(1, (), slice(4, 8), slice(0, 9), "nuclei")
    split = Split((learnt,), (held_out,), "", ("abc", "def"))
    assert unpack_split(json.loads(json.dumps(pack_split(split)))) == split


def test_a_division_of_before_has_no_images() -> None:
    packed = [["train", 0, [], [0, 8], [2, 9], "cells"]]
    assert unpack_split(packed) == Split(
        (Region(0, (), slice(0, 8), slice(2, 9), "cells"),), (), ""
    )
    assert unpack_split(()) is None
