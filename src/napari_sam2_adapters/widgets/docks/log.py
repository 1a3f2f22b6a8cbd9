"""The log file: what went wrong and how it came to that, beside the one sentence that the user gets."""

from __future__ import annotations

import logging
import os
import platform
import sys
import threading
import traceback
from importlib.metadata import PackageNotFoundError, version
from logging.handlers import RotatingFileHandler
from pathlib import Path

import platformdirs
from napari.utils.notifications import (
    ErrorNotification,
    Notification,
    notification_manager,
    show_info,
)
from qtpy import API_NAME
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices

__all__ = ["log_error", "log_path", "logger", "open_log", "open_path", "show_failure", "told"]

_PACKAGE = "napari_sam2_adapters"
_HEARD = ("tifffile",)
"""Libraries that say what they find in a file; without a log of ours it would go to the terminal."""
_EXPECTED = (ValueError, OSError, MemoryError)
"""Errors whose text is a sentence for the user."""
_MOST_BYTES = 1_000_000
_OLDER_FILES = 2
_LOCK = threading.Lock()


def log_path() -> Path:
    """The log file: in ``SAM2_ADAPTERS_LOGS`` or the user's folder for logs."""
    chosen = os.environ.get("SAM2_ADAPTERS_LOGS")
    folder = Path(chosen) if chosen else Path(platformdirs.user_log_dir("napari-sam2-adapters"))
    return folder / "napari-sam2-adapters.log"


def logger() -> logging.Logger:
    """The package's logger, writing to `log_path`; at most three files of 1 MB are kept."""
    log, path = logging.getLogger(_PACKAGE), log_path()
    with _LOCK:
        for handler in [h for h in log.handlers if isinstance(h, RotatingFileHandler)]:
            if Path(handler.baseFilename) == path.absolute():
                return log
            for heard in (log, *map(logging.getLogger, _HEARD)):
                heard.removeHandler(handler)
            handler.close()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = RotatingFileHandler(
                path, maxBytes=_MOST_BYTES, backupCount=_OLDER_FILES, encoding="utf-8"
            )
        except (
            OSError
        ) as error:  # a full or read-only disk must not keep the sentence from the user
            log.warning("The log file %s cannot be written: %s", path, error)
            return log
        file.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s [%(threadName)s] %(message)s")
        )
        for heard in (log, *map(logging.getLogger, _HEARD)):
            heard.addHandler(file)
        log.setLevel(logging.INFO)
        if _on_notification not in notification_manager.notification_ready.callbacks:
            notification_manager.notification_ready.connect(_on_notification)
    log.info("%s", _surroundings())
    return log


def log_error(error: BaseException, doing: str) -> None:
    """Write an error with its traceback.

    Parameters
    ----------
    error
        What was raised.
    doing
        What was going on, in words.
    """
    details = "".join(traceback.format_exception(error))
    logger().error("While %s:\n%s", doing, details.rstrip())
    error.__dict__["logged_by_" + _PACKAGE] = True


def told(error: BaseException) -> str:
    """An error as one sentence for the user: its own text, or that it was not foreseen."""
    if isinstance(error, _EXPECTED) and str(error).strip():
        return str(error).strip()
    lines = str(error).strip().splitlines()
    reason = f": {lines[0][:200]}" if lines else ""
    return f"Something unforeseen went wrong ({type(error).__name__}{reason}). The log has the details."


def show_failure(sentence: str) -> None:
    """Show a sentence among napari's notifications, with a button that opens the log."""
    notification_manager.dispatch(
        Notification(sentence, "error", actions=(("Open log", lambda _: open_log()),))
    )


def open_log() -> None:
    """Open the log file in the program that this desktop has for text."""
    logger()
    open_path(log_path())


def open_path(path: Path) -> None:
    """Open a file or folder as the desktop does, or say where it is when that has no program for it."""
    if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))):
        show_info(f"It is here: {path}")


def _on_notification(notification: Notification) -> None:
    """Write errors that napari caught in our code on the GUI thread."""
    if not isinstance(notification, ErrorNotification):
        return
    error = notification.exception
    if error.__dict__.get("logged_by_" + _PACKAGE):
        return
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if any(_PACKAGE in Path(name).parts for name in files):
        log_error(error, "answering the window")


def _surroundings() -> str:
    """Versions that a report of an error needs."""
    named = []
    for name in ("napari-sam2-adapters", "napari", "npe2", "numpy", "torch"):
        try:
            named.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            named.append(f"{name} not installed")
    system = f"Python {platform.python_version()}, {API_NAME}, {platform.platform()}"
    return f"Started by process {os.getpid()} ({Path(sys.argv[0]).name}): {', '.join(named)}, {system}, {os.cpu_count()} cores"
