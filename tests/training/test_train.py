from __future__ import annotations

import contextlib
import gc
import inspect
import itertools
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from napari_sam2_adapters.config import ModelConfig, PredictConfig, default_classes
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training.train import (
    NoticeRecord,
    Record,
    StepRecord,
    Trainer,
    ValidationRecord,
    train,
)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def untimed(history: list[Record]) -> list[Record]:
    """The history without what the clock says."""
    timeless = {"seconds": 0.0}
    return [
        replace(r, **timeless, images_per_second=0.0)
        if isinstance(r, StepRecord)
        else replace(r, **timeless)
        if isinstance(r, ValidationRecord)
        else r
        for r in history
    ]


def steps(history: list[Record]) -> list[StepRecord]:
    return [record for record in history if isinstance(record, StepRecord)]


def checks(history: list[Record]) -> list[ValidationRecord]:
    return [record for record in history if isinstance(record, ValidationRecord)]


def notices(history: list[Record]) -> list[str]:
    return [record.message for record in history if isinstance(record, NoticeRecord)]


def spoil_after(segmenter: Segmenter, calls: int, change: Callable[[Tensor], Tensor]) -> None:
    """Change the logits of every training pass (not of checks) after the first few."""
    seen = 0

    def hook(module: Segmenter, inputs: object, output: Tensor) -> Tensor:
        nonlocal seen
        if not torch.is_grad_enabled():
            return output
        seen += 1
        return change(output) if seen > calls else output

    segmenter.register_forward_hook(hook)


@pytest.mark.parametrize("loss", ["ce_dice", "thin"])
def test_it_learns_a_real_picture(coins, quick, tiny_segmenter, loss: str) -> None:
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


