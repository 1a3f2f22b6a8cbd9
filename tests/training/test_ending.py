"""However a run ends, early or spoilt, the best weights are kept and a sentence says why."""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training import trainer as trainer_module
from napari_sam2_adapters.training import validation
from napari_sam2_adapters.training.train import NoticeRecord, Trainer, ValidationRecord


@pytest.mark.parametrize("leave", ["close", "throw", "forget", "end"])
def test_however_it_is_left_the_best_is_kept(
    coins, quick, tiny_segmenter, same, leave: str
) -> None:
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
def test_it_can_be_left_at_any_yield(
    coins, quick, tiny_segmenter, same, steps, checks, taken: int
) -> None:
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


def test_a_run_that_only_spoils_gives_back_what_it_got(
    coins, quick, tiny_segmenter, same, checks, spoil_after
) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    list(Trainer(segmenter, coins(), quick(steps=30, validate_every=30)).run())
    good = segmenter.trained_state()
    spoil_after(segmenter, 0, lambda logits: -logits)
    trainer = Trainer(segmenter, coins(), quick(steps=12, learning_rate=1e-2))
    list(trainer.run())
    assert trainer.best == trainer.baseline
    assert checks(trainer.history)[-1].mean_dice < trainer.best.mean_dice
    assert same(segmenter.trained_state(), good)


def test_leaving_before_the_first_check_still_keeps_what_was_learnt(
    coins, quick, tiny_segmenter, same
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


@pytest.mark.parametrize("held_out", [0.2, 0.0])
def test_nan_stops_with_a_sentence_and_good_weights(
    coins, quick, tiny_segmenter, steps, checks, spoil_after, held_out: float
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


def test_patience_ends_a_run_without_progress(
    coins, quick, tiny_segmenter, checks, spoil_after
) -> None:
    segmenter = tiny_segmenter(n_classes=2)
    list(Trainer(segmenter, coins(), quick(steps=30, validate_every=30)).run())
    spoil_after(segmenter, 0, lambda logits: -logits)
    config = quick(steps=500, learning_rate=1e-2, patience=3)
    trainer = Trainer(segmenter, coins(), config)
    history = list(trainer.run())
    since_best = [r for r in checks(history) if r.step > trainer.best.step]
    assert len(since_best) == 3
    assert "has not risen in 3 checks" in history[-1].message


def test_the_time_budget_ends_a_run(
    coins, quick, tiny_segmenter, steps, checks, monkeypatch
) -> None:
    # a clock on which steps and checks take 0.1 s each: on a busy machine there may be few steps in any time
    now = itertools.count(0.0, 0.1)
    for module in (trainer_module, validation):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    config = quick(steps=100_000, validate_every=100_000, time_budget_s=2)
    trainer = Trainer(tiny_segmenter(n_classes=2), coins(), config)
    history = list(trainer.run())
    spent = [r.seconds for r in history if not isinstance(r, NoticeRecord)]
    *_, last_step, last_check = spent
    assert sum(spent) - last_step - last_check < 2 <= sum(spent)
    assert [r.step for r in checks(history)] == [0, steps(history)[-1].step]
    assert "time budget of 2 s" in history[-1].message
    assert steps(history)[-1].learning_rate < 0.3e-3


def test_full_memory_is_told_once_and_training_goes_on(
    coins, quick, tiny_segmenter, steps, notices
) -> None:
    segmenter = tiny_segmenter(n_classes=2)

    def full(module: Segmenter, inputs: tuple[Tensor, ...]) -> None:
        if torch.is_grad_enabled() and len(inputs[0]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory (staged)")

    segmenter.register_forward_pre_hook(full)
    history = list(Trainer(segmenter, coins(), quick(batch_size=8)).run())
    (message,) = notices(history)
    assert "batches of 8 crops now go through the network 2 at a time" in message
    assert [r.step for r in steps(history)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("fits", [1, 0])
def test_a_run_that_runs_out_of_memory_learns_what_an_unhindered_one_does(
    coins, quick, tiny_segmenter, steps, checks, notices, fits: int
) -> None:
    """Steps and checks go on in parts, or with the CPU, and come to the same weights and scores."""
    config = quick(batch_size=4, learning_rate=1e-4)
    free, hindered = tiny_segmenter(n_classes=2), tiny_segmenter(n_classes=2)
    predict = PredictConfig(batch_size=2)
    expected = list(Trainer(free, coins(), config, predict=predict).run())

    class OnSmallDevice(Segmenter):
        moved = False

        @property
        def device(self) -> torch.device:
            return torch.device("cpu" if self.moved else "meta")

        def to(self, *args: Any, **kwargs: Any) -> Segmenter:
            self.moved = True
            return super().to(*args, **kwargs)

        def forward(self, image: Tensor) -> Tensor:
            if not self.moved and len(image) > fits:
                raise torch.OutOfMemoryError("CUDA out of memory (staged)")
            return super().forward(image)

    if fits:
        hindered.register_forward_pre_hook(
            lambda module, inputs: _refuse(len(inputs[0]) > fits)  # on the CPU, which is full
        )
    else:
        hindered.__class__ = OnSmallDevice
    history = list(Trainer(hindered, coins(), config, predict=predict).run())
    told = notices(history)
    assert sum("1 at a time" in message for message in told) == fits
    assert sum("training goes on with the CPU" in message for message in told) == 1 - fits
    assert len(told) == (1 if fits else 2)  # at the steps, and at the check before the first
    for one, other in zip(checks(history), checks(expected), strict=True):
        assert one.mean_dice == pytest.approx(other.mean_dice, abs=0.01)
    for one, other in zip(steps(history), steps(expected), strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-2)
    if not fits:  # whole batches on the CPU
        state = free.trained_state()
        assert all(torch.equal(v, state[n]) for n, v in hindered.trained_state().items())


def _refuse(full: bool) -> None:
    if full:
        raise torch.OutOfMemoryError("CUDA out of memory (staged)")
