"""Files of single planes or volumes as one stack that is read plane by plane."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sam2_adapters.data.formats.registry import format_of
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.io import read_image

__all__ = ["check_alike", "open_stack", "stack_axis"]

_TIFF = (".tif", ".tiff")


def stack_axis(axes: str) -> str:
    """The axis that files with these axes are stacked along: Z, then T.

    Raises
    ------
    ValueError
        When the files have both already.
    """
    free = [letter for letter in "ZT" if letter not in axes]
    if not free:
        raise ValueError(
            f"Files with the axes {axes} cannot be stacked: there is no axis left. Open them one by one."
        )
    return free[0]


def open_stack(
    paths: Sequence[Path],
    *,
    spacing: float | None = None,
    read: Callable[[Path], ImageFile] = read_image,
) -> ImageFile:
    """Open files of one kind as a lazy stack; a plane is read when it is looked at.

    Parameters
    ----------
    paths
        The files, in the order of the stack.
    spacing
        Distance between two files along Z, in the unit of the pixel size; that of the rows when None.
    read
        `read_image`, or `read_labels` for labels.

    Returns
    -------
    ImageFile
        Its array is a dask array with one chunk a file, the new axis first; its path is the folder of the first file.

    Raises
    ------
    ValueError
        When there are no files, one cannot be read, or they are not alike.
    """
    if not paths:
        raise ValueError("There is no file to open. Choose some.")
    first = read(paths[0])
    axis = stack_axis(first.axes)
    check_alike(paths)
    files = _Files(paths, first, read)
    import dask.array

    array = dask.array.from_array(
        files,
        chunks=(1, *first.array.shape),
        name=f"stack-{uuid.uuid4().hex}",
        meta=np.empty((0,) * files.ndim, files.dtype),
        asarray=True,
    )
    return replace(
        first,
        array=array,
        axes=axis + first.axes,
        path=paths[0].parent,
        geometry=_stacked(first.geometry, axis, spacing),
        levels=(),
    )


def check_alike(paths: Sequence[Path]) -> None:
    """Compare size and type of files by their heads, without reading pixels.

    Raises
    ------
    ValueError
        When a file cannot be read or is not like the first, in a sentence that names it.
    """
    kinds: dict[str, list[Path]] = {}
    for path in paths:
        kinds.setdefault(_kind(path), []).append(path)
    if len(kinds) < 2:
        return
    usual = max(kinds, key=lambda kind: len(kinds[kind]))
    others = [(path, kind) for kind, found in kinds.items() if kind != usual for path in found]
    named = ", ".join(f"{path.name} ({kind})" for path, kind in others[:3])
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    raise ValueError(
        f"Sections of a stack are of one kind, here {usual}, but these are not: {named}{more}. "
        "Leave them out, or open the files as separate images."
    )


def _stacked(plane: Geometry | None, axis: str, spacing: float | None) -> Geometry | None:
    """Geometry of a stack whose first file has this one; what lay askew lies along the axes then."""
    if plane is None or axis != "Z":
        return plane
    sizes = (spacing or plane.pixel_size[0], *plane.pixel_size)
    origin = None if plane.origin is None else (0.0, *plane.origin)
    return replace(plane, pixel_size=sizes, origin=origin, direction=None)


class _Files:
    """Files as one array-like for dask; the first axis counts the files."""

    def __init__(
        self, paths: Sequence[Path], first: ImageFile, read: Callable[[Path], ImageFile]
    ) -> None:
        self._paths, self._axes, self._open = list(paths), first.axes, read
        self.shape = (len(self._paths), *(int(n) for n in first.array.shape))
        self.dtype = np.dtype(first.array.dtype).newbyteorder("=")
        self.ndim = len(self.shape)

    def __getitem__(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
        if not isinstance(key[0], slice):
            return self._part(int(key[0]), key[1:])
        numbers = range(*key[0].indices(len(self._paths)))
        return np.stack([self._part(number, key[1:]) for number in numbers])

    def _part(self, number: int, key: tuple[int | slice, ...]) -> NDArray[Any]:
        """A region of a file in the byte order of this machine: programs differ in that within one folder."""
        return np.asarray(self._read(number)[key], self.dtype)

    def _read(self, number: int) -> NDArray[Any]:
        found = self._open(self._paths[number])
        if (
            found.axes != self._axes
            or tuple(found.array.shape) != self.shape[1:]
            or found.array.dtype.newbyteorder("=") != self.dtype
        ):
            raise ValueError(
                f"{found.path} has the shape {tuple(found.array.shape)} ({found.array.dtype}), but the stack "
                f"is of {self.shape[1:]} ({self.dtype}). Leave this file out."
            )
        return cast("NDArray[Any]", found.array)


def _kind(path: Path) -> str:
    """Size and type of a file in words, from its heads alone."""
    try:
        if path.suffix.lower() in _TIFF:
            with tifffile.TiffFile(path) as file:
                page, n_pages = file.pages.first, len(file.pages)
                lengths = (*((n_pages,) if n_pages > 1 else ()), *page.shape)
                return f"{' × '.join(map(str, lengths))} px, {page.dtype}"
        if (found := format_of(path)) is not None and found.module != "picture":
            array = read_image(path).array
            return f"{' × '.join(map(str, array.shape))} px, {array.dtype.newbyteorder('=')}"
        from napari_sam2_adapters.data.formats.picture import open_picture

        with open_picture(path) as picture:
            width, height = picture.size
            return f"{height} × {width} px, {picture.mode}"
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}). Leave it out, or save it again."
        ) from error
