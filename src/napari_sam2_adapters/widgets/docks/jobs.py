"""Long work beside the GUI: a generator in a worker thread that can be paused, and stopped with its result kept."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any

from napari.qt.threading import create_worker
from qtpy.QtCore import QCoreApplication, QObject, QThreadPool, Signal
from superqt.utils import create_worker as create_plain_worker

from napari_sam2_adapters.widgets.docks.load_torch import load_torch
from napari_sam2_adapters.widgets.docks.log import log_error, logger, told
from napari_sam2_adapters.widgets.docks.preferences import preferences

__all__ = ["Job", "Pulse", "Question", "thread_count"]

_FEWEST_THREADS = 8
_LONGEST_GOODBYE_MS = 5_000


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
    with what it has; its return value then arrives as ever. An error arrives as a sentence; the log has its traceback.

    Parameters
    ----------
    parent
        Qt parent.
    uses_torch
        Whether PyTorch is loaded before the generator begins.
    """

    updated = Signal(object)
    ended = Signal(object)
    failed = Signal(str)
    state_changed = Signal()

    def __init__(self, parent: QObject | None = None, *, uses_torch: bool = True) -> None:
        super().__init__(parent)
        self._uses_torch = uses_torch
        self._stop, self._going = threading.Event(), threading.Event()
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
        self._stop, self._going, self.paused = threading.Event(), threading.Event(), False
        self._going.set()
        worker = create_worker(
            _run, self._uses_torch, generate, self._stop, self._going, *arguments, _start_thread=False
        )  # fmt: skip
        worker.yielded.connect(self.updated)
        worker.returned.connect(self._end)
        # A paused generator holds its network and its thread, so a dock or program that goes away ends it.
        for gone in (self.destroyed, QCoreApplication.instance().aboutToQuit):
            gone.connect(self._stop.set)
            gone.connect(self._going.set)
        self._worker = worker
        self.state_changed.emit()
        _make_room()
        worker.start()

    def stop(self) -> None:
        """Ask the work to end at the next step."""
        self._stop.set()
        self._going.set()
        self.paused = False
        self.state_changed.emit()

    def toggle_pause(self) -> None:
        """Pause or go on."""
        if self.running and not self.stopping:
            self.paused = not self.paused
            if self.paused:
                self._going.clear()
            else:
                self._going.set()
            self.state_changed.emit()

    def _end(self, result: object) -> None:
        self._worker = None
        self.state_changed.emit()
        if isinstance(result, _Failure):
            self.failed.emit(told(result.error))
        else:
            self.ended.emit(result)
            self.state_changed.emit()


class Question(QObject):
    """Short work beside the GUI that has one answer; when it is asked again, only the last answer counts."""

    answered = Signal(object)
    failed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._number = 0
        self._waiting = False

    @property
    def waiting(self) -> bool:
        """Whether an answer is still to come."""
        return self._waiting

    def ask(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call ``function(*arguments)`` in a worker."""
        self._number += 1
        self._waiting = True
        # napari's own workers are listed when the window is closed; this one is not worth a question
        worker = create_plain_worker(
            _answer, self._number, [function, *arguments], _start_thread=False
        )
        worker.returned.connect(self._take)
        _make_room()
        worker.start()

    def _take(self, numbered: tuple[int, object]) -> None:
        number, answer = numbered
        if number != self._number:  # asked again meanwhile
            return
        self._waiting = False
        if isinstance(answer, _Failure):
            self.failed.emit(told(answer.error))
        else:
            self.answered.emit(answer)


@cache
def _make_room() -> None:
    """Let short work run beside a training on a machine of two cores, where Qt has two threads for all of it.

    The threads are made at once and stay: to make one while PyTorch's libraries are loaded, the window would wait for all of them.
    """
    pool = QThreadPool.globalInstance()
    if pool.maxThreadCount() < _FEWEST_THREADS:
        pool.setMaxThreadCount(_FEWEST_THREADS)
    pool.setExpiryTimeout(-1)
    all_made = threading.Event()
    for _ in range(_FEWEST_THREADS - pool.activeThreadCount()):
        pool.start(all_made.wait)
    all_made.set()
    # A worker that begins while Python ends finds its signals deleted, and Qt aborts the program.
    atexit.register(pool.waitForDone, _LONGEST_GOODBYE_MS)


def thread_count() -> int:
    """Threads that PyTorch may use: as the preferences say, or all cores but the one that the viewer needs."""
    return preferences().threads or max(1, (os.cpu_count() or 2) - 1)


def _run(
    uses_torch: bool,
    generate: Callable[..., Generator[Any, None, Any]],
    stop: threading.Event,
    going: threading.Event,
    *arguments: Any,
) -> Generator[Any, None, Any]:
    """Run the work with one core left to the GUI."""
    if uses_torch:
        load_torch()
        import torch

        torch.set_num_threads(thread_count())
    name, started = generate.__name__.lstrip("_").replace("_", " "), time.monotonic()
    logger().info("Start of %s", name)
    try:
        result = yield from _paced(generate(stop, *arguments), going)
    except Exception as error:  # whatever it is, the user gets a sentence and the log the rest
        log_error(error, f"at work on {name}")
        return _Failure(error)
    logger().info("End of %s after %.1f s", name, time.monotonic() - started)
    return result


def _paced(work: Generator[Any, None, Any], going: threading.Event) -> Generator[Any, None, Any]:
    """The work, which waits after what it yields as long as ``going`` is not set.

    superqt's own pause is asked for and granted at different times: a quick "continue" in between is lost.
    """
    with closing(work):
        while True:
            try:
                update = next(work)
            except StopIteration as end:
                return end.value
            yield update
            going.wait()


def _answer(number: int, asked: list[Any]) -> tuple[int, object]:
    """The answer with the number of its question.

    What was asked is taken out of its list: superqt's workers put themselves into `warnings`, where Python leaves one for good when two of
    them overlap, and with it all that it holds.
    """
    function, *arguments = asked
    asked.clear()
    try:
        return number, function(*arguments)
    except Exception as error:  # as above
        log_error(error, f"asking for {function.__name__.lstrip('_').replace('_', ' ')}")
        return number, _Failure(error)
