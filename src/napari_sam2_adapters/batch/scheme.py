"""A job with all that follows from it, and a look at where its images stand before anything is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam2_adapters.batch.job import BatchJob, BatchOptions, read_job_file
from napari_sam2_adapters.batch.plan import Item, plan_items
from napari_sam2_adapters.batch.records import ItemRecord, first_record
from napari_sam2_adapters.batch.report import Report
from napari_sam2_adapters.batch.stamps import file_sha256
from napari_sam2_adapters.batch.standing import judge
from napari_sam2_adapters.config import PredictConfig

if TYPE_CHECKING:
    from napari_sam2_adapters.models.model_file import AdapterHeader

__all__ = ["Scheme", "Survey", "conflict_of", "plan_batch", "survey_batch"]


@dataclass(frozen=True)
class Scheme:
    """A job, the model's header and checksum, the settings in force, and the images."""

    job: BatchJob
    header: AdapterHeader
    model_sha256: str
    predict: PredictConfig
    settings_sha256: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Survey:
    """Where each image stands, and why the job must not be started, in a sentence, or nothing."""

    records: tuple[ItemRecord, ...]
    conflict: str


def plan_batch(job: BatchJob) -> Scheme:
    """Read what a job needs: the header of the model file and the names of the images.

    Raises
    ------
    FileNotFoundError
        When there is no model file.
    ValueError
        When the model file is damaged or there is no image.
    """
    from napari_sam2_adapters.models.model_file import read_header

    header = read_header(job.model)
    predict = job.predict or PredictConfig(tile_size_px=header.tile_size_px)
    model_sha256 = file_sha256(job.model)
    settings_sha256 = job.settings_sha256(model_sha256, predict)
    items = tuple(plan_items(job, predict))
    return Scheme(job, header, model_sha256, predict, settings_sha256, items)


def survey_batch(job: BatchJob, options: BatchOptions | None = None) -> Survey:
    """Where the images stand, by the reports and files of earlier runs; nothing is written.

    Raises
    ------
    FileNotFoundError, ValueError
        As `plan_batch`.
    """
    options = options or BatchOptions()
    scheme, report = plan_batch(job), Report(job.output)
    records = tuple(
        first_record(item, judge(item, report.last(item.name), scheme.settings_sha256, options))
        for item in scheme.items
    )
    return Survey(records, conflict_of(scheme, report, options))


def conflict_of(scheme: Scheme, report: Report, options: BatchOptions) -> str:
    """Why the results of a job must not go into its folder: it holds those of other settings, or files of others in their place; empty when they may.

    Raises
    ------
    ValueError
        When the folder holds a ``job.json`` of another program, unless files may be replaced.
    """
    if options.overwrite:
        return ""
    if report.of_others:
        names = " and ".join(path.name for path in report.of_others)
        return (
            f"{scheme.job.output} holds {names} that no batch wrote, in the place of its report. "
            "Choose another folder, or allow its files to be replaced (Replace files, --overwrite)."
        )
    former = read_job_file(scheme.job.output)
    if former is None or not report.has_other_results(scheme.settings_sha256):
        return ""
    return (
        f"{scheme.job.output} holds results of {former.job.model.name} with other settings. "
        "Choose another folder, or allow its results to be replaced (Replace files, --overwrite)."
    )
