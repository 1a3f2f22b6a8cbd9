"""Runs that were stopped or killed: their settings, labels and checkpoint in a folder each, so that they can be resumed."""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from napari_sam2_adapters.atomic import machine_id, write_atomically
from napari_sam2_adapters.config import ClassInfo, ModelConfig, Normalization, Settings, TrainConfig
from napari_sam2_adapters.data.packed_split import unpack_split
from napari_sam2_adapters.data.splitting import Split
from napari_sam2_adapters.processes import ProcessId, is_alive, this_process
from napari_sam2_adapters.widgets.annotation.snapshots import (
    SUFFIX,
    LabelsToSave,
    read_snapshot,
    write_snapshot,
)
from napari_sam2_adapters.widgets.docks.load_torch import load_torch
from napari_sam2_adapters.widgets.docks.store import adapters_folder

if TYPE_CHECKING:
    from napari_sam2_adapters.data.dataset import Pair

__all__ = [
    "ImageOfRun",
    "RunCard",
    "SavedRun",
    "discard_run",
    "find_runs",
    "forget_run",
    "leave_run",
    "open_run",
    "read_labels",
    "take_run",
]

KEPT = 3
_OFFERED_S, _DELETED_S = 3600, 86_400
"""Runs of another machine, which may still be at work on them, are not offered or not deleted until they are unchanged for this long."""
_CARD, _CHECKPOINT = "run.json", "checkpoint.safetensors"

_log = logging.getLogger(__name__)


class ImageOfRun(Settings):
    """An image of a run, as it is known again in the viewer."""

    name: str
    shape: tuple[int, ...]
    axes: str
    rgb: bool


class RunCard(Settings):
    """What a run was started with."""

    title: str
    model: ModelConfig
    train: TrainConfig
    classes: tuple[ClassInfo, ...]
    images: tuple[ImageOfRun, ...]
    normalization: Normalization | None
    split: tuple[tuple[Any, ...], ...]
    """Regions of the training that it went on from."""
    pixel_size: tuple[float, float] | None
    unit: str | None
    process: tuple[int, float]
    """Number and start of the process at work, as in `ProcessId`."""
    names: tuple[ClassInfo, ...] = ()
    """The classes as they were called when it was left; its checkpoint tells scores by their names at the start."""
    system: str = ""
    """The start of the system that it belongs to."""
    machine: str = ""
    """Where that runs; not in files of earlier versions, which are taken for those of this machine."""


@dataclass(frozen=True)
class SavedRun:
    """A run that can be resumed.

    Attributes
    ----------
    folder, card
        Where it is and what it was started with.
    step
        Steps in its checkpoint.
    time
        When that was written.
    """

    folder: Path
    card: RunCard
    step: int
    time: float

    @property
    def checkpoint(self) -> Path:
        """Its checkpoint file."""
        return self.folder / _CHECKPOINT

    @property
    def before(self) -> Split | None:
        """Division of the training that it went on from."""
        return unpack_split(self.card.split)

    @property
    def sentence(self) -> str:
        """What it is, in words."""
        when = datetime.fromtimestamp(self.time).strftime("%d %b %H:%M")
        return f"{self.card.title}, step {self.step} of {self.card.train.steps}, {when}"


def open_run(card: RunCard, labels: Sequence[LabelsToSave]) -> Path:
    """Make the folder of a run that starts, with a copy of its labels; give the path of its checkpoint.

    The oldest runs that can be resumed are deleted, and those that never took a step, but none that is at work.
    """
    stem = re.sub(r"[^\w-]+", "-", card.title).strip("-")[:60] or "run"
    folder = _folder() / f"{stem}-{datetime.now().strftime('%Y%m%d-%H%M%S-%f')}"
    folder.mkdir()
    try:
        for number, layer in enumerate(labels):
            write_snapshot(folder / f"labels{number}{SUFFIX}", layer)
        _write_card(folder, card.model_copy(update=_this_process()))
    except BaseException:
        shutil.rmtree(folder)
        raise
    others = [other for other in _folders() if other != folder]
    idle = [other for other in others if not _at_work(other, _DELETED_S)]
    kept = [other for other in idle if _has_learnt(other)][: KEPT - 1]
    for other in idle:
        if other not in kept:
            shutil.rmtree(other, ignore_errors=True)  # another window may do the same
    return folder / _CHECKPOINT


def take_run(run: SavedRun) -> None:
    """Say that this process is at work on a run.

    Raises
    ------
    ValueError
        When another window is at work on it, or has finished or discarded it, since it was offered.
    """
    _check_free(run)
    _write_card(run.folder, run.card.model_copy(update=_this_process()))


