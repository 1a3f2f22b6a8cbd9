"""What became of each image: ``report.jsonl``, a line for each event, and ``report.csv``, a row for each image."""

from __future__ import annotations

import codecs
import csv
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from napari_sam2_adapters.atomic import force_to_disk, write_atomically
from napari_sam2_adapters.batch.plan import REPORT_CSV, REPORT_JSONL
from napari_sam2_adapters.batch.stamps import ExtraStamp, FileStamp
from napari_sam2_adapters.config import Settings

__all__ = ["Entry", "Report"]

_COLUMNS = (
    *("image", "status", "reason", "seconds", "result", "finished"),
    *("pixel_size_z", "pixel_size_y", "pixel_size_x", "unit"),
)
_OPEN = "{} is open in another program; close it."


class Entry(Settings):
    """A line of ``report.jsonl``: an image was begun, is done, or has failed.

    Attributes
    ----------
    name
        As `Item.name`.
    image
        Path of the image file.
    status
        ``running`` before anything of its results is written.
    seconds
        From reading to the last file.
    pixels
        Number of pixels of each class, by the class's name.
    pixel_size, unit
        Of the image, along Z, Y and X, those that it has.
    notices
        What was remarkable: another pixel size, a full memory.
    settings_sha256
        Of the job, as in ``job.json``.
    source
        Content of the image file; None where it could not be read.
    result
        Path of the labels below the folder of the results.
    outputs
        Content of each result by its kind.
    extras
        Content of what was written besides by its kind, also by earlier runs.
    writes
        Kinds of what is being written besides; a file of such a kind is the batch's own even if it was killed meanwhile.
    finished
        Local time with the distance to UTC.
    """

    name: str
    image: str
    status: Literal["running", "done", "failed"]
    reason: str = ""
    seconds: float = 0.0
    pixels: dict[str, int] = Field(default_factory=dict)
    pixel_size: tuple[float, ...] | None = None
    unit: str | None = None
    notices: tuple[str, ...] = ()
    settings_sha256: str
    source: FileStamp | None = None
    result: str = ""
    outputs: dict[str, FileStamp] = Field(default_factory=dict)
    extras: dict[str, ExtraStamp] = Field(default_factory=dict)
    writes: tuple[str, ...] = ()
    finished: str = ""


class Report:
    """The report in a folder of results, read and then added to.

    Parameters
    ----------
    folder
        Where it lies.
    """

    def __init__(self, folder: Path) -> None:
        self._lines, self._table = folder / REPORT_JSONL, folder / REPORT_CSV
        self._last: dict[str, Entry] = {}
        self._classes: Sequence[str] = ()
        for entry in _read(self._lines):
            self._last[entry.name] = entry
        self._of_others = [
            *([] if self._last or _may_be_lines(self._lines) else [self._lines]),
            *([] if _may_be_table(self._table) else [self._table]),
        ]

    @property
    def of_others(self) -> list[Path]:
        """Files in the place of the report that were there when it was opened, and that no batch wrote."""
        return self._of_others

    def last(self, name: str) -> Entry | None:
        """The last that is known of an image."""
        return self._last.get(name)

    def entries(self, settings_sha256: str) -> list[Entry]:
        """The last of each image that is done or has failed with these settings, in the order in which they were begun."""
        return [
            entry
            for entry in self._last.values()
            if entry.settings_sha256 == settings_sha256 and entry.status != "running"
        ]

    def has_other_results(self, settings_sha256: str) -> bool:
        """Whether images are done with other settings than these."""
        return any(
            entry.status == "done" and entry.settings_sha256 != settings_sha256
            for entry in self._last.values()
        )

    def open(self, classes: Sequence[str], settings_sha256: str) -> None:
        """Make ready for adding: mend what a killed process left, and write the table of what is known.

        Parameters
        ----------
        classes
            Names of the classes, each of which gets a column.
        settings_sha256
            Images whose last entry has other settings are not in the table.
        """
        self._classes = classes
        _end_last_line(self._lines)
        self.write_table(settings_sha256)

    def add(self, entry: Entry) -> None:
        """Write an entry to both files, and force the line to the disk; the table can always be made of the lines."""
        self._last[entry.name] = entry
        _append(self._lines, entry.model_dump_json(exclude_defaults=True) + "\n", force=True)
        if entry.status == "running":
            return
        try:
            _append(self._table, self._rows([entry]))
        except PermissionError:
            # Excel keeps others from a table that it shows; the whole table is written at the end.
            warnings.warn(_OPEN.format(self._table), stacklevel=2)

    def write_table(self, settings_sha256: str) -> None:
        """Write the table anew, with one row for each image."""
        header = io.StringIO()
        csv.writer(header).writerow([*_COLUMNS, *(f"pixels of {name}" for name in self._classes)])
        text = header.getvalue() + self._rows(self.entries(settings_sha256))
        # Excel takes a table without the mark in front for Latin-1.
        content = codecs.BOM_UTF8 + text.encode("utf-8", "backslashreplace")
        try:
            write_atomically(self._table, lambda file: file.write(content), overwrite=True)
        except PermissionError:
            if not self._table.exists():
                raise
            # Windows lets nobody replace a table that Excel shows; the lines hold all of it.
            warnings.warn(_OPEN.format(self._table), stacklevel=2)

    def _rows(self, entries: Iterable[Entry]) -> str:
        text = io.StringIO()
        table = csv.writer(text)
        for entry in entries:
            size = entry.pixel_size or ()
            table.writerow(
                [
                    *(entry.image, entry.status, entry.reason, f"{entry.seconds:.2f}"),
                    *(entry.result, entry.finished, *[""] * (3 - len(size)), *size),
                    *(entry.unit or "", *(entry.pixels.get(name, "") for name in self._classes)),
                ]
            )
        return text.getvalue()


def _read(path: Path) -> Iterable[Entry]:
    if not path.is_file():
        return
    for line in path.read_bytes().splitlines():
        try:
            yield Entry.model_validate_json(line)
        except ValidationError:
            continue  # torn by a crash or from elsewhere; its image counts as not done


def _may_be_lines(path: Path) -> bool:
    """Whether a file without an entry is missing, empty, or an entry of ours that was torn."""
    if not path.is_file():
        return True
    content = path.read_bytes()
    return not content.strip() or (content.startswith(b'{"name":') and b"\n" not in content)


def _may_be_table(path: Path) -> bool:
    """Whether a table is missing, empty, or begins like ours, perhaps saved again by a spreadsheet."""
    if not path.is_file():
        return True
    with path.open("rb") as file:
        start = file.read(64).removeprefix(codecs.BOM_UTF8)
    return not start.strip() or re.match(rb'"?image"?[,;\t]"?status"?[,;\t]', start) is not None


def _end_last_line(path: Path) -> None:
    """Cut off a line that a killed process did not finish."""
    if not path.is_file():
        return
    with path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def _append(path: Path, text: str, *, force: bool = False) -> None:
    with path.open("ab") as file:
        file.write(text.encode("utf-8", "backslashreplace"))
        if force:
            force_to_disk(file)
