"""A bias per class undoes what draws a class too wide, and its score comes from other pixels than it was found on."""

from __future__ import annotations

import contextlib
import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data, filters

from napari_sam2_adapters.config import Normalization, PredictConfig
from napari_sam2_adapters.data.dataset import Dataset, Pair, build_dataset
from napari_sam2_adapters.metrics import confusion_matrix, dice_per_class
from napari_sam2_adapters.models.model_file import read_header, save_adapter
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training.calibration import (
    GRID,
    LogitSample,
    assign_folds,
    find_class_bias,
)
from napari_sam2_adapters.training.losses import build_loss
from napari_sam2_adapters.training.records import (
    CALIBRATING,
    awaits_calibration,
    best_check,
    kept_check,
    pack_history,
    unpack_history,
)
from napari_sam2_adapters.training.train import (
    NoticeRecord,
    StepRecord,
    Trainer,
    ValidationRecord,
)
from napari_sam2_adapters.training.validation import HeldOut
from napari_sam2_adapters.training.verdict import judge
from napari_sam2_adapters.training.windows import labelled_windows


def four_coins(held_out_fraction: float = 0.5) -> Dataset:
    """Quarters of scikit-image's coins, two to learn from and two held out."""
    image = data.coins()[:256, :256]
    smooth = filters.gaussian(image, 2, preserve_range=True)
    labels = (smooth > filters.threshold_otsu(image)).astype(np.uint8) + 1
    quarters = [(slice(a, a + 128), slice(b, b + 128)) for a in (0, 128) for b in (0, 128)]
    pairs = [Pair(image[q], labels[q], "YX", f"coins {n}") for n, q in enumerate(quarters)]
    return build_dataset(pairs, held_out_fraction=held_out_fraction, crop_size_px=64)


def mean_dice(logits: np.ndarray, truth: np.ndarray) -> float:
    n = logits.shape[1]
    dice = dice_per_class(confusion_matrix(truth, logits.argmax(axis=1), n))
    return float(dice[np.bincount(truth, minlength=n) > 0].mean())


def noisy_logits(n_classes: int, shares: list[float]) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.choice(n_classes, 20_000, p=shares)
    logits = random.normal(size=(len(truth), n_classes)).astype(np.float32)
    logits[np.arange(len(truth)), truth] += 2
    return logits, truth


class TestFinding:
    def test_two_classes_get_the_best_bias_of_the_grid(self) -> None:
        logits, truth = noisy_logits(2, [0.9, 0.1])
        tried = [mean_dice(logits + np.array([0, b], np.float32), truth) for b in GRID]
        bias = find_class_bias(logits, truth, np.ones(len(truth)), np.array([True, True]))
        assert bias[0] == 0
        assert bias[1] < -0.5  # a rare class is found too often by what weighs both alike
        assert mean_dice(logits + bias, truth) == pytest.approx(max(tried), abs=2e-4)

    def test_what_was_added_to_a_class_is_taken_off(self) -> None:
        logits, truth = noisy_logits(4, [0.4, 0.3, 0.2, 0.1])
        every = np.ones(4, dtype=bool)
        weights = np.ones(len(truth))
        plain = find_class_bias(logits, truth, weights, every)
        wide = logits + np.array([0, 1.5, 0, -1], np.float32)
        bias = find_class_bias(wide, truth, weights, every)
        assert bias - plain == pytest.approx([0, -1.5, 0, 1], abs=0.3)
        assert mean_dice(wide + bias, truth) > mean_dice(wide, truth) + 0.02
        assert mean_dice(wide + bias, truth) >= mean_dice(logits, truth)

    def test_a_class_with_hardly_a_pixel_is_left_alone(self) -> None:
        logits, truth = noisy_logits(3, [0.5, 0.5, 0])
        known = np.array([True, True, False])
        assert not find_class_bias(logits, truth, np.ones(len(truth)), known & [1, 0, 1]).any()

    def test_a_class_that_is_not_held_out_is_moved_no_more_than_the_others(self) -> None:
        logits, truth = noisy_logits(4, [0.5, 0.3, 0.2, 0])
        known = np.array([True, True, True, False])
        logits[:, 3] += 2  # found too often, but nothing tells
        weights = np.ones(len(truth))
        bias = find_class_bias(logits, truth, weights, known)
        assert bias[3] == pytest.approx(bias[:3].mean(), abs=1e-6)
        alone = find_class_bias(logits[:, :3], truth, weights, known[:3])
        assert np.array_equal(bias[:3], alone)

    def test_many_classes_take_no_longer_than_a_breath(self) -> None:
        n_classes = 60
        logits, truth = noisy_logits(n_classes, [1 / n_classes] * n_classes)
        every = np.ones(n_classes, dtype=bool)
        wide = logits + np.linspace(-1, 1, n_classes, dtype=np.float32)
        bias = find_class_bias(wide, truth, np.ones(len(truth)), every)
        assert mean_dice(wide + bias, truth) > mean_dice(wide, truth) + 0.01

    def test_a_pixel_that_stands_for_many_counts_so(self) -> None:
        logits, truth = noisy_logits(2, [0.5, 0.5])
        known = np.array([True, True])
        weights = np.where(truth == 0, 9.0, 1.0)
        repeated = np.repeat(np.arange(len(truth)), weights.astype(int))
        expected = find_class_bias(logits[repeated], truth[repeated], np.ones(len(repeated)), known)
        assert np.array_equal(find_class_bias(logits, truth, weights, known), expected)
        assert expected[1] < 0


