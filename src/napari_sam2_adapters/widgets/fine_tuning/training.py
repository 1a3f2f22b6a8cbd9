"""The work of the Fine-tune dock, as a generator for a worker thread: it touches arrays, never a layer."""

from __future__ import annotations

import copy
import threading
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam2_adapters.config import ClassInfo, PredictConfig, name_anew
from napari_sam2_adapters.data.packed_split import pack_split
from napari_sam2_adapters.widgets.docks.load_torch import loading_modules
from napari_sam2_adapters.widgets.docks.store import new_adapter_path
from napari_sam2_adapters.widgets.fine_tuning.following import (
    GUI_INTERVAL_S,
    Report,
    follow,
    previewed,
)
from napari_sam2_adapters.widgets.fine_tuning.messages import (
    FineTuned,
    Said,
    Start,
    TrainingRequest,
    Update,
    Wish,
)
from napari_sam2_adapters.widgets.fine_tuning.runs import (
    ImageOfRun,
    RunCard,
    SavedRun,
    forget_run,
    leave_run,
    open_run,
    read_labels,
    take_run,
)
from napari_sam2_adapters.widgets.fine_tuning.speed import remember_speed

if TYPE_CHECKING:
    from napari_sam2_adapters.data.dataset import Dataset
    from napari_sam2_adapters.models.segmenter import Segmenter
    from napari_sam2_adapters.training.train import Trainer

__all__ = ["GUI_INTERVAL_S", "fine_tune", "save_fine_tuned"]

Updates = Generator[Update, None, FineTuned]


def fine_tune(stop: threading.Event, request: TrainingRequest, wish: Wish) -> Updates:
    """Train an adapter, and say how it goes at most ten times a second.

    A copy of the labels and a checkpoint are kept on disk until the run has come to its end, so that one that was
    stopped or killed can be resumed.

    Parameters
    ----------
    stop
        When set, training ends at the next step and the best weights are kept.
    request
        What to learn from, and how.
    wish
        Where a preview is wanted, and what classes are called by now.
    """
    from napari_sam2_adapters.models.device import choose_device

    device = choose_device(request.device)
    segmenter: Segmenter | None = None
    if request.start is not None:
        yield Said(f"Reading the adapter {request.start.name} …")
        segmenter, request = _go_on_from(request.start, request, device)
    yield Said("Saving a copy of the labels …")
    run = _open_or_take(request)
    checkpoint = run.checkpoint
    try:
        request = replace(request, pairs=read_labels(run, request.pairs))
        result = yield from _train(stop, request, wish, segmenter, checkpoint, device)
    finally:
        if checkpoint.parent.is_dir():
            leave_run(checkpoint, wish.classes)
    if not result.resumable:
        forget_run(checkpoint)
    return result


def save_fine_tuned(outcome: FineTuned, path: Path, *, overwrite: bool = False) -> None:
    """Write the adapter file.

    Raises
    ------
    FileExistsError, ValueError
        As `save_adapter`; ValueError also when nothing was learnt.
    """
    from napari_sam2_adapters.models.model_file import save_adapter

    request, network = outcome.request, outcome.to_save
    if network is None:
        raise ValueError("Nothing was learnt, so there is no adapter to save. Train first.")
    save_adapter(
        path,
        network,
        normalization=outcome.normalization,
        tile_size_px=PredictConfig().tile_size_px,
        pixel_size=request.pixel_size,
        unit=request.unit,
        scores=outcome.scores,
        training=outcome.training,
        overwrite=overwrite,
    )


def _go_on_from(
    start: Start, request: TrainingRequest, device: Any
) -> tuple[Segmenter, TrainingRequest]:
    """A network of its own with the weights of an adapter, and the request with its settings and classes."""
    from napari_sam2_adapters.models.device import move_apart
    from napari_sam2_adapters.models.model_file import load_adapter

    if start.segmenter is not None:
        segmenter = _apart(start.segmenter)  # the earlier result stays as it was
        if segmenter.device != device:
            move_apart(segmenter, device)
        normalization = start.normalization
    elif start.path is not None:
        segmenter, header = load_adapter(start.path, device=device)
        normalization = header.normalization
    else:
        raise ValueError("There is no adapter to go on from; choose its file, or start afresh.")
    segmenter.classes = name_anew(segmenter.classes, request.classes, start.name)
    start = replace(start, normalization=normalization)
    return segmenter, replace(
        request, classes=segmenter.classes, model=segmenter.config, start=start
    )


def _apart(segmenter: Segmenter) -> Segmenter:
    """A network of its own: the frozen weights are shared, what learns is copied."""
    shared: dict[int, object] = {id(p): p for p in segmenter.parameters() if not p.requires_grad}
    return copy.deepcopy(segmenter, shared)


