"""A run learns, tells what it does, and repeats."""

from __future__ import annotations

import inspect

import pytest
import torch

from napari_sam2_adapters.training.train import StepRecord, Trainer, ValidationRecord, train


@pytest.mark.parametrize("loss", ["ce_dice", "thin"])
def test_it_learns_a_real_picture(coins, quick, tiny_segmenter, steps, loss: str) -> None:
    config = quick(steps=40, validate_every=20, batch_size=4, loss=loss)
    trainer = Trainer(tiny_segmenter(n_classes=2), coins(), config)
    history = list(trainer.run())
    losses = [record.loss for record in steps(history)]
    assert sum(losses[-8:]) < 0.6 * sum(losses[:8])
    assert trainer.baseline is not None
    assert trainer.best is not None
    assert trainer.baseline.mean_dice < 0.6
    assert trainer.best.mean_dice > 0.9
    assert trainer.stop_reason == "All 40 steps are done."


def test_the_paper_recipe_learns(coins, quick, tiny_segmenter, steps, checks) -> None:
    config = quick(steps=30, validate_every=30, recipe="paper", loss="paper", batch_size=4)
    trainer = Trainer(tiny_segmenter(n_classes=2), coins(), config)
    first, last = checks(list(trainer.run()))
    assert last.loss < 0.8 * first.loss
    rates = [record.learning_rate for record in steps(trainer.history)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(1e-4, rel=0.01)
    assert rates[-1] < 1e-6


def test_records_tell_the_run(coins, quick, tiny_segmenter, steps, checks) -> None:
    trainer = Trainer(tiny_segmenter(n_classes=2), coins(), quick(steps=5))
    history = list(trainer.run())
    assert history == trainer.history
    kinds = "".join("v" if isinstance(r, ValidationRecord) else "s" for r in history)
    assert kinds == "vssvssvsv"
    assert [r.step for r in steps(history)] == [1, 2, 3, 4, 5]
    assert [r.step for r in checks(history)] == [0, 2, 4, 5]
    assert len({r.pixels for r in checks(history)}) == 1
    assert trainer.baseline == history[0]
    best = max(checks(history), key=lambda r: r.mean_dice)
    assert trainer.best == best
    assert set(best.dice) == set(best.iou) == {"class 1", "class 2"}
    for name, dice in best.dice.items():
        assert best.iou[name] == pytest.approx(dice / (2 - dice))
    for record in steps(history):
        assert record.images_per_second == pytest.approx(2 / record.seconds)


def test_frozen_tensors_do_not_move(coins, quick, tiny_segmenter) -> None:
    segmenter = tiny_segmenter(n_classes=2, adapter="hp")
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    list(Trainer(segmenter, coins(), quick(steps=3)).run())
    trained = segmenter.trained_parameters()
    for name, value in segmenter.state_dict().items():
        assert name in trained or torch.equal(value, before[name])
    assert not segmenter.training


def test_warm_start_begins_where_the_last_run_ended(coins, quick, tiny_segmenter) -> None:
    segmenter, dataset = tiny_segmenter(n_classes=2), coins()
    first = Trainer(segmenter, dataset, quick(steps=10))
    list(first.run())
    second = Trainer(segmenter, dataset, quick(steps=4))
    list(second.run())
    assert second.baseline.mean_dice == first.best.mean_dice
    assert second.best.mean_dice >= first.best.mean_dice


def test_without_held_out_data_the_latest_average_is_kept(
    coins, quick, tiny_segmenter, same
) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    trainer = Trainer(segmenter, coins(0), quick(steps=5))
    for record in trainer.run():
        assert isinstance(record, StepRecord)
        with trainer.current_weights():
            average = segmenter.trained_state()
    assert trainer.baseline is None
    assert trainer.best is None
    assert same(segmenter.trained_state(), average)


def test_a_preview_does_not_disturb(coins, quick, tiny_segmenter, same) -> None:
    results = []
    for previews in (False, True):
        segmenter = tiny_segmenter(n_classes=2)
        trainer = Trainer(segmenter, coins(), quick())
        for _ in trainer.run():
            if previews:
                with trainer.current_weights() as shown, torch.no_grad():
                    shown(torch.rand(1, 1, 48, 48))
        results.append(segmenter.trained_state())
    assert same(*results)


def test_the_seed_decides(coins, quick, tiny_segmenter, same, untimed) -> None:
    states, histories = [], []
    for seed in (3, 3, 4):
        segmenter = tiny_segmenter(n_classes=2)
        trainer = Trainer(segmenter, coins(), quick(steps=4, seed=seed))
        histories.append(untimed(list(trainer.run())))
        states.append(segmenter.trained_state())
    assert histories[0] == histories[1]
    assert same(states[0], states[1])
    assert histories[0] != histories[2]


def test_misfits_are_refused_before_anything_starts(coins, quick, tiny_segmenter) -> None:
    with pytest.raises(ValueError, match="class values"):
        Trainer(tiny_segmenter(n_classes=3), coins(), quick())
    with pytest.raises(ValueError, match="no weights that learn"):
        Trainer(tiny_segmenter(n_classes=2).folded(), coins(), quick())


def test_train_is_a_generator_function() -> None:
    assert inspect.isgeneratorfunction(train)


@pytest.mark.parametrize("strokes", [False, True])
def test_only_strokes_let_unlabelled_pixels_speak(
    coins, quick, tiny_segmenter, same, strokes: bool
) -> None:
    """Crops that reach beyond 80 px: the rim is unlabelled, though all of the image is labelled."""
    data, learnt = coins(held_out_fraction=0, size=80, strokes=strokes), []
    assert data.mostly_unlabelled == strokes
    for settings in ({}, {"correct_shares": False, "crf_weight": 0}):
        segmenter = tiny_segmenter(n_classes=2)
        list(Trainer(segmenter, data, quick(steps=3, **settings)).run())
        learnt.append(segmenter.trained_state())
    assert same(*learnt) != strokes
