"""DICOM: a folder of slices as one volume, or a single file. Labels of it are written as NIfTI or NRRD, which keep its place.

The world is that of `patient_space`, in millimetres.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from napari_sam2_adapters.data.formats.itk import (
    colours,
    pixels_of,
    quietly,
    sentence_of,
)
from napari_sam2_adapters.data.formats.itk_place import matrix_of
from napari_sam2_adapters.data.formats.patient_space import from_matrix
from napari_sam2_adapters.data.image_file import ImageFile

__all__ = ["read"]

_POSITION = "0020|0032"
_SPACING = ("0028|0030", "0018|1164")
_DESCRIPTION = "0008|103e"
_MISSING = 1.5
"""A step this many times as long as the usual one is a gap of missing slices."""
_UNEVEN = 0.01
_NAMED_SERIES = 5


def read(path: Path, *, as_labels: bool) -> ImageFile:
    """Read a series, sorted by the slices' positions, or a file, with the rescale slope applied.

    Raises
    ------
    ValueError
        When there are several series, slices are missing or lie at one place, or a file is damaged.
    """
    try:
        with quietly():
            image, positions, files = _series(path) if path.is_dir() else _file(path)
        array, axes = pixels_of(image)
    except RuntimeError as error:
        raise ValueError(
            f"{path} cannot be read as DICOM ({sentence_of(error)}). It may be damaged or of another kind; export it again."
        ) from error
    matrix = matrix_of(image)
    notices: tuple[str, ...] = ()
    if positions is not None:
        notices = _check_steps(path, positions, files)
        # Gantry tilt moves slices sideways, too, which ITK's spacing does not hold.
        matrix[:3, 2] = (positions[-1] - positions[0]) / (len(positions) - 1)
    geometry = from_matrix(matrix, "millimeter") if _has_spacing(image, files) else None
    rgb = colours(array, axes)
    return ImageFile(array[..., :3] if rgb else array, axes, path, rgb, geometry, notices=notices)


def _series(folder: Path) -> tuple[Any, NDArray[np.float64] | None, list[str]]:
    """The one series of a folder, the positions of its slices where there are several, and its files."""
    reader = SimpleITK.ImageSeriesReader()
    found = reader.GetGDCMSeriesIDs(str(folder))
    if not found:
        raise ValueError(f"{folder} holds no DICOM series that can be read. Export it again.")
    series = {uid: list(reader.GetGDCMSeriesFileNames(str(folder), uid)) for uid in found}
    if len(series) > 1:
        _refuse_several(folder, list(series.values()))
    files = next(iter(series.values()))
    if len(files) == 1:
        return _file(Path(files[0]))
    reader.SetFileNames(files)
    reader.SetImageIO("GDCMImageIO")
    reader.MetaDataDictionaryArrayUpdateOn()
    image = reader.Execute()
    known = [reader.HasMetaDataKey(number, _POSITION) for number in range(len(files))]
    if not all(known):
        raise ValueError(
            f"{folder} has slices without a position, such as {Path(files[known.index(False)]).name}. "
            "Open its files with the pattern *.dcm, as separate images or as one stack."
        )
    texts = [reader.GetMetaData(number, _POSITION) for number in range(len(files))]
    return image, np.array([text.split("\\") for text in texts], float), files


def _file(path: Path) -> tuple[Any, None, list[str]]:
    reader = _reader(path)
    return reader.Execute(), None, [str(path)]


def _reader(path: Path | str) -> Any:
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    return reader


def _refuse_several(folder: Path, series: list[list[str]]) -> None:
    names = []
    for files in series[:_NAMED_SERIES]:
        reader = _reader(files[0])
        reader.ReadImageInformation()
        known = reader.HasMetaDataKey(_DESCRIPTION)
        name = reader.GetMetaData(_DESCRIPTION).strip() if known else ""
        names.append(f"{name or 'without a name'} ({len(files)} files, {Path(files[0]).name} …)")
    more = f" and {len(series) - len(names)} more" if len(series) > len(names) else ""
    raise ValueError(
        f"{folder} holds {len(series)} DICOM series: {', '.join(names)}{more}. Put each into a folder of its own, "
        "or open the files one by one with the pattern *.dcm."
    )


def _has_spacing(image: Any, files: list[str]) -> bool:
    """Whether the pixel size is known: photographs and screenshots have none, which ITK gives as 1."""
    reader = _reader(files[0])
    reader.ReadImageInformation()
    return any(reader.HasMetaDataKey(key) for key in _SPACING) or set(image.GetSpacing()) != {1.0}


def _check_steps(folder: Path, positions: NDArray[np.float64], files: list[str]) -> tuple[str, ...]:
    """Refuse missing and doubled slices; a notice where the steps are a little uneven."""
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    usual = float(np.median(steps))
    where = int(steps.argmax())
    between = f"between {Path(files[where]).name} and {Path(files[where + 1]).name}"
    if steps.min() < 1e-3 * usual or usual == 0:
        raise ValueError(
            f"{folder} has several slices at one place, such as time points or echoes of one series. "
            "Put those that belong together into a folder of their own."
        )
    if steps[where] > _MISSING * usual:
        raise ValueError(
            f"{folder} lacks slices {between}: the step there is {steps[where]:.4g} mm, else {usual:.4g} mm. "
            "Add the missing files, or split the series there."
        )
    if np.ptp(steps) > _UNEVEN * usual:
        return (
            f"The slices lie {steps.min():.4g} to {steps.max():.4g} mm apart, most {between}; they are taken as even.",
        )
    return ()
