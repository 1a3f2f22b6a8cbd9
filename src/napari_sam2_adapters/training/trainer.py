"""The run of a training: steps, held-out checks, checkpoints, and the best weights kept however it ends."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from napari_sam2_adapters.config import PredictConfig, TrainConfig
from napari_sam2_adapters.data.dataset import Dataset
from napari_sam2_adapters.models.memory_plan import MemoryPlan
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.training.batches import BatchSource
from napari_sam2_adapters.training.checkpoint import (
    Checkpoint,
    check_identity,
    read_checkpoint,
    write_checkpoint,
)
from napari_sam2_adapters.training.checks import check_interval
from napari_sam2_adapters.training.identity import check_fit, describe_run
from napari_sam2_adapters.training.losses import build_loss
from napari_sam2_adapters.training.optimization import Stepper, reduced_precision
from napari_sam2_adapters.training.recipes import RECIPES
from napari_sam2_adapters.training.records import (
    CALIBRATING,
    Record,
    StepRecord,
    ValidationRecord,
    awaits_calibration,
    score_to_pass,
)
from napari_sam2_adapters.training.run_log import RunLog
from napari_sam2_adapters.training.stopping import progress_of_step, reason_to_stop
from napari_sam2_adapters.training.validation import HeldOut
from napari_sam2_adapters.training.weights import RunWeights

__all__ = ["Trainer"]


class Trainer:
    """Fine-tunes a segmenter in place.

    Parameters
    ----------
    segmenter
        Fresh, or trained before (a warm start); its classes and channels must be those of the data.
    dataset
        Training and held-out regions.
    config
        Recipe, loss, batch, crops and when to stop.
    checkpoint
        File that is written at every check and when the run ends or is closed; None: no file.
    predict
        Its tile size and batch size are those of the held-out checks.

    Attributes
    ----------
    stop_reason
        Why training ended, as a sentence; empty before the end and after it was left.

    Raises
    ------
    ValueError
        When classes or channels of segmenter and dataset differ, or nothing can learn.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        dataset: Dataset,
        config: TrainConfig,
        *,
        checkpoint: Path | None = None,
        predict: PredictConfig | None = None,
    ) -> None:
        check_fit(segmenter, dataset)
        self.stop_reason = ""
        self._log = RunLog()
        self._segmenter, self._config = segmenter, config
        self._checkpoint = checkpoint
        self._recipe = RECIPES[config.recipe]
        self._source = BatchSource(dataset, config, ahead=segmenter.device.type != "cpu")
        # Of dense labels a crop that reaches beyond its image has unlabelled pixels, too, which say nothing new.
        self._strokes = dataset.mostly_unlabelled
        self._loss = build_loss(config.loss, self._source.class_counts)
        self._stepper = Stepper(
            segmenter,
            self._recipe,
            self._loss,
            learning_rate=config.learning_rate,
            batch_size=config.batch_size,
            correct_shares=config.correct_shares and self._strokes,
            crf_weight=config.crf_weight if self._strokes else 0.0,
            recompute=config.recompute,
        )
        self._weights = RunWeights(segmenter, averaged=self._recipe.averaged)
        self._held_out = HeldOut(dataset, config, predict or PredictConfig())
        self._identity = describe_run(
            segmenter, dataset, config, self._source.class_counts, self._held_out.windows
        )
        self._calibrates = config.calibrate and not self._strokes and self._held_out.tells_bias
        self._diverged = self._running = False
        self._plan: MemoryPlan | None = None

    @property
    def history(self) -> list[Record]:
        """Every record so far."""
        return self._log.history

    @property
    def baseline(self) -> ValidationRecord | None:
        """The check before the first step; None without held-out pixels or before it is done."""
        return self._log.baseline

    @property
    def best(self) -> ValidationRecord | None:
        """The scores of the weights that are kept; None without held-out pixels."""
        return self._log.kept

    @property
    def awaits_calibration(self) -> bool:
        """Whether weights were learnt that are calibrated when the run ends; with strokes, which cover classes otherwise than images do, they are not."""
        return self._calibrates and awaits_calibration(self.history)

    def plan(self) -> MemoryPlan:
        """Measure what one crop takes, and say how the batches go through the network; :meth:`run` does so unless it was done."""
        if self._plan is None:
            with self._weights.learning():
                self._plan = self._stepper.plan(self._config.crop_size_px)
        return self._plan

    def run(self) -> Generator[Record, None, None]:
        """Train, yielding a record after each step and each check.

        It may be left at any yield: on close, on an exception and at the end, the best averaged weights are in
        the segmenter (without held-out pixels the latest ones); closed or ended, they are calibrated first, which takes
        as long as two to eight checks. Called again, it goes on where it was left.

        Raises
        ------
        ValueError
            When a run of this trainer is still going.
        MemoryError
            When not even one crop fits into the main memory.
        """
        if self._running:
            raise ValueError("This trainer is already running; close that run before a new one.")
        self.plan()
        self._running = True
        try:
            self._weights.show_latest()
            yield from self._until_stopped()
            if self.awaits_calibration:
                yield self._log.note(CALIBRATING)
            calibrated = self._calibrate()
            self._write_checkpoint()
            if calibrated is not None:
                yield calibrated
        except GeneratorExit:
            self._settle()
            raise
        finally:
            self._weights.show_best()
            self._running = False

    def current_weights(self) -> AbstractContextManager[Segmenter]:
        """The segmenter with the averaged weights in inference mode, for a preview between two records."""
        return self._weights.average_in_segmenter()

    def save_checkpoint(self, path: Path) -> None:
        """Write all that :meth:`resume` needs, between two records or after the end."""
        crops, augmentation = self._source.random_state()
        progress, history = self._log.pack()
        tensors = {
            **self._weights.state(),
            "optimizer": self._stepper.slots(),
            "shares": self._stepper.shares.state(),
            "random": {"augmentation": augmentation},
            "history": history,
        }
        progress |= {"part_size": self._stepper.part_size, "crops": crops}
        write_checkpoint(path, Checkpoint(self._identity, progress, tensors))

    def resume(self, path: Path | None = None) -> None:
        """Take over the state of a checkpoint; :meth:`run` then goes on as if it had never stopped.

        Parameters
        ----------
        path
            None: the trainer's own checkpoint file.

        Raises
        ------
        FileNotFoundError, ValueError
            When there is none, or it is damaged, foreign, or of a run with another network, other data or other
            settings (save steps, time budget, patience, and checks that score the same pixels), or while this
            trainer runs; nothing is changed then.
        """
        if self._running:
            raise ValueError("This trainer is running; close that run before you resume another.")
        path = path or self._checkpoint
        if path is None:
            raise ValueError("Say which checkpoint to resume from: this trainer has no file.")
        saved = read_checkpoint(path)
        check_identity(path, saved.identity, self._identity)
        tensors, progress = saved.tensors, saved.progress
        self._weights.load(tensors)
        self._stepper.restore(tensors.get("optimizer", {}), progress["part_size"])
        self._stepper.shares.load(tensors["shares"])
        self._source.restore(progress["crops"], tensors["random"]["augmentation"])
        self._log.restore(progress, tensors["history"])
        self._diverged, self.stop_reason = False, ""

    def _until_stopped(self) -> Iterator[Record]:
        if not self.history and self._held_out.notice is not None:
            yield self._log.note(self._held_out.notice)
        while True:
            reason = reason_to_stop(
                self._config,
                step=self._log.step,
                seconds=self._log.seconds,
                stale_checks=self._log.stale_checks,
                diverged=self._diverged,
            )
            due = reason is not None or self._log.step % check_interval(self._config) == 0
            if due and self._log.marked_step != self._log.step:
                yield from self._mark()
                continue  # the check may be one too many without a better score
            if reason is not None:
                self.stop_reason = reason
                if self._log.step < self._config.steps:
                    yield self._log.note(reason)
                return
            yield from self._take_step()

    def _take_step(self) -> Iterator[Record]:
        started = time.perf_counter()
        images, labels = self._source.draw()
        loss, rate = self._stepper.take(
            images,
            labels,
            progress=progress_of_step(
                self._config,
                self._log.step,
                self._log.seconds,
                0.0 if self.baseline is None else self.baseline.seconds,
            ),
            seed=self._config.seed * 1_000_003 + self._log.step,
        )
        if math.isnan(loss):
            self._diverged = True
            return
        step = self._log.step + 1
        self._weights.update(step)
        seconds = time.perf_counter() - started
        record = StepRecord(step, self._config.steps, loss, rate, seconds, len(images) / seconds)
        self._log.take(record)
        yield record
        notice = self._stepper.take_notice()
        if notice is not None:
            yield self._log.note(notice)

    def _mark(self) -> Iterator[Record]:
        """Check where there are held-out pixels, and write the checkpoint."""
        record = self._check() if self._held_out.windows else None
        self._log.marked_step = self._log.step
        self._write_checkpoint()
        if record is not None:
            yield record
        notice = self._held_out.take_notice()
        if notice is not None:
            yield self._log.note(notice)

    def _check(self) -> ValidationRecord:
        to_pass = score_to_pass(self.history, self._log.step, strokes=self._strokes)
        with self._weights.average_in_segmenter() as segmenter:
            record = self._held_out.check(
                segmenter,
                self._loss,
                step=self._log.step,
                to_pass=to_pass,
                precision=reduced_precision(segmenter.device, self._recipe),
            )
        self._log.take(record)
        if record.best:
            self._weights.remember_best()
            if self.best is record:
                self._weights.forget_calibrated()
        return record

    def _settle(self) -> None:
        """Write the checkpoint of a run that is left, then score what it learnt if nothing of it was scored yet, and calibrate it."""
        self._write_checkpoint()
        if self._held_out.windows and self._log.marked_step == 0 < self._log.step:
            self._check()
            self._log.marked_step = self._log.step
        self._calibrate()

    def _calibrate(self) -> ValidationRecord | None:
        """Set how readily the best weights draw each class, by the held-out pixels, where that raises their score."""
        if not self.awaits_calibration:
            return None
        with self._weights.best_in_segmenter() as segmenter:
            record = self._held_out.calibrate(
                segmenter,
                self._loss,
                self.history,
                precision=reduced_precision(segmenter.device, self._recipe),
            )
        if record is not None and record.class_bias is not None:
            self._weights.calibrate_best(record.class_bias.values())
            self._log.take(record)
        return record

    def _write_checkpoint(self) -> None:
        if self._checkpoint is not None:
            self.save_checkpoint(self._checkpoint)
