"""``sam2-adapters train``: fine-tune an adapter on a folder of images and labels."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from napari_sam2_adapters.cli.files import (
    Device,
    Images,
    Labels,
    MemoryShare,
    Overwrite,
    Pattern,
    SettingsFile,
    check_output_file,
    read_training_files,
)
from napari_sam2_adapters.cli.going_on import EarlierAdapter, naming_state, read_earlier
from napari_sam2_adapters.cli.interrupts import stop_requests
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
from napari_sam2_adapters.wording import counted

if TYPE_CHECKING:
    import torch

    from napari_sam2_adapters.data.dataset import Dataset
    from napari_sam2_adapters.models.segmenter import Segmenter
    from napari_sam2_adapters.training.train import Record, Trainer, ValidationRecord

__all__ = ["run_training", "train"]

_MOST_NAMED = 8


@settings_flags(leave_out={"input_channels"}, model=ModelConfig, train=TrainConfig)
def train(  # noqa: PLR0913, PLR0917 (a flag each)
    flags: Sections,
    images: Images,
    labels: Labels,
    output: Annotated[Path, typer.Option(help="Adapter file to write, NAME.adapter.safetensors.")],
    pattern: Pattern = "*",
    settings: SettingsFile = None,
    device: Device = "auto",
    memory_share: MemoryShare = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on from this state of an interrupted training.")
    ] = None,
    start_from: Annotated[
        Path | None,
        typer.Option(
            help="Train this adapter further, with its network, classes and scaling; what was held out before stays held out."
        ),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store 16-bit numbers: half the file size.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Fine-tune an adapter on images and labels.

    Images without labels are left out: a few painted ones of many are enough.

    Label values are called "class 1", "class 2", … unless the file of --settings names them:

    classes:
      - {value: 1, name: background}
      - {value: 2, name: membrane}

    Ctrl-C stops after the current step and saves the best weights so far.
    The state of the training lies beside the output until it is done;
    --resume goes on from it.
    """
    sections = read_sections(settings, flags)
    model_config = build_settings(ModelConfig, sections, "model")
    train_config = build_settings(TrainConfig, sections, "train")
    predict_config = build_settings(PredictConfig, sections, "predict")
    normalization = build_settings(Normalization, sections, "normalization")
    classes = read_classes(sections)
    state = resume or _state_file(output)
    _check_paths(output, state, resume, overwrite)
    earlier = None
    if start_from is not None:
        earlier = read_earlier(start_from, sections, model_config, normalization, classes or ())
        classes, normalization = earlier.classes, earlier.normalization
    files = read_training_files(images, labels, pattern)
    if files.notice:
        console().print(files.notice)

    from napari_sam2_adapters.data.dataset import build_dataset
    from napari_sam2_adapters.models.device import choose_device, describe_device
    from napari_sam2_adapters.models.model_file import save_adapter
    from napari_sam2_adapters.training.train import Trainer
    from napari_sam2_adapters.training.verdict import judge, training_summary

    dataset = build_dataset(
        files.pairs,
        classes,
        zero_is=train_config.zero_is,
        normalization=normalization,
        held_out_fraction=train_config.held_out_fraction,
        seed=train_config.seed,
        crop_size_px=train_config.crop_size_px,
        before=earlier.split if earlier else None,
    )
    chosen = choose_device(device)
    segmenter = _network(model_config, earlier, dataset, chosen)
    with _alone(output, state, resume, overwrite=overwrite):
        trainer = Trainer(
            segmenter, dataset, train_config, checkpoint=state, predict=predict_config
        )
        if resume:
            trainer.resume(resume)
        names = ", ".join(f"{entry.name} ({entry.value})" for entry in dataset.classes)
        console().print(
            f"{describe_device(chosen)}\nClasses: {names}\nSplit: {dataset.split_description}\n{trainer.plan().sentence}"
        )
        with naming_state(state, resumed=resume is not None):
            stopped = run_training(trainer)
            verdict = judge(trainer.history)
            if not verdict.keep:
                ended, more = ("Stopped early. ", "") if stopped else ("", " and more --steps")
                raise JobFailedError(
                    f"{ended}{verdict.sentence} No adapter file was written; to go on, repeat the command with --resume {state}{more}."
                )
            summary = training_summary(
                trainer.history, train_config, split=dataset.split, ended=trainer.stop_reason
            )
            save_adapter(
                output,
                segmenter,
                normalization=dataset.normalization,
                tile_size_px=predict_config.tile_size_px,
                pixel_size=files.pixel_size,
                unit=files.unit,
                scores=verdict.scores(),
                training=summary | ({"went_on_from": earlier.name} if earlier else {}),
                half=half,
                overwrite=overwrite,
            )
        console().print(verdict.sentence)
        _say_end(trainer, output, state, stopped=stopped)


