"""What the dock asks of a training, and what the training tells it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.config import ClassInfo, ModelConfig, Normalization, TrainConfig
from napari_sam2_adapters.data.dataset import Pair
from napari_sam2_adapters.data.splitting import Split
from napari_sam2_adapters.widgets.annotation.snapshots import LabelsToSave
from napari_sam2_adapters.widgets.fine_tuning.runs import SavedRun

if TYPE_CHECKING:
    from napari_sam2_adapters.models.segmenter import Segmenter
    from napari_sam2_adapters.training.records import StepRecord, ValidationRecord
    from napari_sam2_adapters.training.verdict import Verdict

__all__ = [
    "FineTuned",
    "Learned",
    "Place",
    "Previewed",
    "Said",
    "Start",
    "TrainingRequest",
    "Update",
    "Wish",
]


@dataclass(frozen=True)
class Start:
    """An adapter to train further.

    Attributes
    ----------
    name
        What it is called.
    path
        Its file; not needed when the network is in memory.
    segmenter, normalization
        The network in memory, and how its images were scaled.
    split
        Division of its training, whose held-out part is kept; None when it is not known.
    """

    name: str
    path: Path | None = None
    segmenter: Segmenter | None = None
    normalization: Normalization | None = None
    split: Split | None = None


@dataclass(frozen=True)
class TrainingRequest:
    """What to learn from, and how.

    Attributes
    ----------
    pairs
        Arrays as they were taken from the layers.
    labels
        What is needed to keep a copy of each pair's labels.
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
    start
        Adapter to go on from; None for a fresh one.
    resume
        Stopped run to finish, with its own labels and settings.
    """

    pairs: tuple[Pair, ...]
    labels: tuple[LabelsToSave, ...]
    classes: tuple[ClassInfo, ...]
    model: ModelConfig
    train: TrainConfig
    title: str
    pixel_size: tuple[float, float] | None = None
    unit: str | None = None
    device: str = "auto"
    start: Start | None = None
    resume: SavedRun | None = None


@dataclass(frozen=True)
class Place:
    """Part of one plane of the image of a pair."""

    plane: tuple[int, ...]
    rows: slice
    columns: slice
    pair: int = 0


@dataclass
class Wish:
    """What the user wants of a training at work. Set by the GUI, read by the worker.

    Attributes
    ----------
    place
        The part on show, to be segmented; None for nothing.
    shown
        Set as soon as a preview is in the window; the worker waits for the first one, so that the window has both cores for it.
    classes
        The classes with the names and colours that they were given since the start; empty for none.
    """

    place: Place | None = None
    shown: threading.Event | None = None
    classes: tuple[ClassInfo, ...] = ()


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
    request
        What was asked for, without the arrays of images and labels.
    segmenter
        With the best weights.
    normalization
        To be saved with it.
    verdict
        Before and after.
    training
        Summary for the file.
    split
        What was learnt from and what was held out.
    path
        File that it was saved in; None when it was no better than before.
    resumable
        Whether the run was stopped before its end and can be finished.
    refused
        The latest weights where no check was better than the start, for whoever wants them all the same; else None.
    scores
        The entry of the file, of the best weights; empty without held-out pixels, and for refused ones, which no check is of.
    """

    request: TrainingRequest
    segmenter: Segmenter
    normalization: Normalization
    verdict: Verdict
    training: dict[str, Any]
    split: Split
    path: Path | None = None
    resumable: bool = False
    refused: Segmenter | None = None
    scores: dict[str, Any] = field(default_factory=dict)

    @property
    def to_save(self) -> Segmenter | None:
        """The network that a file is written of; None where nothing was learnt."""
        return self.segmenter if self.verdict.keep else self.refused


Update = Said | Learned | Previewed
