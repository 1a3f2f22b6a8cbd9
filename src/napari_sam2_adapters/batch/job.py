"""What a batch is to do, and the file ``job.json`` that says so beside the results."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.config import ClassInfo, PredictConfig, Settings, describe_errors

__all__ = [
    "JOB_FILE",
    "BatchJob",
    "BatchOptions",
    "Extras",
    "JobFile",
    "LabelFormat",
    "ending_beside",
    "read_job_file",
    "write_job_file",
]

JOB_FILE = "job.json"
FORMAT_VERSION = 1

LabelFormat = Literal["tif", "ome.tif", "ome.zarr", "png", "npz", "nii.gz", "nrrd"]


def ending_beside(masks_as: str) -> str:
    """Ending of probabilities, uncertainty and numbered objects beside masks of a format; PNG cannot hold them."""
    return "tif" if masks_as == "png" else masks_as


class Extras(Settings):
    """What is written besides the masks; a mask does not depend on it."""

    measurements: Annotated[
        bool,
        Field(
            title="Measurements",
            description="A table for each image: area, place and grey values of each class in each slice, in units of the image.",
        ),
    ] = False
    overlays: Annotated[
        bool,
        Field(
            title="Overlays",
            description="A small PNG of each image with the classes in their colours over it.",
        ),
    ] = False
    html_report: Annotated[
        bool,
        Field(
            title="HTML report",
            description="One page with pictures, shares of the classes, failures and settings; with it come the overlays.",
        ),
    ] = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """What is written for each image: ``measurements``, ``overlay``."""
        wanted = (
            ("measurements", self.measurements),
            ("overlay", self.overlays or self.html_report),
        )
        return tuple(kind for kind, yes in wanted if yes)


class BatchJob(Settings):
    """Images to segment, with what, and where the results go."""

    model: Annotated[
        Path, Field(title="Adapter", description="Adapter file, NAME.adapter.safetensors.")
    ]
    folder: Annotated[Path | None, Field(title="Images", description="Folder of images.")] = None
    pattern: Annotated[
        str,
        Field(
            min_length=1,
            title="Pattern",
            description="Which images of the folder: * stands for any text, ? for one sign; *_raw.tif.",
        ),
    ] = "*"
    subfolders: Annotated[
        bool,
        Field(
            title="Subfolders",
            description="Also take images in subfolders; the results get the same subfolders.",
        ),
    ] = False
    files: Annotated[
        tuple[Path, ...], Field(title="Files", description="Images, instead of a folder.")
    ] = ()
    output: Annotated[Path, Field(title="Results", description="Folder for the results.")]
    label_format: Annotated[
        LabelFormat,
        Field(
            title="Masks as",
            description="tif: ImageJ's TIFF; ome.tif: OME-TIFF; ome.zarr: OME-Zarr, for images of any size; png: single planes, "
            "without pixel size; npz: for NumPy; nii.gz: NIfTI and nrrd: NRRD, both with the header of such an image.",
        ),
    ] = "tif"
    predict: Annotated[
        PredictConfig | None,
        Field(
            title="Prediction",
            description="How an image is segmented; empty: with the tile of the model file.",
        ),
    ] = None
    extras: Annotated[
        Extras, Field(title="Besides", description="What is written besides the masks.")
    ] = Extras()
    device: Annotated[str, Field(title="Device", description="auto, cpu, cuda, cuda:1 or mps.")] = (
        "auto"
    )

    @model_validator(mode="after")
    def _one_kind_of_input(self) -> Self:
        if (self.folder is None) == (not self.files):
            raise ValueError("a batch takes either a folder or a list of files")
        return self

    def absolute(self) -> Self:
        """The same job for any working folder."""
        paths = {"model": self.model.absolute(), "output": self.output.absolute()}
        files = tuple(path.absolute() for path in self.files)
        folder = self.folder.absolute() if self.folder else None
        return self.model_copy(update={**paths, "files": files, "folder": folder})

    def settings_sha256(self, model_sha256: str, predict: PredictConfig) -> str:
        """Checksum over all that a result depends on besides its image.

        The number of tiles in one network pass, their translation and the device are left out: they change the speed.
        """
        content = {
            "model": model_sha256,
            "predict": predict.model_dump(mode="json", exclude={"batch_size", "compile"}),
            "label_format": self.label_format,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class BatchOptions(Settings):
    """What a start of a job does with what lies there already."""

    skip_done: Annotated[
        bool,
        Field(
            title="Skip what is done",
            description="Leave images alone that are done with the same adapter and settings and have not changed since.",
        ),
    ] = True
    retry_failed: Annotated[
        bool,
        Field(
            title="Retry failed",
            description="Try images again that failed in an earlier run.",
        ),
    ] = False
    overwrite: Annotated[
        bool,
        Field(
            title="Replace files",
            description="Replace results of other settings, and files in the place of results that this batch did not write.",
        ),
    ] = False


class JobFile(Settings):
    """The content of ``job.json``."""

    format_version: int = FORMAT_VERSION
    job: BatchJob
    model_sha256: str
    """Over the bytes of the model file."""
    settings_sha256: str
    classes: tuple[ClassInfo, ...]
    package_version: str


def write_job_file(content: JobFile) -> None:
    """Write ``job.json`` into the folder of the results, in place of an earlier one."""
    # json rather than pydantic: it also takes file names that are not UTF-8
    text = json.dumps(content.model_dump(), indent=2, default=str) + "\n"
    write_atomically(
        content.job.output / JOB_FILE, lambda file: file.write(text.encode("ascii")), overwrite=True
    )


def read_job_file(folder: Path) -> JobFile | None:
    """The job whose results lie in a folder; None when the folder holds none.

    Raises
    ------
    ValueError
        When there is a file of that name that no batch wrote.
    """
    path = folder / JOB_FILE
    if not path.is_file():
        return None
    try:
        return JobFile.model_validate(json.loads(path.read_bytes()))
    except ValidationError as error:
        wrong = describe_errors(error)
    except ValueError as error:
        wrong = str(error)
    raise ValueError(
        f"{path} was not written by a batch of this program ({wrong[:200]}). Choose another folder for the results."
    )
