"""``sam2-adapters batch``: segment many images, with a report, to be stopped and continued at any time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.progress import Progress

from napari_sam2_adapters.batch.cluster import ClusterConfig
from napari_sam2_adapters.batch.job import Extras
from napari_sam2_adapters.batch.plan import REPORT_HTML
from napari_sam2_adapters.cli.files import Device, MemoryShare, Model, Overwrite, SettingsFile
from napari_sam2_adapters.cli.interrupts import stop_requests
from napari_sam2_adapters.cli.prediction import (
    OWN_TILE,
    PlanShown,
    known_format,
    prediction_settings,
)
from napari_sam2_adapters.cli.settings import (
    Sections,
    build_settings,
    read_sections,
    settings_flags,
)
from napari_sam2_adapters.cli.terminal import FAILED, JobFailedError, errors, progress_bar
from napari_sam2_adapters.cli.terminal import output as console
from napari_sam2_adapters.config import PredictConfig, describe_errors
from napari_sam2_adapters.wording import counted

if TYPE_CHECKING:
    from napari_sam2_adapters.batch.job import BatchJob
    from napari_sam2_adapters.batch.records import ItemRecord

__all__ = ["batch"]

_LISTS = (".txt", ".csv")
_LOG_INTERVAL_S = 30.0
"""Between two lines about the progress where no bar can be drawn, such as in the log of a job."""


@settings_flags(defaults=OWN_TILE, predict=PredictConfig, cluster=ClusterConfig, extras=Extras)
def batch(  # noqa: PLR0913, PLR0917 (a flag each)
    flags: Sections,
    model: Model,
    images: Annotated[
        Path,
        typer.Option(
            help="Folder of images, one image, or a list of them: a .txt with a path a line, or a .csv with a column 'image'."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder for the results and the report.")],
    pattern: Annotated[
        str,
        typer.Option(
            help="Which images of the folder, for example '*_raw.tif'; '**/*.tif' also those of subfolders."
        ),
    ] = "*",
    masks_as: Annotated[
        str,
        typer.Option(help="tif, ome.tif, ome.zarr (images of any size), png, npz, nii.gz or nrrd."),
    ] = "tif",
    settings: SettingsFile = None,
    device: Device = "auto",
    memory_share: MemoryShare = None,
    again: Annotated[
        str | None,
        typer.Option(
            help="Do images again: 'failed' those that failed before, 'all' also what is done."
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Segment many images and report on each; the same command goes on where it was stopped.

    What is done with the same model and settings is skipped, if neither image nor result has changed.

    An image that fails does not stop the others; report.csv in the output folder says why. Ctrl-C stops after the current tile.

    --workers, --scheduler and --slurm let several processes work, here or on a cluster; the results are the same.
    """
    if again not in (None, "failed", "all"):
        raise ValueError(f"--again takes 'failed' or 'all', got {again!r}.")
    sections = read_sections(settings, flags)

    from napari_sam2_adapters.batch.job import BatchOptions
    from napari_sam2_adapters.batch.run import run_batch
    from napari_sam2_adapters.batch.scheme import survey_batch
    from napari_sam2_adapters.models.model_file import read_header

    job = _job(
        model=model,
        output=output,
        pattern=pattern,
        label_format=known_format(masks_as),
        device=device,
        extras=build_settings(Extras, sections, "extras"),
        predict=prediction_settings(sections, read_header(model)),
        **_inputs(images),
    )
    shown = _Shown()
    options = BatchOptions(
        skip_done=again != "all", retry_failed=again is not None, overwrite=overwrite
    )
    cluster = build_settings(ClusterConfig, sections, "cluster") if sections["cluster"] else None
    records = run_batch(job, options, cluster=cluster)
    with progress_bar() as bar, stop_requests() as requests:
        shown.begin(bar)
        trouble = _watch(records, shown, requests)
    if requests and options.skip_done:
        shown.take_last(survey_batch(job, options).records)
    failed = shown.sum_up(output, pictured=job.extras.html_report)
    if trouble is not None:
        raise trouble
    if requests:
        raise KeyboardInterrupt("Stopped; the same command goes on where this one ended.")
    if failed:
        raise typer.Exit(FAILED)


def _watch(
    records: Generator[ItemRecord, None, None], shown: _Shown, requests: list[int]
) -> OSError | None:
    """Show all records until there are no more or a stop is asked for; gives what ended them in the middle, such as a full disk."""
    try:
        for record in records:
            shown.take(record)
            if requests:
                break
    except KeyboardInterrupt:
        requests.append(1)
    except ImportError as error:  # an extra is not installed
        raise JobFailedError(str(error)) from error
    except OSError as error:
        if not shown.began:
            raise
        return error
    finally:
        records.close()
    return None


