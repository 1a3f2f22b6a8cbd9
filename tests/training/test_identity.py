from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from napari_sam2_adapters.training.identity import check_fit, describe_run
from napari_sam2_adapters.training.windows import labelled_windows


def test_a_run_is_told_from_another(coins, quick, tiny_segmenter) -> None:
    segmenter, dataset = tiny_segmenter(n_classes=2), coins()
    windows = labelled_windows(dataset, 64)
    run = describe_run(segmenter, dataset, quick(), [5, 6], windows)
    assert json.loads(json.dumps(run)) == run
    longer = quick(steps=99, time_budget_s=5, patience=3, validate_every=9)
    assert describe_run(segmenter, dataset, longer, [5, 6], windows) == run
    narrow, classes = tiny_segmenter(n_classes=2, reduction=2), tiny_segmenter(n_classes=3)
    others = {
        "settings": describe_run(segmenter, dataset, quick(seed=1), [5, 6], windows),
        "network": describe_run(narrow, dataset, quick(), [5, 6], windows),
        "classes": describe_run(classes, dataset, quick(), [5, 6], windows),
        "data": describe_run(segmenter, dataset, quick(), [5, 7], windows),
    }
    for part, other in others.items():
        assert [key for key in run if run[key] != other[key]] == [part]
    cut_elsewhere = describe_run(segmenter, coins(0.4), quick(), [5, 6], windows)
    assert cut_elsewhere["data"]["regions"] != run["data"]["regions"]
    others = {dtype: coins() for dtype in (">f8", "uint8")}
    for dtype, other in others.items():
        image = coins().pairs[0].image.astype(dtype)
        image = image if dtype == ">f8" else image[::-1]
        other.pairs = (replace(other.pairs[0], image=image),)
    same, turned = (describe_run(segmenter, o, quick(), [5, 6], windows) for o in others.values())
    assert same == run  # by another reader
    assert [key for key in run["data"] if turned["data"][key] != run["data"][key]] == ["pixels of the images"]  # fmt: skip
    for part in ("train", "held_out"):  # as many labels of each class, but elsewhere
        relabelled = coins()
        labels = relabelled.read_labels(getattr(relabelled, part)[0])
        labels[:] = labels[::-1].copy()
        other = describe_run(segmenter, relabelled, quick(), [5, 6], windows)
        assert [key for key in run["data"] if other["data"][key] != run["data"][key]] == ["labels"]
    scored_elsewhere = describe_run(segmenter, dataset, quick(), [5, 6], windows[1:])
    assert scored_elsewhere["data"]["held-out windows"] != run["data"]["held-out windows"]


def test_other_classes_are_refused(coins, tiny_segmenter) -> None:
    with pytest.raises(ValueError, match=r"class values \[1, 2, 3\], but the data have \[1, 2\]"):
        check_fit(tiny_segmenter(n_classes=3), coins())


def test_other_channels_are_refused(coins, tiny_segmenter) -> None:
    with pytest.raises(ValueError, match=r"images of 3 channels, but the data have 1"):
        check_fit(tiny_segmenter(n_classes=2, input_channels=3), coins())


def test_an_image_without_a_number_is_refused_before_the_training(coins, tiny_segmenter) -> None:
    """Not when a crop of it is drawn, hours later."""
    dataset = coins()
    empty = np.full(dataset.pairs[0].image.shape, np.nan, np.float32)
    dataset.pairs = (replace(dataset.pairs[0], image=empty),)
    with pytest.raises(ValueError, match="coins cannot be learnt from"):
        check_fit(tiny_segmenter(n_classes=2), dataset)
