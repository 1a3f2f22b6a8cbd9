"""NRRD and MetaImage: read by SimpleITK, written plane by plane, compressed, with spacing, origin and direction.

The world is that of `patient_space`; lengths are written in millimetres, which is what programs that read these files take them for. Labels of such a file
get its own numbers and units (`itk_place`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from napari_sam2_adapters.data.formats import itk_writing
from napari_sam2_adapters.data.formats.itk_place import (
    NRRD,
    meta_place,
    nrrd_place,
    reader_of,
)
from napari_sam2_adapters.data.formats.itk_writing import check
from napari_sam2_adapters.data.formats.registry import Content
from napari_sam2_adapters.data.formats.text_header import TextHeader, read_header
from napari_sam2_adapters.data.image_file import ImageFile

__all__ = ["check", "colours", "pixels_of", "quietly", "read", "sentence_of", "write"]

# of MET_LONG at least so many, which MetaIO takes from the machine
_META_BYTES = {"MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4, "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8}  # fmt: skip
_KIND = "NRRD_kinds[pixel]"
# By the number of channels. SimpleITK writes all colours as a vector: three can be taken for colours, but of any four one would be left out.
_COLOUR_KINDS = {3: ("RGB-color", "3-color", "vector"), 4: ("RGBA-color",)}


def read(path: Path, *, as_labels: bool) -> ImageFile:
    """Read an NRRD (``.nrrd``, ``.nhdr``) or MetaImage (``.mha``, ``.mhd``) file into memory.

    A ``list`` axis of NRRD is time, any other one beside the spatial axes is channels, of which ``RGBA-color`` loses its transparency. The segments of 3D Slicer are classes.

    Raises
    ------
    ValueError
        When it is damaged, or no picture of real numbers.
    """
    nrrd = path.suffix.lower() in NRRD
    reader = reader_of(path)
    try:
        header = read_header(path)
        _check_whole(path, header, nrrd=nrrd)
        with quietly():
            image = reader.Execute()
        array, axes = pixels_of(image)
        kind = image.GetMetaData(_KIND) if image.HasMetaDataKey(_KIND) else ""
        geometry = (nrrd_place if nrrd else meta_place)(image, header)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read ({sentence_of(error)}). It may be damaged or of another kind; save it again."
        ) from error
    if kind == "list":
        if as_labels and header.has_layers:
            raise ValueError(
                f"{path} holds overlapping segments in {array.shape[-1]} layers, but labels have one number per pixel. "
                "Export the segmentation as one labelmap."
            )
        array = np.moveaxis(array, -1, 0) if "C" in axes else array[np.newaxis]
        axes = f"T{axes.replace('C', '')}"
    rgb = colours(array, axes) and (not nrrd or kind in _COLOUR_KINDS[array.shape[-1]])
    if rgb:
        array = array[..., :3]
    return ImageFile(
        array,
        axes,
        path,
        rgb,
        geometry,
        classes=header.classes() if as_labels else (),
    )


def write(path: Path, content: Content, *, overwrite: bool) -> Path:
    """Write labels with the names and colours of their classes, or probabilities."""
    check(path, content.axes, content.dtype)
    return itk_writing.write(path, content, overwrite=overwrite)


def _check_whole(path: Path, header: TextHeader, *, nrrd: bool) -> None:
    """Refuse what is no header, and data that are not there or too short, of which MetaIO would tell the terminal alone.

    Raises
    ------
    ValueError
        With the reason, to stand in brackets.
    """
    fields = header.fields
    if ("dimension" if nrrd else "ndims") not in fields:
        raise ValueError("it has no header of this format")
    data = fields.get("data file", fields.get("datafile", "")) if nrrd else fields.get("elementdatafile", "")  # fmt: skip
    apart = data.upper() not in ("", "LOCAL") and not data.upper().startswith("LIST")
    if apart and "%" not in data and not (path.parent / data).is_file():
        raise ValueError(f"its data should lie in {data}, which is not there")
    if nrrd or "%" in data or data.upper().startswith("LIST"):
        return
    if fields.get("compresseddata", "").lower() == "true":
        needed = int(fields.get("compresseddatasize", 0))
    else:
        elements = math.prod(int(n) for n in fields.get("dimsize", "0").split())
        binary = fields.get("binarydata", "").lower() == "true"
        n_bytes = _META_BYTES.get(fields.get("elementtype", ""), 1) if binary else 1
        needed = elements * int(fields.get("elementnumberofchannels", 1)) * n_bytes
    if (path.parent / data if apart else path).stat().st_size < needed:
        raise ValueError("it was cut short")


@contextmanager
def quietly() -> Iterator[None]:
    """Without the warnings that ITK writes to the terminal: what goes wrong comes as an error."""
    before = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(before)


def pixels_of(image: Any) -> tuple[NDArray[Any], str]:
    """The array of SimpleITK's image, and its axes: channels last.

    Raises
    ------
    ValueError
        When it is no picture of real numbers with two to four axes.
    """
    count = image.GetDimension()
    name = image.GetPixelIDTypeAsString()
    if count not in (2, 3, 4) or "complex" in name or "label" in name:
        raise ValueError(f"it has {count} axes of {name}, not 2 to 4 axes of real numbers")
    axes = "TZYX"[-count:]
    several = image.GetNumberOfComponentsPerPixel() > 1
    return SimpleITK.GetArrayFromImage(image), f"{axes}C" if several else axes


def colours(array: NDArray[Any], axes: str) -> bool:
    """Whether channels are red, green, blue and perhaps transparency, which MetaImage and DICOM do not say."""
    return "C" in axes and array.dtype == np.uint8 and array.shape[-1] in (3, 4)


def sentence_of(error: Exception) -> str:
    """What an error of ITK says, without where in its source it was raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = next((line for line in reversed(lines) if "ERROR: " in line), "")
    if not text or text.endswith(":"):  # what follows says it better
        text = lines[-1] if lines else type(error).__name__
    return re.sub(r"\w+\(0x[0-9a-f]+\): ", "", text.rpartition("ERROR: ")[2]).rstrip(".")
