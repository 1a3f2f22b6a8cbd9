"""Image and label files: reading with axes and geometry, and writing that never destroys.

The formats are in `data.formats`; large files stay on the disk and are read by region.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.axes import ArrayLike, check_axes, plane_indices, read_plane
from napari_sam2_adapters.data.formats.elements import whole_numbers
from napari_sam2_adapters.data.formats.registry import (
    FORMATS,
    IMAGE_SUFFIXES,
    Content,
    FormatModule,
    format_of,
)
from napari_sam2_adapters.data.formats.signatures import true_kind
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.units import unknown_unit_notice

__all__ = [
    "Geometry",
    "ImageFile",
    "check_format",
    "labels_inside",
    "ome_zarr_kind",
    "read_image",
    "read_labels",
    "write_array",
    "write_labels",
]


def read_image(path: Path | str) -> ImageFile:
    """Read an image of any of the formats.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is of another kind, damaged, has axes that an image here cannot have, or needs an extra of
        this package that is not installed.
    """
    return _read(Path(path), as_labels=False)


def read_labels(path: Path | str) -> ImageFile:
    """Read labels without channels; a coloured PNG palette gives its indices, floating point the whole numbers that it holds.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is no image, or it is in colour or lossy, or a value is no whole number.
    """
    path = Path(path)
    found = _read(path, as_labels=True)
    if "C" in found.axes:
        raise ValueError(
            f"{path} has channels or colours (axes {found.axes}), but labels have one number per pixel. "
            "Save the labels without colours, as 8- or 16-bit grey."
        )
    if found.array.dtype.kind == "f":  # coarser levels may be means of several values
        found = replace(found, array=whole_numbers(found.array, found.axes), levels=())
    if found.array.dtype.kind not in "biu":
        raise ValueError(
            f"{path} holds {found.array.dtype}, but labels are whole numbers. Save them as 8- or 16-bit."
        )
    return found


def write_labels(
    path: Path | str,
    labels: ArrayLike,
    *,
    axes: str,
    geometry: Geometry | None = None,
    classes: tuple[ClassInfo, ...] = (),
    source: Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write labels in the smallest type that holds them; the ending of the name decides the format.

    The file appears under its name only when it is complete.

    Parameters
    ----------
    path
        Where to; ``IMAGE.ome.zarr/labels/NAME`` adds labels to an OME-Zarr image.
    labels
        numpy, dask or zarr array of values from 0 up; read plane by plane.
    axes
        Names of its axes.
    geometry
        Where the pixels lie; kept by all formats but PNG. Labels in an OME-Zarr image get that of the image.
    classes
        Names and colours of the values, for formats that can hold them.
    source
        Image file that the labels belong to; NIfTI and NRRD keep its header.
    overwrite
        Whether to replace a file.

    Raises
    ------
    FileExistsError
        When the file exists and ``overwrite`` is not set.
    ValueError
        When the labels, the geometry or the format do not fit.
    """
    path = Path(path)
    check_axes(labels.shape, axes)
    if "C" in axes or np.dtype(labels.dtype).kind not in "biu":
        raise ValueError(
            f"Labels are whole numbers without channels, got {labels.dtype} with axes {axes}."
        )
    module = check_format(path, axes)
    if geometry is not None:
        geometry.check_axes(axes)
    dtype = _smallest_dtype(labels, axes)
    module.check(path, axes, dtype)
    content = Content(labels, axes, dtype, True, geometry, classes, source)
    return module.write(path, content, overwrite=overwrite)


