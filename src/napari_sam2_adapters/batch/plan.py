"""The images of a batch, and the files that their results go to."""

from __future__ import annotations

import codecs
import csv
import io
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from napari_sam2_adapters.batch.job import JOB_FILE, BatchJob, ending_beside
from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.data.formats.registry import image_folder, image_stem
from napari_sam2_adapters.data.matching import find_images

__all__ = [
    "REPORT_CSV",
    "REPORT_HTML",
    "REPORT_JSONL",
    "Item",
    "check_place",
    "file_key",
    "find_inputs",
    "name_too_long",
    "plan_items",
    "printable",
    "read_file_list",
]

REPORT_JSONL = "report.jsonl"
REPORT_CSV = "report.csv"
REPORT_HTML = "report.html"

_EXTRAS = {"measurements": ("measurements", ".csv"), "overlay": ("overlays", ".png")}
"""Folder and ending of what is written besides the results; in folders of their own no name is too long or taken."""
_LONGEST_NAME_BYTES = 255
_LIST_COLUMNS = ("image", "images", "file", "path", "filename")


@dataclass(frozen=True)
class Item:
    """One image of a batch.

    Attributes
    ----------
    index
        Its place in the batch.
    name
        Path of its result below the results' folder, without the ending, with ``/`` between folders.
    source
        The image file.
    outputs
        File of each result by its kind: ``probabilities`` and ``uncertainty`` if asked for, and last ``labels``.
    refusal
        Why it cannot be segmented, in a sentence; empty when it can.
    extras
        File of what is written besides by its kind: ``measurements``, ``overlay``.
    """

    index: int
    name: str
    source: Path
    outputs: dict[str, Path]
    refusal: str = ""
    extras: dict[str, Path] = field(default_factory=dict)

    @property
    def image(self) -> str:
        """Whole path of the image as text."""
        return printable(self.source.absolute())


def find_inputs(job: BatchJob) -> list[Path]:
    """The images of a job, in natural order; what lies in the folder of the results is none.

    Raises
    ------
    ValueError
        When the folder does not exist or nothing in it fits.
    """
    if job.folder is None:
        return list({_resolved(path): path for path in job.files}.values())
    pattern = f"**/{job.pattern}" if job.subfolders else job.pattern
    if Path(job.pattern).is_absolute() or ".." in Path(job.pattern).parts:
        raise ValueError(
            f"A pattern names files of the folder, but {job.pattern!r} leads out of it. Use one such as *_raw.tif."
        )
    results = _resolved(job.output)
    if results == _resolved(job.folder):
        raise ValueError(
            f"The results would lie among the images in {job.folder}. Choose another folder for them, for example a new one in it."
        )
    found = find_images(job.folder, pattern)
    if _resolved(job.folder) in results.parents:
        found = [path for path in found if results not in _resolved(path).parents]
    if not found:
        raise ValueError(f"Only results lie in {job.folder}, no images. Choose the images' folder.")
    return found


def check_place(folder: Path, label_format: str) -> None:
    """Refuse a folder for results that no result could be written into, since its name is that of an image.

    Raises
    ------
    ValueError
        When results in OME-Zarr would lie in an OME-Zarr image, elsewhere than among its labels.
    """
    outer = image_folder(folder / "result") if label_format == "ome.zarr" else None
    if outer is None:
        return
    from napari_sam2_adapters.data.formats.zarr_nodes import LABELS

    if folder == outer / LABELS and outer.is_dir():
        return
    where = "is called like an OME-Zarr image" if folder == outer else f"lies in the image {outer}"
    raise ValueError(
        f"Results in OME-Zarr cannot be written into {folder}, which {where}. Choose a folder of another name for them (--output), such as "
        f"{outer.with_name(outer.name.split('.')[0] + '_masks')}."
    )


def plan_items(job: BatchJob, predict: PredictConfig) -> list[Item]:
    """The images of a job with their results; those whose results would be one file are refused.

    Parameters
    ----------
    job
        The job.
    predict
        The settings in force, which say what results there are.

    Raises
    ------
    ValueError
        As `check_place` and `find_inputs`.
    """
    check_place(job.output, job.label_format)
    sources = find_inputs(job)
    above = _common_folder(sources) if job.folder is None else _plain(job.folder)
    items = [_item(job, predict, index, source, above) for index, source in enumerate(sources)]
    files = (path for item in items for path in (*item.outputs.values(), *item.extras.values()))
    taken = Counter(map(file_key, files))
    names = (JOB_FILE, REPORT_CSV, REPORT_JSONL, REPORT_HTML)
    own = {file_key(job.output / name) for name in names}
    inputs = {_resolved(source) for source in sources}
    return [_checked(item, taken, own, inputs) for item in items]


