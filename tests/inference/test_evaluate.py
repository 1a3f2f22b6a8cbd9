from __future__ import annotations

import json

import numpy as np
import pytest
from skimage import data

from napari_sam2_adapters.config import ClassInfo, PredictConfig
from napari_sam2_adapters.data.dataset import Pair
from napari_sam2_adapters.inference import evaluate as evaluation
from napari_sam2_adapters.inference.evaluate import (
    ImageScore,
    class_indices,
    evaluate,
    score_images,
    summarize,
)
from napari_sam2_adapters.inference.predict import predict

CLASSES = (ClassInfo(value=1, name="background"), ClassInfo(value=5, name="cell"))


def test_scores_of_hand_made_images():
    first = ImageScore("a", np.array([[6, 2], [0, 8]]))
    second = ImageScore(
        "b", np.array([[16, 0], [0, 0]])
    )  # no cell, none found: it does not count for the cells
    scores = summarize([first, second], CLASSES)
    assert scores.dice["cell"] == pytest.approx(16 / 18)
    assert scores.dice["background"] == pytest.approx((12 / 14 + 1) / 2)
    # One matrix over both: background 22 of 24, cell 8 of 10.
    assert scores.lab_miou == pytest.approx((22 / 24 + 8 / 10) / 2)
    assert scores.images == 2
    assert json.loads(json.dumps(scores.as_dict()))["images"] == 2


def test_class_that_is_nowhere_is_null_not_zero():
    scores = summarize([ImageScore("a", np.array([[9, 0], [0, 0]]))], CLASSES)
    assert scores.as_dict()["dice"] == {"background": 1.0, "cell": None}
    assert scores.mean_dice == 1.0


def test_nothing_to_score_is_refused():
    with pytest.raises(ValueError, match="no images to score"):
        summarize([], CLASSES)


def test_zero_is_ignored_or_a_class():
    labels = np.array([[0, 1, 5, -1]])
    np.testing.assert_array_equal(
        class_indices(labels, CLASSES, "unlabelled", "x"), [[-1, 0, 1, -1]]
    )
    with pytest.raises(ValueError, match="label 0, which is no class"):
        class_indices(labels, CLASSES, "background", "x")
    with pytest.raises(ValueError, match="label 3"):
        class_indices(np.array([3]), CLASSES, "unlabelled", "x")
    with pytest.raises(ValueError, match="'unlabelled' or 'background', not 'unlabeled'"):
        class_indices(labels, CLASSES, "unlabeled", "x")


def test_a_model_scored_on_its_own_output_is_perfect_and_unlabelled_pixels_do_not_count(
    tiny_segmenter,
):
    image = data.camera()[:100, :120]
    segmenter = tiny_segmenter("lw", n_classes=2)
    config = PredictConfig(tile_size_px=128)
    labels = predict(segmenter, image, config=config).labels.astype(np.int16)
    pair = Pair(image=image, labels=labels, axes="YX", name="own")
    assert evaluate(segmenter, [pair], zero_is="unlabelled", config=config).lab_miou == 1.0
    wrong = labels.copy()
    wrong[:10] = 0
    (scored,) = score_images(
        segmenter,
        [Pair(image=image, labels=wrong, axes="YX", name="own")],
        zero_is="unlabelled",
        config=config,
    )
    assert scored.confusion.sum() == 90 * 120
    assert np.trace(scored.confusion) == 90 * 120


def test_a_stack_counts_every_plane_and_its_labels_are_read_plane_by_plane(tiny_segmenter):
    stack = np.stack([data.camera()[:64, :70], data.camera()[200:264, 200:270]])
    segmenter = tiny_segmenter("lw", n_classes=2)
    found = predict(segmenter, stack, axes="ZYX").labels

    class Lazy:
        shape, dtype, reads = found.shape, found.dtype, 0

        def __getitem__(self, key):
            self.reads += 1
            part = found[key]
            assert part.size <= 64 * 70
            return part

    lazy = Lazy()
    pair = Pair(image=stack, labels=lazy, axes="ZYX", name="stack")
    (scored,) = score_images(segmenter, [pair], zero_is="unlabelled")
    assert np.trace(scored.confusion) == scored.confusion.sum() == stack.size
    assert lazy.reads == 4  # each plane is looked at before the network runs, and compared after it


def test_nothing_is_computed_that_is_not_scored(tiny_segmenter, monkeypatch):
    """Probabilities of a volume take as many bytes as it has classes, four times."""
    configs = []
    monkeypatch.setattr(
        evaluation, "predict", lambda *a, config, **k: configs.append(config) or predict(*a, **k)
    )
    pair = Pair(np.zeros((64, 64)), np.ones((64, 64), int), "YX", "x")
    wish = PredictConfig(tile_size_px=64, probabilities=True, uncertainty=True)
    list(score_images(tiny_segmenter(), [pair], zero_is="unlabelled", config=wish))
    assert configs == [PredictConfig(tile_size_px=64)]


def test_labels_of_another_shape_are_refused_before_the_network_runs(tiny_segmenter):
    pair = Pair(
        image=np.zeros((64, 64, 3), np.uint8), labels=np.ones((64, 64, 3)), axes="YXC", name="x.png"
    )
    with pytest.raises(ValueError, match=r"labels of x.png have shape \(64, 64, 3\).*\(64, 64\)"):
        next(score_images(tiny_segmenter(input_channels=3), [pair], zero_is="unlabelled"))


def test_an_image_that_does_not_fit_the_model_is_named(tiny_segmenter):
    pair = Pair(np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), int), "YXC", "x.png", rgb=True)
    with pytest.raises(ValueError, match=r"x.png cannot be scored: The image has 3 channel"):
        next(score_images(tiny_segmenter(), [pair], zero_is="unlabelled"))


@pytest.mark.parametrize("wrong", ["shape", "label", "channels"])
def test_what_is_wrong_with_the_last_image_is_found_before_the_first_is_segmented(
    tiny_segmenter, wrong
):
    good = Pair(data.camera()[:64, :64], np.ones((64, 64), int), "YX", "good.png")
    bad = {
        "shape": Pair(np.zeros((64, 64)), np.ones((32, 64), int), "YX", "bad.png"),
        "label": Pair(np.zeros((64, 64)), np.full((64, 64), 9), "YX", "bad.png"),
        "channels": Pair(np.zeros((2, 64, 64)), np.ones((64, 64), int), "CYX", "bad.png"),
    }[wrong]
    with pytest.raises(ValueError, match=r"bad\.png"):
        next(score_images(tiny_segmenter(), [good, bad], zero_is="unlabelled"))


def test_images_without_a_labelled_pixel_have_no_score():
    with pytest.raises(ValueError, match="No pixel of 2 images"):
        summarize([ImageScore("a", np.zeros((2, 2), int))] * 2, CLASSES)
    one = [ImageScore("a", np.zeros((2, 2), int)), ImageScore("b", np.eye(2, dtype=int))]
    assert summarize(one, CLASSES).mean_dice == 1.0  # one unlabelled image does not spoil the rest