def write_array(
    path: Path | str,
    array: ArrayLike,
    *,
    axes: str,
    geometry: Geometry | None = None,
    channels: tuple[ClassInfo, ...] = (),
    source: Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write probabilities, uncertainty or an image in the array's own type; as :func:`write_labels`.

    float16 becomes float32 in formats that have no such numbers, which are all but plain TIFF, OME-Zarr, NPZ and MRC. ``channels`` are
    the classes that the channels are of; TIFF, OME-Zarr and NPZ keep their names.

    Raises
    ------
    FileExistsError
        When the file exists and ``overwrite`` is not set.
    ValueError
        When the format cannot hold the array.
    """
    path = Path(path)
    check_axes(array.shape, axes)
    dtype = np.dtype(array.dtype)
    module = _writer(path)
    if dtype == np.float16 and not _holds(module, path, axes, dtype):
        dtype = np.dtype(np.float32)
    module.check(path, axes, dtype)
    if geometry is not None:
        geometry.check_axes(axes)
    content = Content(array, axes, dtype, False, geometry, channels, source)
    return module.write(path, content, overwrite=overwrite)


def ome_zarr_kind(path: Path) -> Literal["image", "labels"] | None:
    """Whether there is an OME-Zarr image of this name, or labels; labels of an image are kept at ``path/labels/NAME``.

    Raises
    ------
    ValueError
        When it is a folder of such a name, but no zarr.
    """
    found = format_of(path)
    if found is None or found.module != "ome_zarr" or not path.is_dir():
        return None
    from napari_sam2_adapters.data.formats import ome_zarr

    return ome_zarr.kind_of(path)


def labels_inside(path: Path) -> tuple[Path, ...]:
    """Label images that are kept in an image, which `read_labels` takes."""
    if ome_zarr_kind(path) != "image":
        return ()
    from napari_sam2_adapters.data.formats import ome_zarr

    return tuple(path / ome_zarr.LABELS / name for name in ome_zarr.label_names(path))


def check_format(path: Path, axes: str) -> FormatModule:
    """Refuse a name whose format cannot hold an array with these axes, before the work.

    Raises
    ------
    ValueError
        With what would fit.
    """
    module = _writer(path)
    module.check(path, axes, None)
    return module


def _writer(path: Path) -> FormatModule:
    found = format_of(path)
    if found is None or not found.writes:
        endings = ", ".join(e for entry in FORMATS if entry.writes for e in entry.endings)
        raise ValueError(
            f"{path} ends in {path.suffix!r}, but this is written as {endings}. Rename it."
        )
    return found.load()


def _holds(module: FormatModule, path: Path, axes: str, dtype: np.dtype[Any]) -> bool:
    try:
        module.check(path, axes, dtype)
    except ValueError:
        return False
    return True


def _smallest_dtype(labels: ArrayLike, axes: str) -> np.dtype[Any]:
    if labels.dtype == np.uint8:  # no smaller one, so nothing has to be looked at
        return np.dtype(np.uint8)
    low, high = 0, 0
    for index in plane_indices(labels.shape, axes):
        plane = read_plane(labels, axes, index)
        low, high = min(low, int(plane.min())), max(high, int(plane.max()))
    if low < 0 or high >= 2**32:
        raise ValueError(f"Label values lie between 0 and 4294967295, got {low} to {high}.")
    return np.dtype(np.min_scalar_type(high))


def _read(path: Path, *, as_labels: bool) -> ImageFile:
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}. Check the path.")
    found = format_of(path)
    if found is None:
        raise ValueError(
            f"{path} is of the kind {path.suffix!r}; images end in {', '.join(IMAGE_SUFFIXES)}. Convert it."
        )
    if found.folder != path.is_dir():
        wanted = "a folder" if found.folder else "a file, not a folder"
        raise ValueError(f"{path} should be {wanted}: {found.name} is kept so. Check the path.")
    module = found.load()
    try:
        file = module.read(path, as_labels=as_labels)
    except MemoryError:
        raise
    except Exception as error:  # whatever a library stumbles over in a damaged file
        if note := _misnamed(path, found.name):
            raise ValueError(note) from error
        if isinstance(error, (ValueError, OSError, RuntimeError)) and str(path) in str(error):
            raise
        # which spells the path as Python does, with backslashes twice
        if isinstance(error, OSError) and error.filename == str(path):
            raise
        raise ValueError(
            f"{path} cannot be read ({_reason(error)}). It may be damaged or of another kind; save it again."
        ) from error
    notice = unknown_unit_notice(file.unit)
    return replace(file, notices=(*file.notices, notice)) if notice else file


def _reason(error: Exception) -> str:
    """What an error says, in one line; with its kind where that is none of those that say what is wrong with a file."""
    text = " ".join(str(error).split())
    if isinstance(error, (ValueError, OSError, RuntimeError, struct.error)):
        return text
    return f"{type(error).__name__}: {text}".rstrip(": ")


def _misnamed(path: Path, name: str) -> str:
    """A sentence about a file that is empty, or another thing than its name says; nothing for the others."""
    if not path.is_file():
        return ""
    if not path.stat().st_size:
        return f"{path} cannot be read (it is empty). It may be damaged or of another kind; save it again."
    kind = true_kind(path)
    archives = {"NPZ": "zip archive", "NIfTI": "gzip archive", "NRRD": "NRRD"}
    own = [name, archives.get(name)]
    if name == "Microscope":  # they write these, too, under names of their own
        own += ["TIFF", "zip archive"]
    if kind is None or kind[0] in own:
        return ""
    return (
        f"{path} is called {name}, but what is in it is {kind[0]}. Let its name end in {kind[1]}."
    )
