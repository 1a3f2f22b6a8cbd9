"""Scores on the held-out pixels: the same ones in every check, and more of them to calibrate by."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.config import PredictConfig, TrainConfig
from napari_sam2_adapters.data.dataset import Dataset
from napari_sam2_adapters.inference.tile_plan import plan_tiles
from napari_sam2_adapters.metrics import confusion_matrix
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training.calibration import Folds, LogitSample, assign_folds
from napari_sam2_adapters.training.checks import LONGEST_INTERVAL
from napari_sam2_adapters.training.losses import Loss
from napari_sam2_adapters.training.records import (
    Record,
    ValidationRecord,
    best_check,
    first_check,
    kept_check,
)
from napari_sam2_adapters.training.scoring import Scored, compute_windows, score_windows
from napari_sam2_adapters.training.windows import Window, choose_windows, labelled_windows

__all__ = ["HeldOut"]

# A forward pass costs a third of a step: a check then takes about a tenth of the time between two checks.
_CHECK_SHARE = 0.25
_FEWEST_CHECK_CROPS = 16
_CALIBRATION_CHECKS = 4
"""As many times as many pixels as a check has a run is calibrated by, once: what few windows tell is rough."""
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
        self._labelled = labelled_windows(dataset, predict.tile_size_px)
        self._most_pixels = int(crops * config.crop_size_px**2)
        self._checked = self._choose(self._most_pixels)
        self.windows = [self._labelled[index] for index in self._checked]

    def _choose(self, most_pixels: int) -> list[int]:
        return choose_windows(self._labelled, most_pixels=most_pixels, seed=self._seed)

    @cached_property
    def _to_calibrate_by(self) -> tuple[list[int], Folds | None]:
        """Which windows a run is calibrated by, and their folds; None when they are one, or less than half labelled, as with strokes."""
        chosen = self._choose(_CALIBRATION_CHECKS * self._most_pixels)
        windows = [self._labelled[index] for index in chosen]
        labelled = sum(int(window.class_counts.sum()) for window in windows)
        enough = 2 * labelled >= sum(window.core_area for window in windows)
        return chosen, assign_folds(windows, self._dataset.checksums) if enough else None

    @property
    def tells_bias(self) -> bool:
        """Whether there is enough held out to calibrate by."""
        return self._to_calibrate_by[1] is not None

    @property
    def notice(self) -> str | None:
        """A sentence when not all of the held-out pixels are scored in each check."""
        if len(self.windows) == len(self._labelled):
            return None
        return (
            f"Each check scores {len(self.windows)} of {len(self._labelled)} held-out windows, always the same ones, so "
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
            With the bias that all held-out windows tell, up to as many as four checks score, the network's own included, and scores of each
            window by what other windows told; None when there is nothing to tell it by, or when it is no better on them than without, or than
            what was calibrated before.
        """
        started = time.perf_counter()
        best, kept = best_check(history)[0], kept_check(history)
        chosen, divided = self._to_calibrate_by
        if divided is None or best is None or kept is None:
            return None
        folds, images = divided
        windows = [self._labelled[index] for index in chosen]
        counts = np.stack([window.class_counts for window in windows])
        per_fold = np.stack([counts[folds == fold].sum(axis=0) for fold in range(len(images))])
        there = self._dataset.labelled_pixels(self._dataset.held_out)
        sample = LogitSample(per_fold, images, there, self._seed)
        without = self._sample_logits(sample, segmenter, windows, folds, precision)
        found = [sample.class_bias(without=fold) for fold in range(len(images))]
        whole = sample.class_bias()
        if not (np.any(found) and whole.any()):
            return None
        told_by_others = np.stack(found)[folds]
        checked = np.isin(chosen, self._checked)
        of_check, of_rest = (
            score_windows(
                segmenter,
                self._dataset,
                [window for window, one in zip(windows, part, strict=True) if one],
                loss,
                batch_size=self._windows_at_once(segmenter),
                precision=precision,
                class_bias=told_by_others[part],
            )
            for part in (checked, ~checked)
        )
        of_all = of_check + of_rest
        to_pass = max(without.mean_dice, kept.calibrated_dice or 0.0)
        before = first_check(history)
        no_worse = before is None or of_check.mean_dice > before.mean_dice
        if not (no_worse and of_all.mean_dice > to_pass + _LEAST_GAIN):
            return None
        bias = segmenter.class_bias.cpu().numpy() + whole
        record = self._record(
            segmenter, of_check, best.step, time.perf_counter() - started, best=True
        )
        return replace(
            record,
            class_bias=dict(zip(record.dice, bias.tolist(), strict=True)),
            calibrated_pixels=of_all.pixels,
            calibrated_dice=of_all.mean_dice,
            uncalibrated_dice=without.mean_dice,
        )

    def _sample_logits(
        self,
        sample: LogitSample,
        segmenter: Segmenter,
        windows: Sequence[Window],
        folds: NDArray[np.int64],
        precision: AbstractContextManager[object],
    ) -> Scored:
        """Let the sample see the logits of all windows, and give the scores of the segmenter as it is."""
        confusion = np.zeros((segmenter.n_classes,) * 2, dtype=np.int64)
        batch_size = self._windows_at_once(segmenter)
        computed = compute_windows(segmenter, self._dataset, windows, batch_size, precision)
        with closing(computed) as batches:
            for batch in batches:
                for n, (logits, truth) in enumerate(
                    zip(batch.logits.cpu(), batch.truth.numpy(), strict=True), batch.first
                ):
                    sample.add(int(folds[n]), logits, truth)
                    confusion += confusion_matrix(
                        truth, logits.argmax(dim=0).numpy(), segmenter.n_classes
                    )
        return Scored(confusion)

    def _record(
        self, segmenter: Segmenter, scored: Scored, step: int, seconds: float, *, best: bool
    ) -> ValidationRecord:
        names = [info.name for info in segmenter.classes]
        # of a class that is not held out a stray pixel would tell 0
        dice, iou = (np.where(scored.is_true, s, np.nan) for s in (scored.dice, scored.iou))
        return ValidationRecord(
            step=step,
            dice=dict(zip(names, dice.tolist(), strict=True)),
            iou=dict(zip(names, iou.tolist(), strict=True)),
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