def _open_or_take(request: TrainingRequest) -> SavedRun:
    """The run to resume, or a new one with labels of its own, which nobody paints in."""
    if request.resume is not None:
        take_run(request.resume)
        return request.resume
    start = request.start
    card = RunCard(
        title=request.title,
        model=request.model,
        train=request.train,
        classes=request.classes,
        images=tuple(
            ImageOfRun(
                name=pair.name,
                shape=tuple(map(int, pair.image.shape)),
                axes=pair.axes,
                rgb=pair.rgb,
            )
            for pair in request.pairs
        ),
        normalization=None if start is None else start.normalization,
        split=pack_split(None if start is None else start.split),
        pixel_size=request.pixel_size,
        unit=request.unit,
        process=(0, 0.0),
    )
    checkpoint = open_run(card, request.labels)
    return SavedRun(checkpoint.parent, card, 0, 0.0)


def _train(
    stop: threading.Event,
    request: TrainingRequest,
    wish: Wish,
    segmenter: Segmenter | None,
    checkpoint: Path,
    device: Any,
) -> Updates:
    with loading_modules():
        from napari_sam2_adapters.models.checkpoints import build_segmenter
        from napari_sam2_adapters.models.device import describe_device
        from napari_sam2_adapters.training.train import Trainer

    report, described = Report(), describe_device(device)
    yield Said("Reading images and labels …")
    dataset = _read_dataset(request)
    if segmenter is None:
        yield Said(f"Building the network on {described} …")
        model = request.model.model_copy(update={"input_channels": dataset.input_channels})
        with loading_modules():
            segmenter = build_segmenter(model, dataset.classes, device=device)
    with loading_modules():  # PyTorch's optimisers bring its compiler
        trainer = Trainer(segmenter, dataset, request.train, checkpoint=checkpoint)
    if request.resume is not None:
        trainer.resume()
        for record in trainer.history:
            report.take(record)
        report.first_step = report.last_step
        yield report.send()
    yield Said(f"{trainer.plan().sentence} Learning; {dataset.split_description}.")
    with closing(trainer.run()) as records:
        yield from follow(stop, trainer, records, dataset, wish, report)
    report.catch_up(trainer.history)
    yield report.send()
    outcome = _judge(request, trainer, segmenter, dataset, wish.classes)
    if wish.place is not None and (last := previewed(segmenter, dataset, wish.place)):
        yield last
    remember_speed(
        described,
        segmenter.config,
        request.train,
        seconds=report.seconds,
        steps=report.last_step - report.first_step,
        memory=report.memory,
    )
    return outcome


def _refused(trainer: Trainer, segmenter: Segmenter) -> Segmenter | None:
    """The latest weights of a run that was no better than its start; None where it learnt nothing, or no numbers."""
    from napari_sam2_adapters.training.records import StepRecord

    if not any(isinstance(record, StepRecord) for record in trainer.history):
        return None
    with trainer.current_weights() as current:
        latest = current.trained_state()
    if not all(bool(tensor.isfinite().all()) for tensor in latest.values()):
        return None
    network = _apart(segmenter)
    network.load_trained_state(latest)
    return network


def _read_dataset(request: TrainingRequest) -> Dataset:
    from napari_sam2_adapters.data.dataset import build_dataset

    train, start, resume = request.train, request.start, request.resume
    normalization, before = None, None
    if resume is not None:
        normalization, before = resume.card.normalization, resume.before
    elif start is not None:
        normalization, before = start.normalization, start.split
    return build_dataset(
        request.pairs,
        request.classes,
        zero_is=train.zero_is,
        normalization=normalization,
        held_out_fraction=train.held_out_fraction,
        seed=train.seed,
        crop_size_px=train.crop_size_px,
        before=before,
    )


def _judge(
    request: TrainingRequest,
    trainer: Trainer,
    segmenter: Segmenter,
    dataset: Dataset,
    named: Sequence[ClassInfo],
) -> FineTuned:
    """Before and after; what is better, or was never scored, is saved, with the names that classes have now."""
    from napari_sam2_adapters.training.records import with_class_names
    from napari_sam2_adapters.training.verdict import judge, training_summary

    now, before = {info.value: info for info in named}, segmenter.classes
    segmenter.classes = tuple(now.get(info.value, info) for info in before)
    pairs = zip(before, segmenter.classes, strict=True)
    history = with_class_names(trainer.history, {old.name: new.name for old, new in pairs})
    verdict = judge(history)
    training = training_summary(
        history,
        request.train,
        split=dataset.split,
        ended=trainer.stop_reason,
    )
    training["image"] = ", ".join(pair.name for pair in request.pairs)
    if request.start is not None:
        training["went_on_from"] = request.start.name
    outcome = FineTuned(
        replace(request, pairs=(), labels=()),  # images and labels may go while it is kept
        segmenter,
        dataset.normalization,
        verdict,
        training,
        dataset.split,
        resumable=not trainer.stop_reason and training["steps"] > 0,
        scores=verdict.scores(),
    )
    if not verdict.keep:
        return replace(outcome, refused=_refused(trainer, segmenter), scores={})
    while True:
        path = new_adapter_path(request.title)
        try:
            save_fine_tuned(outcome, path)
        except FileExistsError:  # another window has just taken this name
            if not path.exists():
                raise
        else:
            return replace(outcome, path=path)
