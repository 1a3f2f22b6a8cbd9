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
    checkpoint: Path | None = None,
    predict: PredictConfig | None = None,
    resume: bool = False,
) -> Generator[Record, None, None]:
    """Train a segmenter in place, yielding its records; see :class:`Trainer`.

    Parameters
    ----------
    resume
        Go on from the checkpoint file rather than start anew.

    Raises
    ------
    FileExistsError
        When the checkpoint file is there and is not to be resumed from: a new run never overwrites it.
    """
    if checkpoint is not None and checkpoint.exists() and not resume:
        raise FileExistsError(
            f"The checkpoint {checkpoint} of an earlier run is there; resume from it, or choose another file."
        )
    trainer = Trainer(segmenter, dataset, config, checkpoint=checkpoint, predict=predict)
    if resume:
        trainer.resume()
    yield from trainer.run()
