"""``sam2-adapters train``: fine-tune an adapter on a folder of images and labels."""

from __future__ import annotations

import math
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from napari_sam2_adapters.cli.files import (
    Device,
    Images,
    Labels,
    Overwrite,
    Pattern,
    SettingsFile,
    read_training_files,
)
from napari_sam2_adapters.cli.settings import (
    Sections,
    build_settings,
    read_classes,
    read_sections,
    settings_flags,
)
from napari_sam2_adapters.cli.terminal import JobFailedError, progress_bar
from napari_sam2_adapters.cli.terminal import output as console
from napari_sam2_adapters.config import ModelConfig, Normalization, PredictConfig, TrainConfig

if TYPE_CHECKING:
    from napari_sam2_adapters.training.train import Record, Trainer, ValidationRecord

__all__ = ["run_training", "train", "training_summary", "verdict", "worth_keeping"]


@settings_flags(leave_out={"input_channels"}, model=ModelConfig, train=TrainConfig)
def train(
    flags: Sections,
    images: Images,
    labels: Labels,
    output: Annotated[Path, typer.Option(help="Model file to write, NAME.adapter.safetensors.")],
    pattern: Pattern = "*",
    settings: SettingsFile = None,
    device: Device = "auto",
    resume: Annotated[
        Path | None, typer.Option(help="Go on from this state of an interrupted training.")
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store 16-bit numbers: half the file size.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Fine-tune an adapter on images and labels.

    Ctrl-C stops after the current step and saves the best weights so far. The state of the training lies beside the output
    until training is done; --resume goes on from it.
    """
    sections = read_sections(settings, flags)
    model_config = build_settings(ModelConfig, sections, "model")
    train_config = build_settings(TrainConfig, sections, "train")
    predict_config = build_settings(PredictConfig, sections, "predict")
    normalization = build_settings(Normalization, sections, "normalization")
    classes = read_classes(sections)
    state = resume or _state_file(output)
    _check_outputs(output, None if resume else state, overwrite)
    files = read_training_files(images, labels, pattern)

    from napari_sam2_adapters.data.dataset import build_dataset
    from napari_sam2_adapters.models.checkpoints import build_segmenter
    from napari_sam2_adapters.models.device import choose_device, describe_device
    from napari_sam2_adapters.models.model_file import save_adapter
    from napari_sam2_adapters.training.train import Trainer

    dataset = build_dataset(
        files.pairs,
        classes,
        zero_is=train_config.zero_is,
        normalization=normalization,
        held_out_fraction=train_config.held_out_fraction,
        seed=train_config.seed,
        crop_size_px=train_config.crop_size_px,
    )
    chosen = choose_device(device)
    model_config = model_config.model_copy(update={"input_channels": dataset.input_channels})
    segmenter = build_segmenter(model_config, dataset.classes, device=chosen)
    trainer = Trainer(segmenter, dataset, train_config, checkpoint=state, predict=predict_config)
    if resume:
        trainer.resume(resume)
    names = ", ".join(f"{entry.name} ({entry.value})" for entry in dataset.classes)
    console().print(
        f"{describe_device(chosen)}\nClasses: {names}\nHeld out: {dataset.split_description}"
    )
    stopped = run_training(trainer)
    sentence = verdict(trainer)
    if not worth_keeping(trainer):
        raise JobFailedError(
            f"{sentence} No model file was written; to go on, repeat the command with --resume {state} and more --steps."
        )
    save_adapter(
        output,
        segmenter,
        normalization=dataset.normalization,
        tile_size_px=predict_config.tile_size_px,
        pixel_size=files.pixel_size,
        unit=files.unit,
        **training_summary(trainer, train_config, dataset.split_description),
        half=half,
        overwrite=overwrite,
    )
    console().print(sentence)
    if stopped:
        console().print(
            f"Stopped early; the best weights so far are in {output}. "
            f"To go on, repeat the command with --resume {state} --overwrite."
        )
        return
    console().print(f"{trainer.stop_reason} The adapter is in {output}.")
    if state == _state_file(output):
        state.unlink(missing_ok=True)


def _state_file(output: Path) -> Path:
    return output.with_name(output.name.split(".")[0] + ".checkpoint.safetensors")


def _check_outputs(output: Path, state: Path | None, overwrite: bool) -> None:
    """Refuse before the training what could not be written after it."""
    from napari_sam2_adapters.models.model_file import SUFFIX

    if not output.name.endswith(SUFFIX):
        raise ValueError(
            f"The model file {output.name!r} must end in {SUFFIX!r}. Call it {output.name.split('.')[0]}{SUFFIX}."
        )
    if overwrite:
        return
    if output.exists():
        raise FileExistsError(
            f"{output} is there already. Choose another name, or replace it with --overwrite."
        )
    if state is not None and state.exists():
        raise FileExistsError(
            f"{state} is the state of an interrupted training. Go on with --resume {state}, or start anew with --overwrite."
        )


def run_training(trainer: Trainer) -> bool:
    """Run a training, showing steps and held-out scores as they come.

    The first Ctrl-C (or a polite kill) stops it after the current step, a second one at once; the best weights are in
    the segmenter in either case.

    Returns
    -------
    bool
        Whether it was stopped before its end.
    """
    records = trainer.run()
    with progress_bar() as bar, _stop_requests() as requests:
        try:
            _show_records(records, bar, requests)
        except KeyboardInterrupt:
            return True
        finally:
            records.close()
    return bool(requests)


def _show_records(
    records: Generator[Record, None, None], bar: Progress, requests: list[int]
) -> None:
    from napari_sam2_adapters.training.train import NoticeRecord, StepRecord

    task = bar.add_task("training", total=None)
    for record in records:
        if isinstance(record, StepRecord):
            bar.update(
                task,
                total=record.steps,
                completed=record.step,
                description=f"loss {record.loss:.3f}, {record.images_per_second:.1f} crops/s",
            )
        elif isinstance(record, NoticeRecord):
            console().print(record.message)
        else:
            console().print(_check_line(record))
        if requests:
            return


def _check_line(check: ValidationRecord) -> str:
    classes = ", ".join(f"{name} {score:.3f}" for name, score in check.dice.items())
    return f"step {check.step:4d}  held-out Dice {check.mean_dice:.3f} ({classes}){'  best' if check.best else ''}"


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collect interrupts instead of raising them; the second one is raised as usual."""
    requests: list[int] = []

    def ask(number: int, frame: object) -> None:
        if requests:
            raise KeyboardInterrupt
        requests.append(number)

    watched = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, ask) for number in watched]
    try:
        yield requests
    finally:
        for number, handler in zip(watched, before, strict=True):
            signal.signal(number, handler)


