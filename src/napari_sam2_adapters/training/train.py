"""Training as a generator: a record per step and per held-out check, and the best weights kept however it ends."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from napari_sam2_adapters.config import PredictConfig, TrainConfig
from napari_sam2_adapters.data.dataset import Dataset
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training.records import (
    NoticeRecord,
    Record,
    StepRecord,
    ValidationRecord,
)
from napari_sam2_adapters.training.trainer import Trainer

__all__ = ["NoticeRecord", "Record", "StepRecord", "Trainer", "ValidationRecord", "train"]


def train(
    segmenter: Segmenter,
    dataset: Dataset,
    config: TrainConfig,
    *,
    checkpoint: Path | str | None = None,
    predict: PredictConfig | None = None,
    resume: bool = False,
) -> Generator[Record, None, None]:
    """Train a segmenter in place, yielding a record after each step and each check.

    It may be left at any record: the best weights so far are in the segmenter then.

    Parameters
    ----------
    segmenter
        Fresh, or trained before; its classes and channels must be those of the data.
    dataset
        Regions to learn from and held-out ones, from `build_dataset`.
    config
        Recipe, loss, batch, crops and when to stop.
    checkpoint
        File to go on from later, written at every check and at the end; None: no file.
    predict
        Its tile size and batch size are those of the held-out checks.
    resume
        Go on from the checkpoint file rather than start anew.

    Yields
    ------
    StepRecord, ValidationRecord or NoticeRecord
        What was learnt in a step, how the held-out part is segmented, and what else is to be told.

    Raises
    ------
    ValueError
        When classes or channels of segmenter and dataset differ, nothing can learn, or the checkpoint is of another run.
    FileExistsError
        When the checkpoint file is there and is not to be resumed from: a new run never overwrites it.
    """
    checkpoint = None if checkpoint is None else Path(checkpoint)
    if checkpoint is not None and checkpoint.exists() and not resume:
        raise FileExistsError(
            f"The checkpoint {checkpoint} of an earlier run is there; resume from it, or choose another file."
        )
    trainer = Trainer(segmenter, dataset, config, checkpoint=checkpoint, predict=predict)
    if resume:
        trainer.resume()
    yield from trainer.run()
