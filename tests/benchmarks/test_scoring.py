"""Scores of made answers to made images."""

from dataclasses import replace

import numpy as np
import pytest
from datasets import LabelledImage, Split
from methods import Segmented
from pictures import picture_paths, write_pictures
from PIL import Image
from scoring import score

from napari_sam2_adapters.config import default_classes


def split_of(*labels, also=()):
    items = [
        LabelledImage(f"i{n}", np.full((40, 40), 90, np.uint8), np.asarray(part, np.int16))
        for n, part in enumerate(labels)
    ]
    return Split([], items, default_classes([0, 1]), 224, frozenset(also))


def halves(column=20):
    return (np.arange(40) >= column) * np.ones((40, 1), np.int16)


def test_each_measure_of_an_answer_with_one_wrong_image():
    split = split_of(halves(), halves(), np.zeros((40, 40)))
    answers = {"i0": halves(), "i1": halves(30), "i2": halves(38)}
    scores, results = score(
        lambda item: Segmented(answers[item.name].astype(np.int16), None), split
    )
    # Images: right; half of the class found; a class found that is not there.
    hits, union = 800 + 400, 800 + 800 + 80
    background = (800 + 800 + 1520) / (800 + 1200 + 1600)
    assert scores["lab_miou"] == pytest.approx((hits / union + background) / 2, abs=1e-4)
    assert scores["foreground_dice"] == pytest.approx((1 + 2 / 3 + 0) / 3, abs=1e-4)
    assert scores["foreground_dice_where_true"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-4)
    assert scores["iou"]["class 1"] == pytest.approx((1 + 1 / 2 + 0) / 3, abs=1e-4)
    assert scores["boundary_f"] == pytest.approx(1 / 3, abs=1e-4)
    assert scores["test_images"] == 3
    assert "auc" not in scores
    assert [r.foreground_dice for r in results[:2]] == pytest.approx([1, 2 / 3])
    assert np.isnan(results[2].foreground_dice)


def test_the_area_under_the_curve_counts_the_field_of_view_alone():
    truth = halves()
    truth[:, :5] = -1
    probability = np.where(halves() == 1, 0.7, 0.2)
    probability[:, :5] = 0.9
    answer = Segmented(
        halves().astype(np.int16), np.stack([1 - probability, probability]).astype(np.float16)
    )
    scores, _ = score(lambda _: answer, split_of(truth, also=["auc"]))
    assert scores["auc"] == 1
    assert scores["lab_miou"] == 1


def test_regions_are_scored_where_the_data_set_asks_for_them():
    truth = np.zeros((40, 40), np.int16)
    truth[:, 20] = 1
    open_membrane = truth.copy()
    open_membrane[5:8] = 0
    for answer, v_rand in ((truth, 1), (open_membrane, 2 / 3)):
        scores, _ = score(
            lambda _, found=answer: Segmented(found, None), split_of(truth, also=["regions"])
        )
        assert scores["v_rand"] == pytest.approx(v_rand, abs=2e-3)
    assert scores["v_info"] == pytest.approx(0, abs=2e-3)


def test_slices_of_a_volume_are_scored_together_where_the_data_set_asks_for_it():
    truth = np.zeros((2, 40, 40), np.int16)
    # Nothing is in the second slice, where 10 of 40 columns are taken for the class.
    truth[0, :, :30] = 1
    found = truth.copy()
    found[1, :, :10] = 1
    split = split_of(*truth, also=["volumes"])
    names = ("patient1_frame1_slice_0", "patient1_frame1_slice_10")
    test = [replace(item, name=name) for item, name in zip(split.test, names, strict=True)]
    answers = dict(zip(names, found, strict=True))
    scores, _ = score(lambda item: Segmented(answers[item.name], None), replace(split, test=test))
    assert scores["foreground_dice"] == 0.5
    assert scores["volume_dice"] == pytest.approx(2 * 30 / (30 + 40), abs=1e-4)


def test_what_is_no_number_is_null():
    empty = np.zeros((40, 40), np.int16)
    scores, _ = score(lambda _: Segmented(empty, None), split_of(empty))
    assert scores["foreground_dice"] is None
    assert scores["boundary_f"] is None


def test_pictures_show_image_truth_and_result_of_the_ranked_images(tmp_path):
    split = split_of(halves(), halves(), halves())
    answers = {"i0": halves(30), "i1": halves(), "i2": halves(22)}
    _, results = score(lambda item: Segmented(answers[item.name].astype(np.int16), None), split)
    paths = picture_paths(tmp_path / "new", "x")
    write_pictures(paths, results, split.classes)
    best, worst = (np.asarray(Image.open(paths[which])) for which in ("best", "worst"))
    truth, result = (slice(8 + n * 48, 48 + n * 48) for n in (1, 2))
    rows = slice(26, 66)
    np.testing.assert_array_equal(best[rows, truth], best[rows, result])
    assert (worst[rows, truth] != worst[rows, result]).any(axis=(0, 2)).sum() == 10
