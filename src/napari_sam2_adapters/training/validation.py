"""Scores on the held-out pixels, the same ones in every check."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace

import numpy as np

from napari_sam2_adapters.config import PredictConfig, TrainConfig
from napari_sam2_adapters.data.dataset import Dataset
from napari_sam2_adapters.inference.tile_plan import plan_tiles
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training.calibration import LogitSample, assign_folds
from napari_sam2_adapters.training.checks import LONGEST_INTERVAL
from napari_sam2_adapters.training.losses import Loss
from napari_sam2_adapters.training.records import (
    Record,
    ValidationRecord,
    best_check,
    kept_check,
)
from napari_sam2_adapters.training.scoring import Scored, compute_windows, score_windows
from napari_sam2_adapters.training.windows import plan_windows

__all__ = ["HeldOut"]

# A forward pass costs a third of a step: a check then takes about a tenth of the time between two checks.
_CHECK_SHARE = 0.25
_FEWEST_CHECK_CROPS = 16
_LEAST_GAIN = 5e-4
"""Of mean Dice, for which a bias is kept: what shows in three decimals."""


class HeldOut:
    """The held-out pixels of a run, and the check that scores a segmenter on them.

    Parameters
    ----------
    dataset
        Its held-out part is scored.
    config
        How much training lies between two checks, which bounds what one check may cost.
    predict
        Tile size and tiles per pass.
    """

    def __init__(self, dataset: Dataset, config: TrainConfig, predict: PredictConfig) -> None:
        # Not by the length of the run: one that is resumed for longer has to score the same pixels.
        between = config.validate_every or LONGEST_INTERVAL
        crops = max(between * config.batch_size * _CHECK_SHARE, _FEWEST_CHECK_CROPS)
        self._dataset, self._predict = dataset, predict
        self._told: bool | None = None
        self._seed = config.seed
        self.windows, self._there = plan_windows(
            dataset,
            window_px=predict.tile_size_px,
            most_pixels=int(crops * config.crop_size_px**2),
            seed=config.seed,
        )

    @property
    def notice(self) -> str | None:
        """A sentence when not all of the held-out pixels are scored in each check."""
        if len(self.windows) == self._there:
            return None
        return (
            f"Each check scores {len(self.windows)} of {self._there} held-out windows, always the same ones, so "
            "that checks stay short; check less often to score more."
        )

    def take_notice(self) -> str | None:
        """A sentence, once, after a check for which the device's memory was too small; else None."""
        if self._told is not False:
            return None
        self._told = True
        return (
            f"The memory of the device was full even for one held-out window of {self._predict.tile_size_px} px: "
            "such checks are computed by the CPU, which is slower."
        )

    def check(
        self,
        segmenter: Segmenter,
        loss: Loss,
        *,
        step: int,
        to_pass: float | None,
        precision: AbstractContextManager[object],
    ) -> ValidationRecord:
        """Score the segmenter as it is.

        Parameters
        ----------
        to_pass
            Mean Dice that must be passed to be the best; None: anything is.
        """
        started = time.perf_counter()
        scored = score_windows(
            segmenter,
            self._dataset,
            self.windows,
            loss,
            batch_size=self._windows_at_once(segmenter),
            precision=precision,
        )
        if scored.on_cpu and self._told is None:
            self._told = False
        best = to_pass is None or scored.mean_dice > to_pass
        return self._record(segmenter, scored, step, time.perf_counter() - started, best=best)

    def calibrate(
        self,
        segmenter: Segmenter,
        loss: Loss,
        history: Sequence[Record],
        *,
        precision: AbstractContextManager[object],
    ) -> ValidationRecord | None:
        """Find how much larger or smaller the segmenter should draw each class.

        Parameters
        ----------
        segmenter
            With the weights of the best check.
        history
            Records of the run.

        Returns
        -------
        ValidationRecord or None
            With the bias that all windows tell, the network's own included, and scores of each window by what other windows told; None
            when there is nothing to tell it by, when less than half of the windows is labelled, as with strokes, or when it is no better than
            what is kept.
        """
        started = time.perf_counter()
        best, kept = best_check(history)[0], kept_check(history)
        divided = assign_folds(self.windows)
        if divided is None or best is None or kept is None:
            return None
        folds, images = divided
        counts = np.stack([window.class_counts for window in self.windows])
        if 2 * counts.sum() < sum(window.core_area for window in self.windows):
            return None
        batch_size = self._windows_at_once(segmenter)
        per_fold = np.stack([counts[folds == fold].sum(axis=0) for fold in range(len(images))])
        there = self._dataset.labelled_pixels(self._dataset.held_out)
        sample = LogitSample(per_fold, images, there, self._seed)
        computed = compute_windows(segmenter, self._dataset, self.windows, batch_size, precision)
        with closing(computed) as batches:
            for batch in batches:
                for n, (logits, truth) in enumerate(
                    zip(batch.logits.cpu(), batch.truth, strict=True), batch.first
                ):
                    sample.add(int(folds[n]), logits, truth.numpy())
        found = [sample.class_bias(without=fold) for fold in range(len(images))]
        whole = sample.class_bias()
        if not (np.any(found) and whole.any()):
            return None
        scored = score_windows(
            segmenter,
            self._dataset,
            self.windows,
            loss,
            batch_size=batch_size,
            precision=precision,
            class_bias=np.stack(found)[folds],
        )
        if not scored.mean_dice > kept.mean_dice + _LEAST_GAIN:
            return None
        bias = segmenter.class_bias.cpu().numpy() + whole
        record = self._record(
            segmenter, scored, best.step, time.perf_counter() - started, best=True
        )
        return replace(record, class_bias=dict(zip(record.dice, bias.tolist(), strict=True)))

    def _record(
        self, segmenter: Segmenter, scored: Scored, step: int, seconds: float, *, best: bool
    ) -> ValidationRecord:
        names = [info.name for info in segmenter.classes]
        return ValidationRecord(
            step=step,
            dice=dict(zip(names, scored.dice.tolist(), strict=True)),
            iou=dict(zip(names, scored.iou.tolist(), strict=True)),
            mean_dice=scored.mean_dice,
            loss=scored.loss,
            best=best,
            seconds=seconds,
            pixels=scored.pixels,
        )

    def _windows_at_once(self, segmenter: Segmenter) -> int:
        if self._predict.batch_size is not None or segmenter.device.type == "cpu":
            return self._predict.batch_size or 1
        return plan_tiles(segmenter, self._predict).at_once
