"""What the terminal shows: errors as a sentence with an exit code, and the consoles to write on."""

from __future__ import annotations

import errno
import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text
from typer.core import TyperGroup

__all__ = [
    "BAD_INPUT",
    "FAILED",
    "STOPPED",
    "JobFailedError",
    "SentenceGroup",
    "allow_many_files",
    "errors",
    "output",
    "progress_bar",
    "sentence",
    "spell_what_cannot_be_shown",
]

FAILED = 1
"""Exit code of a job that was well asked for and failed."""
BAD_INPUT = 2
"""Exit code of a wrong option, setting or file; typer's own for wrong usage."""
STOPPED = 130
"""Exit code of a job that Ctrl-C stopped; every shell's own for it."""
_MOST_FILES = 2**16
_NUMBERS_WIDTH, _NARROWEST, _WIDEST_BAR = 36, 4, 40
"""Columns of the terminal that counts and times take, which a long name must not push out; and those of a name or a bar."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}

_WRONG_PATH = (
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
    PermissionError,
)


class JobFailedError(RuntimeError):
    """A job that was well asked for and failed; its message is the sentence that the user reads."""


class _AboveBars(Console):
    """Prints above the bars of the same terminal, which would else be drawn over it."""

    def print(self, *objects: Any, **how: Any) -> None:
        """Print as any console, or where the bars are drawn."""
        drawn = [bar.console for bar in _bars if bar.console.is_terminal]
        if drawn and self.is_terminal:
            drawn[-1].print(*objects, **how)
        else:
            super().print(*objects, **how)


_bars: list[Progress] = []
"""Those that are shown now."""


def output() -> Console:
    """Console for results; texts are shown as they are, without markup, colours of numbers or wrapping."""
    return _AboveBars(file=sys.stdout, markup=False, highlight=False, soft_wrap=True)


def errors() -> Console:
    """Console for errors and notes, on stderr."""
    return _AboveBars(file=sys.stderr, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on stderr with a description, counts and times, removed when it ends; what is printed meanwhile stands above it."""
    console = Console(file=sys.stderr, markup=False, highlight=False, soft_wrap=True)
    room = max(_NARROWEST, (console.width - _NUMBERS_WIDTH) // 2)
    shortened = Column(max_width=room, no_wrap=True, overflow="ellipsis")
    with Progress(
        TextColumn("{task.description}", markup=False, table_column=shortened),
        BarColumn(bar_width=min(_WIDEST_BAR, room)),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        _bars.append(bar)
        try:
            yield bar
        finally:
            _bars.remove(bar)


def allow_many_files() -> None:
    """Let this process open as many files as the system grants it: each large image that is learnt from stays open."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def spell_what_cannot_be_shown() -> None:
    r"""Print names in letters that the terminal, or the file that output goes to, does not know as ``\u017b``, instead of ending in the middle.

    Python does so for errors alone.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def sentence(error: BaseException) -> str:
    """Say in one sentence what went wrong.

    Errors raised by this package are sentences already; those of the system, of a full memory and of unforeseen kinds
    are put into one.
    """
    # The package's own errors of a full memory say more; those of torch and numpy are of kinds below MemoryError.
    if type(error) is MemoryError and str(error):
        return str(error)
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return "The memory is full. Use a smaller batch or tile (--batch-size, --tile-size-px), or --device cpu."
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return f"The system lets no more files be opened at once than there are now ({error.filename}). Use fewer images, or raise its limit (ulimit -n)."
    full = isinstance(error, OSError) and error.errno in _NO_ROOM
    if isinstance(error, OSError) and error.strerror and (error.filename or full):
        place = f": {error.filename}" if error.filename else ""
        mend = "Make room on the disk" if full else "Check the path and the rights to it"
        return f"{error.strerror}{place}. {mend}."
    text = str(error) or "no reason was given"
    if isinstance(error, (ValueError, OSError, RuntimeError)):
        return text
    return f"{type(error).__name__}: {text}. This should not happen; please report it."


@contextmanager
def _plain_warnings(*, as_python_does: bool) -> Iterator[None]:
    """Show this package's warnings as what they are, sentences for the user, without the line of code that gave them."""
    with warnings.catch_warnings():
        before = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if category is not UserWarning:
                before(message, category, filename, lineno, file, line)
                return
            errors().print(
                Text("Warning: ", style="bold yellow").append(
                    str(message), style="not bold default"
                )
            )

        if not as_python_does:
            warnings.showwarning = show
        yield


class SentenceGroup(TyperGroup):
    """The commands, with every error shown as a sentence; ``--debug`` shows the traceback instead."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command.

        Raises
        ------
        typer.Exit
            With 2 for bad input, 1 for a job that failed and 130 for one that was stopped, after the sentence was printed.
        """
        try:
            with _plain_warnings(as_python_does=bool(ctx.params.get("debug"))):
                return super().invoke(ctx)
        except KeyboardInterrupt as error:
            if ctx.params.get("debug"):
                raise
            errors().print(str(error) or "Stopped.")
            raise typer.Exit(STOPPED) from error
        except (typer.Abort, BrokenPipeError):
            raise
        except Exception as error:
            # typer's own errors carry an exit code and show themselves.
            if hasattr(error, "exit_code") or ctx.params.get("debug"):
                raise
            errors().print(
                Text("Error: ", style="bold red").append(sentence(error), style="not bold default")
            )
            wrong_input = isinstance(error, (ValueError, *_WRONG_PATH))
            raise typer.Exit(BAD_INPUT if wrong_input else FAILED) from error
