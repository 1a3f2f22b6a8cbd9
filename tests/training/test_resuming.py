"""Runs that were killed, cancelled or finished go on as if they had never stopped; others are refused."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_sam2_adapters.config import ModelConfig, PredictConfig, default_classes
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training.train import StepRecord, Trainer, train


@pytest.mark.parametrize(("adapter", "strokes"), [("lw", True), ("lora", False)])
def test_a_killed_run_resumes_to_the_same_bits(
    coins, quick, tiny_segmenter, same, untimed, steps, tmp_path: Path, adapter: str, strokes: bool
) -> None:
    config, data = quick(steps=8), coins(strokes=strokes)
    whole = tiny_segmenter(n_classes=2, adapter=adapter)
    expected = Trainer(whole, data, config)
    list(expected.run())

    written, kept = tmp_path / "run.safetensors", tmp_path / "kept.safetensors"
    killed = Trainer(tiny_segmenter(n_classes=2, adapter=adapter), data, config, checkpoint=written)
    for record in killed.run():
        torch.rand(3)  # what others draw between two records changes nothing
        if isinstance(record, StepRecord) and record.step == 3:
            shutil.copy(written, kept)  # as the kill leaves it: of the last check
            break

    segmenter = tiny_segmenter(n_classes=2, adapter=adapter)
    trainer = Trainer(segmenter, data, config, checkpoint=kept)
    trainer.resume()
    assert len(steps(trainer.history)) == 2
    list(trainer.run())
    assert untimed(trainer.history) == untimed(expected.history)
    assert same(segmenter.trained_state(), whole.trained_state())
    assert trainer.best.step == expected.best.step
    assert trainer.baseline.mean_dice == expected.baseline.mean_dice


def test_the_network_of_the_users_resumes_to_the_same_bits(
    coins, quick, same, untimed, tmp_path: Path
) -> None:
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


def test_the_path_of_a_checkpoint_may_be_text(coins, quick, tiny_segmenter, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    config = quick(steps=1)
    list(train(tiny_segmenter(n_classes=2), coins(), config, checkpoint=str(path)))
    assert path.is_file()
    with pytest.raises(FileExistsError, match="earlier run is there"):
        next(train(tiny_segmenter(n_classes=2), coins(), config, checkpoint=str(path)))


def test_a_run_that_was_killed_before_its_first_step_resumes(
    coins, quick, tiny_segmenter, steps, checks, tmp_path: Path
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
    coins, quick, tiny_segmenter, same, untimed, steps, tmp_path: Path, stop_at: int, recipe: str
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


def test_a_left_trainer_goes_on(coins, quick, tiny_segmenter, same) -> None:
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
    coins, quick, tiny_segmenter, steps, tmp_path: Path
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
    coins, quick, tiny_segmenter, same, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    list(train(tiny_segmenter(n_classes=2), coins(), quick(steps=1), checkpoint=path))
    alike = coins()  # another image of the same name and shape, with the same labels
    alike.pairs = tuple(replace(pair, image=pair.image // 2) for pair in alike.pairs)
    corrected = coins()  # scores on other labels cannot be compared with those of before
    held_out = corrected.read_labels(corrected.held_out[0])
    held_out[:] = 1 - held_out
    others = {
        r"network \(adapter\)": (tiny_segmenter(n_classes=2, adapter="hp"), coins(), quick()),
        r"settings \(loss\)": (tiny_segmenter(n_classes=2), coins(), quick(loss="composite")),
        r"data \(split\)": (tiny_segmenter(n_classes=2), coins(0.4), quick()),
        r"data \(pixels of the images\)": (tiny_segmenter(n_classes=2), alike, quick()),
        r"data \(labels\)": (tiny_segmenter(n_classes=2), corrected, quick()),
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
