"""The table of formats: which endings they have, which module reads and writes them, and what it needs installed."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.axes import ArrayLike, channel_count
from napari_sam2_adapters.data.formats.dicom_folder import DICOM_ENDINGS, is_dicom_folder
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.image_file import ImageFile

__all__ = [
    "FORMATS",
    "IMAGE_SUFFIXES",
    "Content",
    "Format",
    "format_of",
    "image_folder",
    "image_stem",
    "is_image",
]


@dataclass(frozen=True)
class Content:
    """What is to be written.

    Attributes
    ----------
    array
        numpy, dask or zarr array; read plane by plane.
    axes
        Names of its axes.
    dtype
        Element type in the file.
    labels
        Whether it holds label values; else probabilities, uncertainty or an image.
    geometry
        Where its pixels lie, for formats that can say it.
    classes
        Names and colours of label values, or of the channels of an array that is no labels, for formats that can hold them.
    source
        The image that the array belongs to; its header is kept by formats that have one to keep.
    """

    array: ArrayLike
    axes: str
    dtype: np.dtype[np.generic]
    labels: bool
    geometry: Geometry | None = None
    classes: tuple[ClassInfo, ...] = ()
    source: Path | None = None

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels, if there is one for each."""
        if self.labels or "C" not in self.axes:
            return ()
        names = tuple(info.name for info in self.classes)
        return names if len(names) == channel_count(self.array.shape, self.axes) else ()

    @property
    def n_planes(self) -> int:
        """Planes, whose channels count as one."""
        lengths = zip(self.array.shape, self.axes, strict=True)
        return math.prod(int(n) for n, axis in lengths if axis not in "YXC")


class FormatModule(Protocol):
    """What the module of a format offers; ``write`` and ``check`` only where the format is written."""

    def read(self, path: Path, *, as_labels: bool) -> ImageFile:
        """Read a file that is there.

        Raises ValueError with a sentence for what an image or label file here cannot be; what its library raises for damaged files
        may come through as RuntimeError, ValueError or OSError.
        """
        ...

    def write(self, path: Path, content: Content, *, overwrite: bool) -> Path:
        """Write through `atomic`, or refuse as `check` does."""
        ...

    def check(self, path: Path, axes: str, dtype: np.dtype[np.generic] | None) -> None:
        """Raise ValueError with a sentence when the format cannot hold such an array; dtype None: not known yet."""
        ...


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes
    ----------
    name
        What people call it.
    endings
        Endings of its files in lower case, with the dot; compound ones before their parts. None for a folder that is told by its content.
    module
        Name of its module beside this one.
    extra
        Extra of this package that installs what the module imports; empty when that is always there.
    folder
        Whether such an image is a folder.
    writes
        Whether labels can be written in it.
    """

    name: str
    endings: tuple[str, ...]
    module: str
    extra: str = ""
    folder: bool = False
    writes: bool = False

    def load(self) -> FormatModule:
        """Import the module.

        Raises
        ------
        ValueError
            When what it needs is not installed, with the command that installs it.
        """
        try:
            module = importlib.import_module(f"{__package__}.{self.module}")
        except ModuleNotFoundError as error:
            if not self.extra or (error.name or "").startswith("napari_sam2_adapters"):
                raise
            raise ValueError(
                f"{self.name} files need {error.name}, which is not installed. "
                f"Install it with: pip install 'napari-sam2-adapters[{self.extra}]'"
            ) from error
        return cast("FormatModule", module)


FORMATS = (
    Format("TIFF", (".ome.tif", ".ome.tiff", ".tif", ".tiff"), "tiff", writes=True),
    Format("PNG", (".png",), "picture", writes=True),
    Format("JPEG", (".jpg", ".jpeg"), "picture"),
    Format("OME-Zarr", (".ome.zarr", ".zarr"), "ome_zarr", folder=True, writes=True),
    Format("NPZ", (".npz",), "numpy_file", writes=True),
    Format("NPY", (".npy",), "numpy_file"),
    Format("NIfTI", (".nii", ".nii.gz"), "nifti", extra="medical", writes=True),
    Format("NRRD", (".seg.nrrd", ".nrrd", ".nhdr"), "itk", extra="medical", writes=True),
    Format("MetaImage", (".mha", ".mhd"), "itk", extra="medical", writes=True),
    Format("MRC", (".mrc", ".mrcs", ".rec", ".map"), "mrc", extra="em", writes=True),
    Format(
        "Microscope", (".czi", ".nd2", ".lif", ".oir", ".oib", ".vsi"), "microscope", extra="bioio"
    ),
    Format("DICOM", DICOM_ENDINGS, "dicom", extra="medical"),
)
_DICOM_SERIES = Format("DICOM series", (), "dicom", extra="medical", folder=True)

IMAGE_SUFFIXES = tuple(ending for entry in FORMATS for ending in entry.endings)


def format_of(path: Path) -> Format | None:
    """The format of a file or image folder; None for what is no image.

    It goes by the ending, for a part of an image folder by that of the folder; only a folder of DICOM slices is told by its content.
    """
    name = path.name.lower()
    found = next((entry for entry in FORMATS if name.endswith(entry.endings)), None)
    outer = None if found else image_folder(path)
    if outer is not None:
        return format_of(outer)
    return found or (_DICOM_SERIES if is_dicom_folder(path) else None)


def image_folder(path: Path) -> Path | None:
    """The image folder that a path lies in, such as ``a.ome.zarr`` of ``a.ome.zarr/labels/cells``; None for one that lies in none."""
    endings = tuple(e for entry in FORMATS if entry.folder for e in entry.endings)
    if not endings:
        return None
    above = (parent for parent in path.parents if parent.name.lower().endswith(endings))
    return next(above, None)


def is_image(path: Path) -> bool:
    """Whether there is an image of this name: a file, or for formats that keep images so a folder."""
    kind = format_of(path)
    return kind is not None and (path.is_dir() if kind.folder else path.is_file())


def image_stem(path: Path) -> str:
    """Name of a file without its ending, ``.ome.tif`` counting as one."""
    found = format_of(path)
    if found is not None and not found.endings:
        return path.name
    ending = next((e for e in found.endings if path.name.lower().endswith(e)), "") if found else ""
    return path.name[: -len(ending)] if ending else path.stem