def read_file_list(path: Path) -> list[Path]:
    """Image files named in a text file, one a line, or in a column of a CSV (``image``, ``file``, ``path``).

    Relative paths start at the folder of the list.

    Raises
    ------
    ValueError
        When the list is not UTF-8 or UTF-16, names no file, or has no such column.
    """
    text = _text_of(path)
    is_table = path.suffix.lower() == ".csv"
    lines = _column_of(path, text) if is_table else text.splitlines()
    names = [_unquoted(line.strip()) for line in lines]
    files = [path.parent / name for name in names if name]
    if not files:
        raise ValueError(f"{path} names no image. Write one path a line.")
    return files


def _unquoted(name: str) -> str:
    """A path without the quotes that Windows puts around it when it is copied."""
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] == '"' else name


def _text_of(path: Path) -> str:
    """A list as text: UTF-8, or the UTF-16 that Excel and PowerShell write."""
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}). Save the list as UTF-8.") from error


def _column_of(path: Path, text: str) -> list[str]:
    """The column that names the images; where a comma is a decimal sign, programs put ; between columns."""
    for separator in ",;\t":
        table = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
        columns = {name.strip().lower(): name for name in table.fieldnames or ()}
        column = next((columns[name] for name in _LIST_COLUMNS if name in columns), None)
        if column is not None:
            return [row[column] or "" for row in table]
    header = text.partition("\n")[0].strip()
    raise ValueError(
        f"{path} has the columns {header or 'nothing'}, but one of {', '.join(_LIST_COLUMNS)} "
        "has to name the images. Rename the column."
    )


def _item(
    job: BatchJob, predict: PredictConfig, index: int, source: Path, above: Path | None
) -> Item:
    holder = _plain(source.parent)
    parents: tuple[str, ...] = ()
    # The folder itself is the image where it holds the slices of one.
    if above is not None and holder.is_relative_to(above):
        parents = holder.relative_to(above).parts
    stem = image_stem(source)
    folder = job.output.joinpath(*parents)
    outputs = {
        what: folder / f"{stem}_{what}.{ending_beside(job.label_format)}"
        for what, wanted in (
            ("probabilities", predict.probabilities),
            ("uncertainty", predict.uncertainty),
        )
        if wanted
    }
    # The labels come last: where they lie, the image is done.
    outputs["labels"] = folder / f"{stem}.{job.label_format}"
    extras = {}
    for kind in job.extras.kinds:
        place, ending = _EXTRAS[kind]
        extras[kind] = job.output.joinpath(place, *parents, f"{stem}{ending}")
    name = printable(PurePosixPath(*parents, stem))
    return Item(index, name, source, outputs, extras=extras)


def printable(path: Path | PurePosixPath) -> str:
    r"""A path as text; bytes that are not UTF-8 are spelt as ``\xe9``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def name_too_long(path: Path) -> str:
    """That a result cannot have its name, for it is longer than any file's can be, and the mend; empty when it can."""
    if len(os.fsencode(path.name)) <= _LONGEST_NAME_BYTES:
        return ""
    return f"The name {path.name[:40]}… of the result would be too long. Shorten the image's name."


def _checked(item: Item, taken: Counter[str], own: set[str], inputs: set[Path]) -> Item:
    refusal = ""
    for path in item.outputs.values():
        if taken[file_key(path)] > 1:
            refusal = f"Results of several images would be called {path.name}. Rename one of the images, or choose by pattern."
        elif file_key(path) in own:
            refusal = f"The batch's own file {path.name} has this name. Rename the image."
        elif too_long := name_too_long(path):
            refusal = too_long
        elif _resolved(path) in inputs:
            refusal = f"{path.name} is itself an image of this batch. Choose another folder for the results."
    return item if not refusal else replace(item, outputs={}, refusal=refusal, extras={})


def _common_folder(paths: Iterable[Path]) -> Path | None:
    """The deepest folder that all files lie in; None without one (two drives)."""
    try:
        return Path(os.path.commonpath([_plain(path.parent) for path in paths]))
    except ValueError:
        return None


def _plain(path: Path) -> Path:
    """A path without ``..``, by which a list may lead out of its own folder, but no result out of that of the results."""
    return Path(os.path.abspath(path))  # noqa: PTH100 (which keeps links as they are)


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))


def file_key(path: Path) -> str:
    """A path as file systems that ignore case and accents' spelling see it."""
    return unicodedata.normalize("NFC", os.path.abspath(path)).casefold()  # noqa: PTH100