@contextmanager
def _alone(output: Path, state: Path, resume: Path | None, *, overwrite: bool) -> Iterator[None]:
    """Keep other trainings off the state, which they would write over and delete; refuse an output that cannot be written."""
    from napari_sam2_adapters.atomic import check_writable
    from napari_sam2_adapters.batch.lock import locked_training

    check_writable(output.parent)
    with locked_training(state):
        _check_paths(output, state, resume, overwrite)  # another one may have ended meanwhile
        yield


def _network(
    config: ModelConfig, earlier: EarlierAdapter | None, dataset: Dataset, device: torch.device
) -> Segmenter:
    """The network that learns: a fresh one for these data, or that of an adapter, with the names of now."""
    if earlier is not None:
        return earlier.load(dataset, device)
    from napari_sam2_adapters.models.checkpoints import build_segmenter

    fitting = config.model_copy(update={"input_channels": dataset.input_channels})
    return build_segmenter(fitting, dataset.classes, device=device)


def _say_end(trainer: Trainer, output: Path, state: Path, *, stopped: bool) -> None:
    """Say where the adapter is, and how to go on; the state of a run that has come to its end goes."""
    if stopped:
        console().print(
            f"Stopped early; the best weights so far are in {output}. "
            f"To go on, repeat the command with --resume {state} --overwrite."
        )
        return
    console().print(f"{trainer.stop_reason} The adapter is in {output}.")
    if state.resolve() == _state_file(output).resolve():  # however it was spelt
        state.unlink(missing_ok=True)


def _state_file(output: Path) -> Path:
    """``a.b.checkpoint.safetensors`` for ``a.b.adapter.safetensors``: every adapter has a state of its own."""
    name = output.name.removesuffix(".safetensors").removesuffix(".adapter")
    return output.with_name(f"{name}.checkpoint.safetensors")


def _check_paths(output: Path, state: Path, resume: Path | None, overwrite: bool) -> None:
    """Refuse before the training what could not be written after it, or gone on from."""
    from napari_sam2_adapters.models.model_file import SUFFIX

    check_output_file(output, "--output", f"NAME{SUFFIX}")
    if not output.name.endswith(SUFFIX):
        raise ValueError(
            f"The adapter file {output.name!r} must end in {SUFFIX!r}. Call it {output.name.split('.')[0]}{SUFFIX}."
        )
    if resume is not None and not resume.is_file():
        raise FileNotFoundError(
            f"--resume {resume} does not exist. Check the path, or start anew without --resume."
        )
    if overwrite:
        return
    if output.exists() and resume is None and state.exists():
        raise FileExistsError(
            f"{output} is there already, with the state of its training, which was interrupted, in {state}. Go on with "
            f"--resume {state} --overwrite, choose another name, or start anew with --overwrite, which loses both."
        )
    if output.exists():
        raise FileExistsError(
            f"{output} is there already. Choose another name, or replace it with --overwrite."
        )
    if resume is None and state.exists():
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
    with progress_bar() as bar, stop_requests() as requests:
        try:
            with closing(trainer.run()) as records:  # a second Ctrl-C may come while it settles
                _show_records(records, bar, requests)
        except KeyboardInterrupt:
            return True
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
    """``step   50  held-out Dice 0.812 (cell 0.900, wall 0.724)``; of many classes only the weakest are named."""
    scored = {name: score for name, score in check.dice.items() if not math.isnan(score)}
    absent = [name for name in check.dice if name not in scored]
    named, first = list(scored), ""
    if len(check.dice) > _MOST_NAMED:
        named, first = sorted(scored, key=scored.__getitem__)[:_MOST_NAMED], "weakest: "
        absent = [counted(len(absent), "class", "classes")] if absent else []
    parts = [f"{name} {scored[name]:.3f}" for name in named]
    parts += [f"{name} not held out" for name in absent]
    plain = "  best" if check.best else ""
    mark = plain if check.class_bias is None else "  calibrated"
    return f"step {check.step:4d}  held-out Dice {check.mean_dice:.3f} ({first}{', '.join(parts)}){mark}"
