"""Long work beside the GUI: a generator in a worker thread that can be paused, and stopped with its result kept."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, Signal

from napari_sam2_adapters.widgets._torch import load_torch

__all__ = ["Job", "Pulse"]

_EXPECTED = (ValueError, OSError, MemoryError)
"""Errors whose text is a sentence for the user; any other one is also raised, so that napari shows where it came from."""


@dataclass(frozen=True)
class _Failure:
    """An error on its way to the GUI as a result.

    napari's worker takes a `RuntimeError` for a result anyway, and napari 0.9 stumbles over any other one on PySide6.
    """

    error: Exception


class Pulse:
    """Says when enough seconds have passed since it last said so."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._next = 0.0

    def due(self) -> bool:
        """Whether it is time again."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self.seconds
        return True

    def wait(self, seconds: float) -> None:
        """Not before this many seconds from now."""
        self._next = time.monotonic() + seconds


class Job(QObject):
    """One run of a generator at a time, in a worker thread.

    The generator is called with a `threading.Event` before its own arguments. When that is set it should return early,
    with what it has; its return value then arrives as ever.
    """

    updated = Signal(object)
    ended = Signal(object)
    failed = Signal(str)
    state_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._stop = threading.Event()
        self._worker: Any = None
        self.paused = False

    @property
    def running(self) -> bool:
        """Whether the generator is at work."""
        return self._worker is not None

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self.running and self._stop.is_set()

    def start(self, generate: Callable[..., Generator[Any, None, Any]], *arguments: Any) -> None:
        """Run ``generate(stop, *arguments)`` in a worker.

        Raises
        ------
        ValueError
            When the last run has not ended.
        """
        if self.running:
            raise ValueError("This dock is still at work; stop that first.")
        self._stop, self.paused = threading.Event(), False
        worker = create_worker(_run, generate, self._stop, *arguments, _start_thread=False)
        worker.yielded.connect(self.updated)
        worker.returned.connect(self._end)
        # A paused generator holds its network, so a dock that goes away stops it.
        self.destroyed.connect(self._stop.set)
        self._worker = worker
        self.state_changed.emit()
        worker.start()

    def stop(self) -> None:
        """Ask the work to end at the next step."""
        self._stop.set()
        if self.paused:
            self.toggle_pause()
        self.state_changed.emit()

    def toggle_pause(self) -> None:
        """Pause or go on."""
        if self.running:
            self.paused = not self.paused
            if self.paused:
                self._worker.pause()
            else:
                self._worker.resume()
            self.state_changed.emit()

    def _end(self, result: object) -> None:
        self._worker = None
        self.state_changed.emit()
        if not isinstance(result, _Failure):
            self.ended.emit(result)
            self.state_changed.emit()
            return
        error = result.error
        expected = isinstance(error, _EXPECTED)
        self.failed.emit(str(error) if expected else f"{type(error).__name__}: {error}")
        if not expected:
            raise error


def _run(
    generate: Callable[..., Generator[Any, None, Any]], stop: threading.Event, *arguments: Any
) -> Generator[Any, None, Any]:
    """Run the work with one core left to the GUI."""
    load_torch()
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    try:
        return (yield from generate(stop, *arguments))
    except Exception as error:  # whatever it is, the GUI thread shows or raises it
        return _Failure(error)