def _inputs(images: Path) -> dict[str, object]:
    from napari_sam2_adapters.batch.plan import read_file_list
    from napari_sam2_adapters.data.formats.registry import image_folder

    if images.is_dir() and image_folder(images / "inside") is None:
        return {"folder": images}
    if not images.exists():
        raise FileNotFoundError(f"There is no folder or file {images}. Check the path.")
    return {"files": read_file_list(images) if images.suffix.lower() in _LISTS else [images]}


def _job(**fields: object) -> BatchJob:
    from napari_sam2_adapters.batch.job import BatchJob

    try:
        return BatchJob.model_validate(fields)
    except ValidationError as error:
        raise ValueError(f"This batch is not valid. {describe_errors(error)}") from error


class _Shown:
    """The progress on the screen, or in a log, and the sum at the end."""

    def __init__(self) -> None:
        self._last: dict[int, ItemRecord] = {}
        self._show_plan = PlanShown(console())

    def begin(self, bar: Progress) -> None:
        """Show two bars: images and the tiles of the one at work."""
        self._bar = bar
        self._logged = time.monotonic()
        self._images = bar.add_task("images", total=None)
        self._tiles = bar.add_task("tiles", total=None, visible=False)

    @property
    def began(self) -> bool:
        """Whether anything is known of any image."""
        return bool(self._last)

    def take(self, record: ItemRecord) -> None:
        """Show where an image stands."""
        known = self._last.get(record.item.index)
        self._last[record.item.index] = record
        if record.plan is not None:
            self._show_plan(record.plan)
        if record.status == "running":
            self._bar.update(
                self._tiles,
                description=record.item.source.name,
                completed=record.tiles,
                total=record.all_tiles or None,
                visible=True,
            )
        elif record.status == "pending":
            self._bar.update(
                self._tiles,
                description="waiting for workers",
                total=None,
                visible=known is not None,
            )
        elif not record.earlier:
            for notice in record.notices:
                errors().print(f"{record.item.name}: {notice}")
            if record.status == "failed":
                errors().print(f"{record.item.name} failed: {record.reason}")
        if known is None or record.status in ("done", "failed"):
            self._count()
        if not self._bar.console.is_terminal:
            self._log(record)

    def take_last(self, records: Iterable[ItemRecord]) -> None:
        """Note the images that were in the hands of workers at the stop and came to their end all the same."""
        for record in records:
            index = record.item.index
            known = self._last.get(index)  # none, when the stop came before all were looked at
            at_work = known is not None and known.status == "running"
            if at_work and record.status in ("done", "failed"):
                self._last[index] = replace(record, earlier=False)

    def _count(self) -> None:
        finished, total = self._progress()
        self._bar.update(self._images, total=total, completed=finished)

    def _log(self, record: ItemRecord) -> None:
        """Say once in a while how far it is, also within an image, which may take hours."""
        now = time.monotonic()
        if now - self._logged < _LOG_INTERVAL_S:
            return
        self._logged = now
        finished, total = self._progress()
        text = f"{finished} of {counted(total, 'image')}"
        if record.status == "pending":
            text += ", waiting for workers"
        elif record.status == "running" and record.all_tiles > 1:
            text += f", {record.item.name}: {record.tiles} of {record.all_tiles} tiles"
        errors().print(text)

    def _progress(self) -> tuple[int, int]:
        """Images that are finished and all: only what this run has to do counts, so that the time left is right."""
        todo = [record for record in self._last.values() if not record.earlier]
        return sum(record.status in ("done", "failed") for record in todo), len(todo)

    def sum_up(self, output: Path, *, pictured: bool) -> int:
        """Say how many images are done, and where the page is if one was asked for; gives the number of those that failed."""
        from napari_sam2_adapters.batch.html_report import is_batch_page

        counts: Counter[str] = Counter()
        for record in self._last.values():
            counts[f"earlier {record.status}" if record.earlier else record.status] += 1
        new, earlier = counts["done"], counts["earlier done"]
        page = output / REPORT_HTML
        console().print(
            f"{new + earlier} of {counted(len(self._last), 'image')} {'is' if len(self._last) == 1 else 'are'} segmented"
            + (f", {earlier} of them by an earlier run" if earlier else "")
            + f". The results and report.csv are in {output}"
            + (f", with pictures in {page}." if pictured and is_batch_page(page) else ".")
        )
        failed = counts["failed"] + counts["earlier failed"]
        if failed:
            errors().print(f"{counted(failed, 'image')} failed, report.csv says why.")
        if counts["earlier failed"]:
            alone = counts["earlier failed"] == 1
            errors().print(
                f"{counts['earlier failed']} of them failed in an earlier run and {'was' if alone else 'were'} left alone; "
                f"--again failed tries {'it' if alone else 'them'}."
            )
        return failed
