from __future__ import annotations

import json

import pytest

from napari_sam2_adapters.training.identity import check_fit, describe_run


def test_a_run_is_told_from_another(coins, quick, tiny_segmenter) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    run = describe_run(segmenter, coins(), quick(), [5, 6])
    assert json.loads(json.dumps(run)) == run
    longer = quick(steps=99, time_budget_s=5, patience=3, validate_every=9)
    assert describe_run(segmenter, coins(), longer, [5, 6]) == run
    others = {
        "settings": describe_run(segmenter, coins(), quick(seed=1), [5, 6]),
        "network": describe_run(tiny_segmenter(n_classes=2, reduction=2), coins(), quick(), [5, 6]),
        "classes": describe_run(tiny_segmenter(n_classes=3), coins(), quick(), [5, 6]),
        "data": describe_run(segmenter, coins(), quick(), [5, 7]),
    }
    for part, other in others.items():
        assert [key for key in run if run[key] != other[key]] == [part]
    cut_elsewhere = describe_run(segmenter, coins(0.4), quick(), [5, 6])
    assert cut_elsewhere["data"]["regions"] != run["data"]["regions"]


def test_other_classes_are_refused(coins, tiny_segmenter) -> None:
    with pytest.raises(ValueError, match=r"class values \[1, 2, 3\], but the data have \[1, 2\]"):
        check_fit(tiny_segmenter(n_classes=3), coins())


def test_other_channels_are_refused(coins, tiny_segmenter) -> None:
    with pytest.raises(ValueError, match=r"images of 3 channel\(s\), but the data have 1"):
        check_fit(tiny_segmenter(n_classes=2, input_channels=3), coins())
