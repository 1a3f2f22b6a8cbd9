"""An export in a process of its own.

Following a network with torch.export is Python without a pause for 10 to 60 s: in a thread it would make the window stutter, could not be
stopped, and hooks into every module of the program, also those that are training.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from queue import Empty, Queue
from typing import IO

from napari_sam2_adapters.atomic import remove_orphans
from napari_sam2_adapters.export.request import ExportRequest

__all__ = ["ExportFailedError", "export_apart"]

_LOOK_S = 0.1
_GOODBYE_S = 10


class ExportFailedError(RuntimeError):
    """The export failed; its message is the sentence that the user reads."""


def export_apart(
    stop: threading.Event, request: ExportRequest, *, threads: int = 0
) -> Generator[str, None, str | None]:
    """Export in a second process, yielding in words what it is doing.

    Parameters
    ----------
    stop
        When it is set, the export ends and leaves nothing behind.
    request
        What to export.
    threads
        Threads for PyTorch and onnxruntime; 0 for their own choice.

    Returns
    -------
    str or None
        What was checked, in sentences; None when it was stopped.

    Raises
    ------
    ExportFailedError
        When it failed, with its sentence.
    """
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints,
        # A process that is ended cannot tidy up; a package that its test still holds open is not deleted by Windows.
        tempfile.TemporaryDirectory(
            prefix="sam2-adapters-", ignore_cleanup_errors=True
        ) as temporary,
    ):
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "napari_sam2_adapters.export"],
            env=os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), temporary),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            encoding="utf-8",
        )
        lines: Queue[str] = Queue()
        asked = {"threads": threads, "export": request.model_dump(mode="json")}
        # Reading waits for the process, and a stop must not.
        reader = threading.Thread(
            target=_read, args=(process, json.dumps(asked), lines), daemon=True
        )
        reader.start()
        try:
            return (yield from _follow(stop, lines, complaints))
        finally:
            _end(process)
            remove_orphans(request.output.parent)
            reader.join()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _follow(
    stop: threading.Event, lines: Queue[str], complaints: IO[str]
) -> Generator[str, None, str | None]:
    while not stop.is_set():
        try:
            line = lines.get(timeout=_LOOK_S)
        except Empty:
            continue
        if not line:
            complaints.seek(0)
            last = complaints.read().strip().rpartition("\n")[2]
            raise ExportFailedError(
                f"The process that exports ended without a result: {last or 'no reason was given'}. Please report it."
            )
        answer = json.loads(line)
        if "failed" in answer:
            raise ExportFailedError(answer["failed"])
        if "done" in answer:
            return str(answer["done"])
        yield str(answer["step"])
    return None


def _read(process: subprocess.Popen[str], asked: str, lines: Queue[str]) -> None:
    """Hand over the request, then every line, and an empty one at the end."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("The process has no pipes. Start it with pipes.")
    try:
        process.stdin.write(asked + "\n")
        process.stdin.close()
    except OSError:  # it has ended already; why stands in what it complained of
        lines.put("")
        return
    for line in process.stdout:
        lines.put(line)
    lines.put("")


def _end(process: subprocess.Popen[str]) -> None:
    """End it if it is still at work."""
    process.terminate()
    try:
        process.wait(_GOODBYE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