def worth_keeping(trainer: Trainer) -> bool:
    """Whether the kept weights score better than those from before training, or were never scored."""
    before, best = trainer.baseline, trainer.best
    return before is None or best is None or best.step > before.step


def verdict(trainer: Trainer) -> str:
    """Say what training has brought on the held-out pixels, in a sentence."""
    before, best = trainer.baseline, trainer.best
    if before is None or best is None:
        return "Nothing was held out, so there is no honest score of this adapter."
    if not worth_keeping(trainer):
        return f"Training did not raise the held-out mean Dice of {before.mean_dice:.3f}."
    return (
        f"Held-out mean Dice {before.mean_dice:.3f} before training, {best.mean_dice:.3f} at step {best.step} "
        f"(on the same {best.pixels} pixels)."
    )


def training_summary(
    trainer: Trainer, config: TrainConfig, split: str
) -> dict[str, dict[str, Any]]:
    """The entries ``scores`` and ``training`` of the model file, as plain numbers and words."""
    from napari_sam2_adapters.training.train import StepRecord

    steps = [record for record in trainer.history if isinstance(record, StepRecord)]
    before, best = trainer.baseline, trainer.best
    scores: dict[str, Any] = {}
    if before is not None and best is not None:
        scores = {
            "mean_dice": best.mean_dice,
            "dice": _known(best.dice),
            "iou": _known(best.iou),
            "mean_dice_before": before.mean_dice,
            "step": best.step,
            "pixels": best.pixels,
        }
    training = {
        "settings": config.model_dump(mode="json", exclude_none=True),
        "steps": len(steps),
        "seconds": round(sum(record.seconds for record in steps), 1),
        "split": split,
        "ended": trainer.stop_reason or "Stopped by the user.",
    }
    return {"scores": scores, "training": training}


def _known(scores: dict[str, float]) -> dict[str, float]:
    """Without the classes that are nowhere: JSON has no NaN."""
    return {name: score for name, score in scores.items() if not math.isnan(score)}