def test_a_sample_takes_the_classes_alike_and_trusts_few_images_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_sam2_adapters.training.calibration._MOST_VALUES", 40_000)
    logits, truth = noisy_logits(2, [0.98, 0.02])
    counts = np.bincount(truth, minlength=2)[None]
    plane, wide = truth.reshape(100, 200), logits - np.array([0, 1], np.float32)
    image = torch.from_numpy(wide.T.reshape(2, 100, 200))
    labels = np.concatenate([plane, np.full((100, 200), -1)], axis=0)
    sample = LogitSample(counts, np.array([6.0]), counts[0], seed=0)
    sample.add(0, torch.cat([image, image + 50], dim=1), labels)
    known = np.array([True, True])
    expected = find_class_bias(wide, truth, np.ones(len(truth)), known)
    assert sample.class_bias() / 0.75 == pytest.approx(expected, abs=0.3)
    # of windows with the rare class first, where it is ten times as rare in all
    enriched = LogitSample(counts, np.array([6.0]), counts[0] * [10, 1], seed=0)
    enriched.add(0, image, plane)
    rarer = find_class_bias(wide, truth, np.where(truth == 0, 10.0, 1.0), known)
    assert enriched.class_bias() / 0.75 == pytest.approx(rarer, abs=0.3)
    assert rarer[1] < expected[1] - 0.5


def test_folds_keep_neighbours_of_a_stack_together(stack_with_a_rare_class) -> None:
    dataset = build_dataset(
        [stack_with_a_rare_class], held_out_fraction=0.5, crop_size_px=32, seed=1
    )
    windows = labelled_windows(dataset, 64)
    divided = assign_folds(windows)
    assert divided is not None
    folds, images = divided
    assert images.tolist() == [0.25] * 4  # one specimen, however many slices
    planes = [window.region.plane for window in windows]
    assert len(set(planes)) > 4
    assert folds.tolist() == sorted(folds)
    assert [*dict.fromkeys(planes)] == sorted(set(planes))


def test_folds_keep_an_image_together() -> None:
    windows = labelled_windows(four_coins(), 64)
    divided = assign_folds(windows)
    assert divided is not None
    folds, images = divided
    assert sorted(set(folds)) == [0, 1]
    assert images.tolist() == [1, 1]
    by_image = {(w.region.pair, int(fold)) for w, fold in zip(windows, folds, strict=True)}
    assert len(by_image) == 2
    of_one = [w for w in windows if w.region.pair == windows[0].region.pair]
    assert len(of_one) > 1
    divided = assign_folds(of_one)
    assert divided is not None
    assert divided[0].tolist() == sorted(divided[0])
    assert divided[1].tolist() == [1 / min(4, len(of_one))] * min(4, len(of_one))
    assert assign_folds(of_one[:1]) is None


