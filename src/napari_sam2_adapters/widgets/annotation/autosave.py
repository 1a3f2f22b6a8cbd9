"""Painted labels saved by themselves: once a minute while there is something new, and what a killed program left."""

from __future__ import annotations

import json
import math
import re
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam2_adapters.atomic import machine_id
from napari_sam2_adapters.processes import ProcessId, is_alive, this_process
from napari_sam2_adapters.widgets.annotation.snapshots import (
    LabelsToSave,
    SavedLabels,
    autosave_folder,
    list_snapshots,
    prune,
    snapshot_path,
    write_snapshot,
)
from napari_sam2_adapters.widgets.docks.jobs import Question
from napari_sam2_adapters.widgets.docks.log import show_failure
from napari_sam2_adapters.widgets.docks.preferences import preferences, watch_preferences

__all__ = ["Autosave", "find_lost", "forget_lost", "save_labels"]

_SESSION = re.compile(r"([0-9a-f]{8})-(\d+)-(\d+)-([0-9a-f]*)-")
_OFFERED_S = 3600
"""Sessions of another machine that shares the folder, which may be open there, are not lost until nothing is saved for this long."""
_LARGEST_LAZY_BYTES = 2**29
"""Larger labels that are not in memory are kept by their own file: painting writes into it at once."""


class Autosave(QObject):
    """Saves labels layers in a worker, from the GUI thread's timer.

    Parameters
    ----------
    collect
        Gives what is to be saved; called on the GUI thread.
    parent
        Qt parent.
    """

    done = Signal()

    def __init__(
        self,
        collect: Callable[[], Sequence[LabelsToSave]],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        process = this_process()
        at_work = f"{machine_id()}-{process.number}-{process.started:.0f}-{process.system}"
        self.session = f"{at_work}-{uuid.uuid4().hex[:8]}"
        self._collect = collect
        self._checksums: dict[str, int] = {}
        self._dirty = False
        self._ended = threading.Event()
        self._saving = Question(self)
        self._saving.answered.connect(self._take_checksums)
        self._saving.failed.connect(show_failure)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.save)
        self.take_preferences()
        watch_preferences(self.take_preferences)

    @property
    def saving(self) -> bool:
        """Whether a worker is writing."""
        return self._saving.waiting

    def take_preferences(self, *_: object) -> None:
        """Look as often as the preferences say."""
        minutes = preferences().autosave_minutes
        self._timer.stop()
        if minutes:
            self._timer.start(minutes * 60_000)

    def touch(self) -> None:
        """Say that labels have changed."""
        self._dirty = True

    def save(self) -> None:
        """Save what has changed since the last time, in a worker."""
        if not self._dirty or self.saving:
            return
        layers = list(self._collect())
        if not layers:
            return
        self._dirty = False
        if self._ended.is_set():
            self._ended = threading.Event()
        self._saving.ask(
            _save_unless_ended, self._ended, layers, self.session, dict(self._checksums)
        )

    def stop(self) -> None:
        """Look no more."""
        self._timer.stop()

    def _take_checksums(self, checksums: dict[str, int]) -> None:
        self._checksums = checksums
        self.done.emit()

    def end(self) -> None:
        """Save and say that this session ended as it should; the interpreter waits for it, not the GUI.

        Labels that are saved later open it again, in case that somebody did not want to close after all.
        """
        layers = list(self._collect()) if self._dirty else []
        self._dirty = False
        self._ended.set()
        threading.Thread(
            target=_save_and_close, args=(layers, self.session, self._checksums), daemon=False
        ).start()


def save_labels(
    layers: Sequence[LabelsToSave],
    session: str,
    checksums: dict[str, int],
    *,
    also_large: bool = False,
) -> dict[str, int]:
    """Write a snapshot of each layer that is not as it was last saved, then delete the oldest ones.

    Parameters
    ----------
    layers
        What to save.
    session
        Which opening of the dock saves; empty when it need not be found after a crash.
    checksums
        By layer, of what was saved last.
    also_large
        Save also labels on disk that are too large to be saved every minute.

    Returns
    -------
    dict
        The checksums, brought up to date.
    """
    folder = autosave_folder()
    if session:
        _marker(folder, session).write_text(json.dumps({"session": session}), encoding="utf-8")
    for layer in layers:
        if not also_large and _kept_elsewhere(layer):
            continue
        path = snapshot_path(folder, layer.name)
        checksum = write_snapshot(path, layer, session)
        if checksums.get(layer.layer_id) == checksum:
            path.unlink()
        checksums[layer.layer_id] = checksum
    prune(folder, _sessions(folder))
    return checksums


def find_lost() -> list[SavedLabels]:
    """The newest snapshot of each layer of the sessions that were killed, the newest first."""
    folder = autosave_folder()
    dead = {session for session in _sessions(folder) if not _is_open(folder, session)}
    newest: dict[str, SavedLabels] = {}
    for saved in list_snapshots(folder):
        if saved.session in dead and saved.pixels:
            newest.setdefault(f"{saved.session} {saved.layer_id}", saved)
    return list(newest.values())


def forget_lost(sessions: Sequence[str]) -> None:
    """Offer the labels of these sessions no more as lost; their snapshots stay."""
    for session in sessions:
        _marker(autosave_folder(), session).unlink(missing_ok=True)


def _save_unless_ended(
    ended: threading.Event,
    layers: Sequence[LabelsToSave],
    session: str,
    checksums: dict[str, int],
) -> dict[str, int]:
    """As `save_labels`; a session that has ended meanwhile, as when the window closes, is not open again for it."""
    checksums = save_labels(layers, session, checksums)
    if ended.is_set():
        forget_lost([session])
    return checksums


def _save_and_close(
    layers: Sequence[LabelsToSave], session: str, checksums: dict[str, int]
) -> None:
    if layers:
        save_labels(layers, session, checksums)
    forget_lost([session])


def _marker(folder: Path, session: str) -> Path:
    """File that is there while a session is open, and stays when it is killed."""
    return folder / f"open-{session}.json"


def _sessions(folder: Path) -> set[str]:
    """Sessions that are open, or were killed and are still to be offered."""
    return {path.stem.removeprefix("open-") for path in folder.glob("open-*.json")}


def _is_open(folder: Path, session: str) -> bool:
    named = _SESSION.match(session)
    if named is None:  # a copy by another name, such as that of a cloud drive
        return False
    machine, number, started, system = named.groups()
    if machine != machine_id():
        try:
            return time.time() - _marker(folder, session).stat().st_mtime < _OFFERED_S
        except FileNotFoundError:  # it has ended just now
            return True
    return is_alive(ProcessId(int(number), float(started), system))


def _kept_elsewhere(layer: LabelsToSave) -> bool:
    size = math.prod(layer.labels.shape) * np.dtype(layer.labels.dtype).itemsize
    return not isinstance(layer.labels, np.ndarray) and size > _LARGEST_LAZY_BYTES