def test_the_paper_recipe_learns(coins, quick, tiny_segmenter) -> None:
    config = quick(steps=30, validate_every=30, recipe="paper", loss="paper", batch_size=4)
    trainer = Trainer(tiny_segmenter(n_classes=2), coins(), config)
    first, last = checks(list(trainer.run()))
    assert last.loss < 0.8 * first.loss
    rates = [record.learning_rate for record in steps(trainer.history)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(1e-4, rel=0.01)
    assert rates[-1] < 1e-6


def test_records_tell_the_run(coins, quick, tiny_segmenter) -> None:
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


@pytest.mark.parametrize("leave", ["close", "throw", "forget", "end"])
def test_however_it_is_left_the_best_is_kept(coins, quick, tiny_segmenter, leave: str) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    trainer = Trainer(segmenter, coins(), quick(steps=9 if leave == "end" else 99))
    run = trainer.run()
    best: dict[str, Tensor] = {}
    for record in run:
        if isinstance(record, ValidationRecord) and record.best:
            with trainer.current_weights():
                best = segmenter.trained_state()
        if leave != "end" and record.step == 7:
            break
    assert not same(segmenter.trained_state(), best) or leave == "end"
    if leave == "close":
        run.close()
    elif leave == "throw":
        with pytest.raises(KeyboardInterrupt):
            run.throw(KeyboardInterrupt())
    del run
    gc.collect()
    assert same(segmenter.trained_state(), best)
    assert not segmenter.training


@pytest.mark.parametrize("taken", range(10))
def test_it_can_be_left_at_any_yield(coins, quick, tiny_segmenter, taken: int) -> None:
    """Records: a check, two steps, a check, two steps, a check, a step, the last check."""
    segmenter = tiny_segmenter(n_classes=2)
    trainer = Trainer(segmenter, coins(), quick(steps=5))
    averages = {0: segmenter.trained_state()}
    with contextlib.closing(trainer.run()) as run:
        for record in itertools.islice(run, taken):
            with trainer.current_weights():
                averages[record.step] = segmenter.trained_state()
    assert len(steps(trainer.history)) == [0, 0, 1, 2, 2, 3, 4, 4, 5, 5][taken]
    best = 0 if trainer.best is None else trainer.best.step
    assert same(segmenter.trained_state(), averages[best])
    assert not segmenter.training
    scores = [record.mean_dice for record in checks(trainer.history)]
    assert not scores or trainer.best.mean_dice == max(scores)


def test_a_run_that_only_spoils_gives_back_what_it_got(coins, quick, tiny_segmenter) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    list(Trainer(segmenter, coins(), quick(steps=30, validate_every=30)).run())
    good = segmenter.trained_state()
    spoil_after(segmenter, 0, lambda logits: -logits)
    trainer = Trainer(segmenter, coins(), quick(steps=12, learning_rate=1e-2))
    list(trainer.run())
    assert trainer.best == trainer.baseline
    assert checks(trainer.history)[-1].mean_dice < trainer.best.mean_dice
    assert same(segmenter.trained_state(), good)


def test_warm_start_begins_where_the_last_run_ended(coins, quick, tiny_segmenter) -> None:
    segmenter, dataset = tiny_segmenter(n_classes=2), coins()
    first = Trainer(segmenter, dataset, quick(steps=10))
    list(first.run())
    second = Trainer(segmenter, dataset, quick(steps=4))
    list(second.run())
    assert second.baseline.mean_dice == first.best.mean_dice
    assert second.best.mean_dice >= first.best.mean_dice


def test_leaving_before_the_first_check_still_keeps_what_was_learnt(
    coins, quick, tiny_segmenter
) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    trainer = Trainer(segmenter, coins(), quick(steps=99, validate_every=50, batch_size=4))
    for record in trainer.run():
        if record.step == 12:
            with trainer.current_weights():
                learnt = segmenter.trained_state()
            break
    gc.collect()
    assert trainer.best.step == 12
    assert trainer.best.mean_dice > trainer.baseline.mean_dice
    assert same(segmenter.trained_state(), learnt)


def test_without_held_out_data_the_latest_average_is_kept(coins, quick, tiny_segmenter) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    trainer = Trainer(segmenter, coins(0), quick(steps=5))
    for record in trainer.run():
        assert isinstance(record, StepRecord)
        with trainer.current_weights():
            average = segmenter.trained_state()
    assert trainer.baseline is None
    assert trainer.best is None
    assert same(segmenter.trained_state(), average)


def test_a_preview_does_not_disturb(coins, quick, tiny_segmenter) -> None:
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


def test_the_seed_decides(coins, quick, tiny_segmenter) -> None:
    states, histories = [], []
    for seed in (3, 3, 4):
        segmenter = tiny_segmenter(n_classes=2)
        trainer = Trainer(segmenter, coins(), quick(steps=4, seed=seed))
        histories.append(untimed(list(trainer.run())))
        states.append(segmenter.trained_state())
    assert histories[0] == histories[1]
    assert same(states[0], states[1])
    assert histories[0] != histories[2]


@pytest.mark.parametrize("adapter", ["lw", "lora"])
def test_a_killed_run_resumes_to_the_same_bits(
    coins, quick, tiny_segmenter, tmp_path: Path, adapter: str
) -> None:
    config = quick(steps=8)
    whole = tiny_segmenter(n_classes=2, adapter=adapter)
    expected = Trainer(whole, coins(), config)
    list(expected.run())

    written, kept = tmp_path / "run.safetensors", tmp_path / "kept.safetensors"
    killed = Trainer(
        tiny_segmenter(n_classes=2, adapter=adapter), coins(), config, checkpoint=written
    )
    for record in killed.run():
        torch.rand(3)  # what others draw between two records changes nothing
        if isinstance(record, StepRecord) and record.step == 3:
            shutil.copy(written, kept)  # as the kill leaves it: of the last check
            break

    segmenter = tiny_segmenter(n_classes=2, adapter=adapter)
    trainer = Trainer(segmenter, coins(), config, checkpoint=kept)
    trainer.resume()
    assert len(steps(trainer.history)) == 2
    list(trainer.run())
    assert untimed(trainer.history) == untimed(expected.history)
    assert same(segmenter.trained_state(), whole.trained_state())
    assert trainer.best.step == expected.best.step
    assert trainer.baseline.mean_dice == expected.baseline.mean_dice


def test_the_network_of_the_users_resumes_to_the_same_bits(coins, quick, tmp_path: Path) -> None:
    """Mobile with HP in channels-last, as `build_segmenter` makes it: rounding hangs on the memory order too."""
    config, path = quick(steps=4), tmp_path / "run.safetensors"

    def fresh() -> Segmenter:
        return build_segmenter(ModelConfig(), default_classes([1, 2]))

    whole, segmenter = fresh(), fresh()
    expected = list(train(whole, coins(), config))
    with contextlib.closing(train(fresh(), coins(), config, checkpoint=path)) as run:
        next(r for r in run if isinstance(r, StepRecord) and r.step == 3)
    later = list(train(segmenter, coins(), config, checkpoint=path, resume=True))
    assert untimed(later) == untimed(expected)[-len(later) :]
    assert same(segmenter.trained_state(), whole.trained_state())


def test_a_run_that_was_killed_before_its_first_step_resumes(
    coins, quick, tiny_segmenter, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    with contextlib.closing(
        train(tiny_segmenter(n_classes=2), coins(), quick(), checkpoint=path)
    ) as run:
        assert next(run).step == 0
    later = list(train(tiny_segmenter(n_classes=2), coins(), quick(), checkpoint=path, resume=True))
    assert [r.step for r in steps(later)] == [1, 2, 3, 4, 5, 6]
    assert [r.step for r in checks(later)] == [2, 4, 6]


def test_resuming_forgets_why_the_run_before_ended(
    coins, quick, tiny_segmenter, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    trainer = Trainer(tiny_segmenter(n_classes=2), coins(), quick(steps=2))
    run = trainer.run()
    next(run)
    trainer.save_checkpoint(path)
    with pytest.raises(ValueError, match="close that run before you resume"):
        trainer.resume(path)
    list(run)
    assert trainer.stop_reason
    trainer.resume(path)
    assert trainer.stop_reason == ""
    with contextlib.closing(trainer.run()) as run:
        assert next(run).step == 1
    assert trainer.stop_reason == ""


@pytest.mark.parametrize(
    ("recipe", "stop_at"), [("interactive", 1), ("interactive", 4), ("paper", 3)]
)
def test_a_cancelled_run_resumes_at_its_last_step(
    coins, quick, tiny_segmenter, tmp_path: Path, stop_at: int, recipe: str
) -> None:
    config = quick(steps=6, recipe=recipe)
    whole = tiny_segmenter(n_classes=2)
    expected = Trainer(whole, coins(), config)
    list(expected.run())
    path = tmp_path / "run.safetensors"
    with contextlib.closing(
        train(tiny_segmenter(n_classes=2), coins(), config, checkpoint=path)
    ) as run:
        next(r for r in run if isinstance(r, StepRecord) and r.step == stop_at)
    segmenter = tiny_segmenter(n_classes=2)
    later = list(train(segmenter, coins(), config, checkpoint=path, resume=True))
    assert steps(later)[0].step == stop_at + 1
    assert untimed(later) == untimed(expected.history)[-len(later) :]
    assert same(segmenter.trained_state(), whole.trained_state())


def test_a_left_trainer_goes_on(coins, quick, tiny_segmenter) -> None:
    whole, segmenter = tiny_segmenter(n_classes=2), tiny_segmenter(n_classes=2)
    list(Trainer(whole, coins(), quick()).run())
    trainer = Trainer(segmenter, coins(), quick())
    with contextlib.closing(trainer.run()) as run:
        next(r for r in run if isinstance(r, StepRecord) and r.step == 3)
        with pytest.raises(ValueError, match="already running"):
            next(trainer.run())
    list(trainer.run())
    assert same(segmenter.trained_state(), whole.trained_state())
    assert list(trainer.run()) == []


def test_a_finished_run_can_be_given_more_steps(
    coins, quick, tiny_segmenter, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    list(train(tiny_segmenter(n_classes=2), coins(), quick(steps=2), checkpoint=path))
    more = train(tiny_segmenter(n_classes=2), coins(), quick(steps=4), checkpoint=path, resume=True)
    assert [r.step for r in steps(list(more))] == [3, 4]


def test_an_earlier_checkpoint_is_never_overwritten(
    coins, quick, tiny_segmenter, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    list(train(tiny_segmenter(n_classes=2), coins(), quick(steps=1), checkpoint=path))
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="resume from it"):
        next(train(tiny_segmenter(n_classes=2), coins(), quick(), checkpoint=path))
    assert path.read_bytes() == before


def test_the_checkpoint_of_another_run_is_refused(
    coins, quick, tiny_segmenter, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    list(train(tiny_segmenter(n_classes=2), coins(), quick(steps=1), checkpoint=path))
    others = {
        r"network \(adapter\)": (tiny_segmenter(n_classes=2, adapter="hp"), coins(), quick()),
        r"settings \(loss\)": (tiny_segmenter(n_classes=2), coins(), quick(loss="composite")),
        r"data \(split\)": (tiny_segmenter(n_classes=2), coins(0.4), quick()),
    }
    with pytest.raises(ValueError, match=r"data \(held-out windows\) is \"1 windows"):
        Trainer(
            tiny_segmenter(n_classes=2), coins(), quick(), predict=PredictConfig(tile_size_px=64)
        ).resume(path)
    for part, (segmenter, dataset, config) in others.items():
        before = segmenter.trained_state()
        with pytest.raises(ValueError, match=f"belongs to another run: its {part} is"):
            Trainer(segmenter, dataset, config).resume(path)
        assert same(segmenter.trained_state(), before)
    with pytest.raises(ValueError, match="Say which checkpoint"):
        Trainer(tiny_segmenter(n_classes=2), coins(), quick()).resume()


@pytest.mark.parametrize("held_out", [0.2, 0.0])
def test_nan_stops_with_a_sentence_and_good_weights(
    coins, quick, tiny_segmenter, held_out: float
) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    spoil_after(segmenter, 4, lambda logits: logits * math.nan)
    trainer = Trainer(segmenter, coins(held_out), quick(steps=50, validate_every=3))
    history = list(trainer.run())
    assert steps(history)[-1].step == 4
    assert isinstance(history[-1], NoticeRecord)
    assert "NaN or infinite in step 5" in history[-1].message
    assert trainer.stop_reason == history[-1].message
    assert all(torch.isfinite(value).all() for value in segmenter.trained_state().values())
    if held_out:
        assert [r.step for r in checks(history)] == [0, 3, 4]
        assert trainer.best.step > 0


def test_patience_ends_a_run_without_progress(coins, quick, tiny_segmenter) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    list(Trainer(segmenter, coins(), quick(steps=30, validate_every=30)).run())
    spoil_after(segmenter, 0, lambda logits: -logits)
    config = quick(steps=500, learning_rate=1e-2, patience=3)
    trainer = Trainer(segmenter, coins(), config)
    history = list(trainer.run())
    since_best = [r for r in checks(history) if r.step > trainer.best.step]
    assert len(since_best) == 3
    assert "has not risen in 3 checks" in history[-1].message


def test_the_time_budget_ends_a_run(coins, quick, tiny_segmenter) -> None:
    config = quick(steps=100_000, validate_every=100_000, time_budget_s=0.6)
    trainer = Trainer(tiny_segmenter(n_classes=2), coins(), config)
    history = list(trainer.run())
    spent = sum(r.seconds for r in history if not isinstance(r, NoticeRecord))
    assert 0.6 <= spent < 3
    assert [r.step for r in checks(history)] == [0, steps(history)[-1].step]
    assert "time budget of 0.6 s" in history[-1].message
    assert steps(history)[-1].learning_rate < 0.3e-3


def test_full_memory_is_told_once_and_training_goes_on(coins, quick, tiny_segmenter) -> None:
    segmenter = tiny_segmenter(n_classes=2)

    def full(module: Segmenter, inputs: tuple[Tensor, ...]) -> None:
        if torch.is_grad_enabled() and len(inputs[0]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory (staged)")

    segmenter.register_forward_pre_hook(full)
    history = list(Trainer(segmenter, coins(), quick(batch_size=8)).run())
    (message,) = notices(history)
    assert "batches of 8 crops now go through the network 2 at a time" in message
    assert [r.step for r in steps(history)] == [1, 2, 3, 4, 5, 6]


def test_misfits_are_refused_before_anything_starts(coins, quick, tiny_segmenter) -> None:
    with pytest.raises(ValueError, match="class values"):
        Trainer(tiny_segmenter(n_classes=3), coins(), quick())
    with pytest.raises(ValueError, match="no weights that learn"):
        Trainer(tiny_segmenter(n_classes=2).folded(), coins(), quick())


def test_train_is_a_generator_function() -> None:
    assert inspect.isgeneratorfunction(train)