def test_folds_keep_all_labels_of_an_image_together(coins) -> None:
    """Else a bias that one tells would be scored on the same pixels by the other."""
    twice = (coins().pairs[0],) * 2
    dataset = build_dataset(twice, held_out_fraction=0.5, crop_size_px=32)
    windows = labelled_windows(dataset, 64)
    divided = assign_folds(windows, dataset.checksums)
    assert divided is not None
    folds, images = divided
    assert images.sum() == 1
    half = len(windows) // 2
    assert folds[:half].tolist() == folds[half:].tolist()
    assert {window.region.pair for window in windows[:half]} == {0}
    assert assign_folds([windows[0], windows[half]], dataset.checksums) is None


@pytest.fixture(scope="module")
def learnt() -> dict[str, torch.Tensor]:
    return {}


@pytest.fixture
def trained(tiny_segmenter, quick, learnt) -> Segmenter:
    """A segmenter that tells coins from the ground."""
    segmenter: Segmenter = tiny_segmenter(n_classes=2)
    if not learnt:
        list(Trainer(segmenter, four_coins(), quick(steps=30, calibrate=False)).run())
        learnt.update(segmenter.trained_state())
    segmenter.load_trained_state(learnt)
    return segmenter


def test_held_out_images_find_the_bias_and_others_score_it(trained, quick) -> None:
    trained.class_bias.copy_(torch.tensor([0.0, 5.0]))
    held_out = HeldOut(four_coins(), quick(), PredictConfig())
    loss = build_loss("ce_dice", [1, 1])
    wide = held_out.check(trained, loss, step=5, to_pass=None, precision=nullcontext())
    record = held_out.calibrate(trained, loss, [wide], precision=nullcontext())
    assert record is not None
    assert record.class_bias is not None
    assert record.class_bias.keys() == wide.dice.keys()
    bias = [*record.class_bias.values()]
    assert (record.step, record.pixels, record.best) == (5, wide.pixels, True)
    assert bias[1] - bias[0] < 4
    assert record.mean_dice > wide.mean_dice + 0.01
    # each image by what the other one tells
    confusion = np.zeros((2, 2), np.int64)
    images = [four_coins().read(w.region) for w in held_out.windows]
    for (image, truth), (other, other_truth) in zip(images, images[::-1], strict=True):
        with torch.no_grad():
            own, told_by = (trained(torch.from_numpy(i)[None])[0] for i in (image, other))
        values = told_by.flatten(1).T.numpy()
        labels = other_truth.ravel().astype(np.int64)
        added = find_class_bias(values, labels, np.ones(len(labels)), np.array([True, True])) / 3
        predicted = (own.numpy() + added[:, None, None]).argmax(axis=0)
        confusion += confusion_matrix(truth, predicted, 2)
    assert record.mean_dice == pytest.approx(float(dice_per_class(confusion).mean()), abs=1e-4)


def test_it_is_told_by_more_than_a_check_and_scored_on_both(trained, quick) -> None:
    trained.class_bias.copy_(torch.tensor([0.0, 5.0]))
    dataset, loss = four_coins(), build_loss("ce_dice", [1, 1])
    small = PredictConfig(tile_size_px=64)
    config = quick(batch_size=1, crop_size_px=32)
    held_out = HeldOut(dataset, config, small)
    every = labelled_windows(dataset, 64)
    assert len(held_out.windows) < len(every) / 3
    assert held_out.notice is not None
    wide = held_out.check(trained, loss, step=5, to_pass=None, precision=nullcontext())
    record = held_out.calibrate(trained, loss, [wide], precision=nullcontext())
    assert record is not None
    assert (record.pixels, record.best) == (wide.pixels, True)
    assert record.calibrated_pixels is not None
    assert 3 * wide.pixels < record.calibrated_pixels <= 4 * 16 * 32**2
    assert record.calibrated_dice is not None
    assert record.uncalibrated_dice is not None
    assert record.calibrated_dice > record.uncalibrated_dice + 0.01
    # what is kept is decided by all of them, even where those of a check would have it otherwise
    at_odds = replace(wide, mean_dice=record.mean_dice + 0.1)
    assert kept_check([at_odds, record]) is record
    later = replace(at_odds, step=8)
    assert kept_check([wide, record, later]) is later
    assert kept_check([wide, record, replace(later, mean_dice=record.mean_dice)]) is record
    table, others = pack_history([wide, record])
    assert unpack_history(table, json.loads(json.dumps(others))) == [wide, record]
    said = judge([replace(wide, step=0, best=True), StepRecord(1, 9, 1, 1, 1, 1), wide, record])
    assert f"{record.calibrated_dice:.3f} on {record.calibrated_pixels:,}." in said.sentence
    assert said.scores()["uncalibrated_dice"] == record.uncalibrated_dice


