"""The work of the Fine-tune dock, as a generator for a worker thread: it touches arrays, never a layer."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.config import (
    ClassInfo,
    ModelConfig,
    Normalization,
    PredictConfig,
    TrainConfig,
)
from napari_sam2_adapters.data.dataset import Pair
from napari_sam2_adapters.widgets._jobs import Pulse
from napari_sam2_adapters.widgets._store import new_adapter_path

if TYPE_CHECKING:
    from napari_sam2_adapters.data.dataset import Dataset
    from napari_sam2_adapters.models.segmenter import Segmenter
    from napari_sam2_adapters.training.records import Record, StepRecord, ValidationRecord
    from napari_sam2_adapters.training.verdict import Verdict

__all__ = [
    "FineTuned",
    "Learned",
    "Place",
    "Previewed",
    "Said",
    "TrainingRequest",
    "Wish",
    "fine_tune",
    "save_fine_tuned",
]

GUI_INTERVAL_S = 0.1
PREVIEW_INTERVAL_S = 2.0
_PREVIEW_SHARE = 0.2
"""Most of the time that previews may take."""


@dataclass(frozen=True)
class TrainingRequest:
    """What to learn from, and how.

    Attributes
    ----------
    pair
        Arrays as they were taken from the layers.
    classes
        Classes in the order of their indices.
    model, train
        Settings; the number of input channels is taken from the data.
    title
        What the adapter is called.
    pixel_size, unit
        Pixel size (Y, X) and its unit, if known.
    device
        As `choose_device` takes it.
    """

    pair: Pair
    classes: tuple[ClassInfo, ...]
    model: ModelConfig
    train: TrainConfig
    title: str
    pixel_size: tuple[float, float] | None = None
    unit: str | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Place:
    """Part of one plane of the image."""

    plane: tuple[int, ...]
    rows: slice
    columns: slice


@dataclass
class Wish:
    """What the viewer shows now and wants to see segmented; None for nothing. Set by the GUI, read by the worker."""

    place: Place | None = None


@dataclass(frozen=True)
class Said:
    """Something to tell the user."""

    message: str


@dataclass(frozen=True)
class Learned:
    """Steps and held-out checks since the last report."""

    steps: tuple[StepRecord, ...]
    checks: tuple[ValidationRecord, ...]
    seconds_left: float | None


@dataclass(frozen=True)
class Previewed:
    """Label values of a part of the image, with the weights of the moment."""

    place: Place
    labels: NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class FineTuned:
    """What came out.

    Attributes
    ----------
    segmenter
        With the best weights.
    normalization
        To be saved with it.
    verdict
        Before and after.
    path
        File that it was saved in; None when it was no better than before.
    """

    request: TrainingRequest
    segmenter: Segmenter
    normalization: Normalization
    verdict: Verdict
    training: dict[str, Any]
    path: Path | None


@dataclass
class _Report:
    """Collects records until the GUI can take them, and keeps the time without pauses."""

    steps: list[StepRecord] = field(default_factory=list)
    checks: list[ValidationRecord] = field(default_factory=list)
    seconds: float = 0.0
    last_step: int = 0
    of_steps: int = 0

    def take(self, record: Record) -> Said | None:
        """Keep a record; a notice is given back to be shown at once."""
        from napari_sam2_adapters.training.records import StepRecord, ValidationRecord

        if isinstance(record, StepRecord):
            self.steps.append(record)
            self.last_step, self.of_steps = record.step, record.steps
        elif isinstance(record, ValidationRecord):
            self.checks.append(record)
        else:
            return Said(record.message)
        return None

    def send(self) -> Learned:
        """Give what was collected, and start anew."""
        left = None
        if self.last_step:
            left = self.seconds / self.last_step * (self.of_steps - self.last_step)
        report = Learned(tuple(self.steps), tuple(self.checks), left)
        self.steps, self.checks = [], []
        return report


def fine_tune(
    stop: threading.Event, request: TrainingRequest, wish: Wish
) -> Generator[Said | Learned | Previewed, None, FineTuned]:
    """Train an adapter, and say how it goes at most ten times a second.

    Parameters
    ----------
    stop
        When set, training ends at the next step and the best weights are kept.
    request
        What to learn from, and how.
    wish
        Where a preview is wanted.
    """
    from napari_sam2_adapters.data.dataset import build_dataset
    from napari_sam2_adapters.models.checkpoints import build_segmenter
    from napari_sam2_adapters.models.device import choose_device, describe_device
    from napari_sam2_adapters.training.train import Trainer
    from napari_sam2_adapters.training.verdict import judge, training_summary

    train = request.train
    yield Said("Reading image and labels …")
    dataset = build_dataset(
        [request.pair],
        request.classes,
        zero_is=train.zero_is,
        held_out_fraction=train.held_out_fraction,
        seed=train.seed,
        crop_size_px=train.crop_size_px,
    )
    device = choose_device(request.device)
    yield Said(f"Building the network on {describe_device(device)} …")
    model = request.model.model_copy(update={"input_channels": dataset.input_channels})
    segmenter = build_segmenter(model, dataset.classes, device=device)
    trainer = Trainer(segmenter, dataset, train)
    yield Said(f"Learning; {dataset.split_description}.")
    report = _Report()
    with closing(trainer.run()) as records:
        yield from _follow(stop, trainer, records, dataset, wish, report)
    yield report.send()
    if wish.place is not None:
        yield Previewed(wish.place, _preview(segmenter, dataset, wish.place))
    verdict = judge(trainer.history)
    training = training_summary(
        trainer.history, train, split=dataset.split_description, ended=trainer.stop_reason
    )
    training["image"] = request.pair.name
    outcome = FineTuned(request, segmenter, dataset.normalization, verdict, training, None)
    if not verdict.keep:
        return outcome
    path = new_adapter_path(request.title)
    save_fine_tuned(outcome, path)
    return FineTuned(request, segmenter, dataset.normalization, verdict, training, path)


def save_fine_tuned(outcome: FineTuned, path: Path, *, overwrite: bool = False) -> None:
    """Write the adapter file.

    Raises
    ------
    FileExistsError, ValueError
        As `save_adapter`.
    """
    from napari_sam2_adapters.models.model_file import save_adapter

    request, verdict = outcome.request, outcome.verdict
    save_adapter(
        path,
        outcome.segmenter,
        normalization=outcome.normalization,
        tile_size_px=PredictConfig().tile_size_px,
        pixel_size=request.pixel_size,
        unit=request.unit,
        scores=verdict.scores(),
        training=outcome.training,
        overwrite=overwrite,
    )


def _follow(
    stop: threading.Event,
    trainer: Any,
    records: Generator[Record, None, None],
    dataset: Dataset,
    wish: Wish,
    report: _Report,
) -> Generator[Said | Learned | Previewed, None, None]:
    gui, preview = Pulse(GUI_INTERVAL_S), Pulse(PREVIEW_INTERVAL_S)
    since = time.perf_counter()
    for record in records:
        said: list[Said | Learned | Previewed | None] = [report.take(record)]
        if wish.place is not None and report.last_step and preview.due():
            started, place = time.perf_counter(), wish.place
            with trainer.current_weights() as segmenter:
                said.append(Previewed(place, _preview(segmenter, dataset, place)))
            taken = time.perf_counter() - started
            preview.wait(max(PREVIEW_INTERVAL_S, taken / _PREVIEW_SHARE))
        report.seconds += time.perf_counter() - since
        if gui.due():
            said.append(report.send())
        yield from (part for part in said if part is not None)
        since = time.perf_counter()  # what passes at a yield is the user's pause
        if stop.is_set():
            return


def _preview(
    segmenter: Segmenter, dataset: Dataset, place: Place
) -> NDArray[np.unsignedinteger[Any]]:
    from napari_sam2_adapters.data.axes import read_plane
    from napari_sam2_adapters.data.normalize import normalize_plane
    from napari_sam2_adapters.inference.predict import predict

    pair = dataset.pairs[0]
    plane = read_plane(pair.image, pair.axes, place.plane, place.rows, place.columns)
    image = normalize_plane(plane, dataset.limits(0))
    unchanged = Normalization(mode="range", low=0, high=1)
    return predict(segmenter, image, axes="CYX", normalization=unchanged).labels