def leave_run(checkpoint: Path, names: tuple[ClassInfo, ...] = ()) -> None:
    """Say that nobody is at work on a run any more; it can be resumed, or is deleted when it has not taken a step.

    What was trained is not lost when that cannot be said; the log tells why.

    Parameters
    ----------
    checkpoint
        Of the run.
    names
        The classes as they are called now; empty for no change.
    """
    if not _has_learnt(checkpoint.parent):
        forget_run(checkpoint)
        return
    try:
        card = _read_card(checkpoint.parent)
        left = {"process": (0, 0.0), "names": names or card.names}
        _write_card(checkpoint.parent, card.model_copy(update=left))
    except (OSError, ValueError) as error:
        _log.warning("The run in %s cannot be resumed: %s", checkpoint.parent, error)


def forget_run(checkpoint: Path) -> None:
    """Delete the folder of a run that has ended."""
    shutil.rmtree(checkpoint.parent, ignore_errors=True)


def discard_run(run: SavedRun) -> None:
    """Delete a run that was offered; raises as `take_run`."""
    _check_free(run)
    forget_run(run.checkpoint)


def _check_free(run: SavedRun) -> None:
    if not run.checkpoint.is_file():
        raise ValueError(
            f"The run {run.card.title} is not there any more: it was finished or discarded in another window. Start a new one."
        )
    if _at_work(run.folder, _OFFERED_S):
        raise ValueError(
            f"Another window has resumed the run {run.card.title} meanwhile. Leave it to that window, or stop it there first."
        )


def find_runs() -> list[SavedRun]:
    """Runs that can be resumed, the newest first; called in a worker. Damaged ones are named in the log and left out."""
    folders = [folder for folder in _folders() if not _at_work(folder, _OFFERED_S)]
    found = []
    for folder in folders:
        try:
            step, card = _step(folder), _read_card(folder)
            if 0 < step < card.train.steps:
                found.append(SavedRun(folder, card, step, (folder / _CHECKPOINT).stat().st_mtime))
        except (ValueError, OSError) as error:
            _log.warning("%s", error)
    return found


def read_labels(run: SavedRun, pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """The images of a run with the labels that it was started with.

    Parameters
    ----------
    run
        The run.
    pairs
        Its images in order; their labels are not looked at.

    Raises
    ------
    ValueError
        When a copy of the labels is damaged.
    """
    return tuple(
        replace(pair, labels=read_snapshot(run.folder / f"labels{number}{SUFFIX}")[1])
        for number, pair in enumerate(pairs)
    )


def _folder() -> Path:
    folder = adapters_folder().parent / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _folders() -> list[Path]:
    """Folders of runs, the newest first."""
    found = []
    for folder in _folder().iterdir():
        try:
            found.append(((folder / _CARD).stat().st_mtime, folder))
        except (FileNotFoundError, NotADirectoryError):  # not a run, or deleted by another window
            continue
    return [folder for _, folder in sorted(found, reverse=True)]


def _step(folder: Path) -> int:
    """Steps in the checkpoint of a run; 0 for one that was killed before its first check."""
    checkpoint = folder / _CHECKPOINT
    if not checkpoint.is_file():
        return 0
    load_torch()
    from napari_sam2_adapters.training.checkpoint import read_progress

    return read_progress(checkpoint)


def _has_learnt(folder: Path) -> bool:
    """Whether a run has taken a step that it can be resumed from; one that cannot be read may have."""
    try:
        return _step(folder) > 0
    except (ValueError, OSError) as error:
        _log.warning("%s", error)
        return True


def _this_process() -> dict[str, Any]:
    own = this_process()
    process = own.number, own.started
    return {"process": process, "system": own.system, "machine": machine_id()}


def _at_work(folder: Path, elsewhere_s: float) -> bool:
    """Whether a living process is at work on a run; one of another machine that shares the folder is for so long after the last writing."""
    try:
        card = _read_card(folder)
        process = ProcessId(*card.process, card.system)
        if card.machine not in ("", machine_id()):
            written = max(path.stat().st_mtime for path in folder.iterdir())
            return process.number > 0 and time.time() - written < elsewhere_s
        return is_alive(process)
    except (FileNotFoundError, ValueError):
        return False


def _write_card(folder: Path, card: RunCard) -> None:
    path = folder / _CARD
    # not by pydantic, which writes no name of a file that is not UTF-8
    content = json.dumps(card.model_dump(mode="json")).encode()
    write_atomically(path, lambda file: file.write(content), overwrite=True)


def _read_card(folder: Path) -> RunCard:
    path = folder / _CARD
    try:
        return RunCard.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        wrong = error.error_count() if isinstance(error, ValidationError) else 1
        raise ValueError(
            f"The run in {folder} cannot be read ({wrong} wrong entries). Start anew, or delete the folder."
        ) from error