def test_nothing_is_set_that_does_not_raise_the_score(trained, quick) -> None:
    held_out = HeldOut(four_coins(), quick(), PredictConfig())
    loss = build_loss("ce_dice", [1, 1])
    plain = held_out.check(trained, loss, step=5, to_pass=None, precision=nullcontext())
    assert held_out.calibrate(trained, loss, [plain], precision=nullcontext()) is None
    trained.class_bias.copy_(torch.tensor([0.0, 5.0]))
    poor = held_out.check(trained, loss, step=5, to_pass=None, precision=nullcontext())
    record = held_out.calibrate(trained, loss, [poor], precision=nullcontext())
    assert record is not None
    good = replace(poor, step=0, mean_dice=1.0)  # and "better than at the start" would not be true
    assert held_out.calibrate(trained, loss, [good, poor], precision=nullcontext()) is None
    before = replace(record, step=2, calibrated_dice=1.0)
    assert held_out.calibrate(trained, loss, [before, poor], precision=nullcontext()) is None


@pytest.mark.parametrize("stopped", [False, True])
def test_a_run_ends_with_it(trained, quick, checks, same, tmp_path: Path, stopped: bool) -> None:
    """An adapter that draws coins too wide is trained further, so gently that only its bias can mend it."""
    trained.class_bias.copy_(torch.tensor([0.0, 5.0]))
    before = trained.trained_state()
    trainer = Trainer(
        trained, four_coins(), quick(steps=4, learning_rate=1e-5), checkpoint=tmp_path / "c"
    )
    with contextlib.closing(trainer.run()) as run:
        for record in run:
            if stopped and record.step == 3:
                break
    last = checks(trainer.history)[-1]
    assert trainer.history[-1] is last
    said = [r.message for r in trainer.history if isinstance(r, NoticeRecord)]
    assert (CALIBRATING in said) == (not stopped)
    assert not trainer.awaits_calibration
    assert last.class_bias is not None
    assert trainer.best is last
    plain, _ = best_check(trainer.history)
    assert plain is not None
    assert plain.class_bias is None
    assert last.mean_dice > plain.mean_dice
    assert trained.class_bias.tolist() == pytest.approx(list(last.class_bias.values()))
    assert trained.class_bias[1] - trained.class_bias[0] < 4
    moved = trained.trained_state()
    assert all((moved[n] - before[n]).abs().max() < 1e-3 for n in before if n != "class_bias")

    verdict = judge(trainer.history)
    assert (verdict.keep, verdict.best) == (True, last)
    assert "drawn too large or too small" in verdict.sentence
    path = tmp_path / "a.adapter.safetensors"
    save_adapter(
        path,
        trained,
        normalization=Normalization(mode="range", low=0, high=255),
        tile_size_px=224,
        scores=verdict.scores(),
    )
    assert read_header(path).scores["class_bias"] == last.class_bias


def test_a_run_that_goes_on_learns_without_it_and_sets_it_anew(
    trained, tiny_segmenter, quick, checks, tmp_path: Path
) -> None:
    trained.class_bias.copy_(torch.tensor([0.0, 5.0]))
    start = {n: t.clone() for n, t in trained.trained_state().items()}
    path = tmp_path / "c.checkpoint.safetensors"
    config = quick(steps=2, learning_rate=1e-5)
    list(Trainer(trained, four_coins(), config, checkpoint=path).run())
    assert trained.class_bias[1] - trained.class_bias[0] < 4
    longer = tiny_segmenter(n_classes=2)
    longer.load_trained_state(start)
    trainer = Trainer(longer, four_coins(), config.model_copy(update={"steps": 4}), checkpoint=path)
    trainer.resume()
    assert longer.class_bias.tolist() == [0, 5]
    n_before = len(checks(trainer.history))
    list(trainer.run())
    later = checks(trainer.history)[n_before:]
    assert later[0].class_bias is None
    # compared with what is not calibrated either
    assert (later[0].step, later[-1].step) == (4, best_check(trainer.history)[0].step)
    assert later[0].best == (later[0].mean_dice > checks(trainer.history)[1].mean_dice)


@pytest.mark.parametrize("why", ["strokes", "not asked for", "one window", "nothing held out"])
def test_where_it_is_left_alone(trained, quick, checks, why: str, coins) -> None:
    dataset = four_coins(0 if why == "nothing held out" else 0.5)
    if why == "strokes":
        striped = []
        for pair in dataset.pairs:
            labels = np.array(pair.labels)
            labels[np.arange(len(labels)) % 8 > 2] = 0
            striped.append(replace(pair, labels=labels))
        dataset = build_dataset(striped, held_out_fraction=0.5, crop_size_px=64)
        assert dataset.mostly_unlabelled
    if why == "one window":
        dataset = coins()
    trained.class_bias.copy_(torch.tensor([0.0, 5.0]))
    config = quick(steps=2, learning_rate=1e-5, calibrate=why != "not asked for")
    trainer = Trainer(trained, dataset, config)
    assert CALIBRATING not in [getattr(record, "message", "") for record in trainer.run()]
    assert trained.class_bias.tolist() == [0, 5]
    assert all(check.class_bias is None for check in checks(trainer.history))


def test_what_was_calibrated_stays_until_something_is_better(trained, quick, checks) -> None:
    """A run goes on from weights that were calibrated, and learns nothing better."""
    trained.class_bias.copy_(torch.tensor([0.0, 5.0]))
    trainer = Trainer(trained, four_coins(), quick(steps=4, learning_rate=1e-5))
    run = trainer.run()
    for record in run:
        if record.step == 3:
            break
    run.close()
    calibrated = trainer.best
    assert calibrated is not None
    assert calibrated.class_bias is not None
    bias = trained.class_bias.clone()
    list(trainer.run())
    later = [check for check in checks(trainer.history) if check.class_bias is None][-1]
    assert later.step == 4
    assert later.mean_dice < calibrated.mean_dice
    assert trainer.best is not None
    assert trainer.best.mean_dice >= calibrated.mean_dice
    assert trained.class_bias[1] < 4
    if trainer.best == calibrated:
        assert torch.equal(trained.class_bias, bias)


def test_a_file_of_before_has_none(trained, tmp_path: Path) -> None:
    path = tmp_path / "a.adapter.safetensors"
    normalization = Normalization(mode="range", low=0, high=255)
    save_adapter(path, trained, normalization=normalization, tile_size_px=224)
    assert read_header(path).format_version == 1


def test_the_record_is_told_from_a_check() -> None:
    plain = ValidationRecord(4, {"a": 0.5}, {"a": 0.3}, 0.5, 0.1, True, 0.5, 99)
    calibrated = replace(plain, mean_dice=0.6, class_bias={"a": 0.0})
    worse = replace(plain, step=6, best=False)
    assert best_check([plain, calibrated, worse]) == (plain, 1)
    assert judge([plain, calibrated]).best == calibrated
    better = replace(plain, step=8, mean_dice=0.7)
    assert kept_check([plain, calibrated, replace(better, mean_dice=0.55)]) == calibrated
    assert kept_check([plain, calibrated, better]) == better
    assert awaits_calibration([plain, calibrated, better])
    assert not awaits_calibration([plain, calibrated, worse])
    assert not awaits_calibration([replace(plain, step=0)])
    assert not awaits_calibration([])
