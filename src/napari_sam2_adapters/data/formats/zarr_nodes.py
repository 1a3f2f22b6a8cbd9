"""Zarr arrays and groups of an image, opened with a sentence where that fails."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import zarr
from zarr.core.sync import sync

from napari_sam2_adapters.data.axes import check_axes
from napari_sam2_adapters.data.formats.ngff import ome_attributes

__all__ = ["LABELS", "check_array", "label_names", "open_level", "open_node", "remove_begun"]

LABELS = "labels"
"""Name of the group of an image's labels."""
_STRAGGLERS_S = 5


def open_node(path: Path) -> Any:
    """The array or group of a folder, to be read.

    Raises
    ------
    ValueError
        When there is none.
    """
    try:
        return zarr.open(str(path), mode="r", use_consolidated=False)
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        # zarr raises all of these for a folder that it does not understand
        reason = "" if isinstance(error, OSError) else f" ({type(error).__name__}: {error})"
        raise ValueError(
            f"{path} is a folder without a readable zarr array or group in it{reason}. "
            "Choose the folder that holds zarr.json, .zarray or .zgroup, or save the image again."
        ) from error


def open_level(group: Any, name: str, axes: str, path: Path) -> Any:
    """The array of a resolution.

    Raises
    ------
    ValueError
        When it is not there, or cannot be that of an image with these axes.
    """
    try:
        array = group[name]
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"{path} lists the resolution {name!r}, but it cannot be opened. The image is not complete; copy it again."
        ) from error
    if not isinstance(array, zarr.Array):
        raise ValueError(
            f"{path} lists the resolution {name!r}, but that is no array. Write it again."
        )
    check_array(array, axes, path)
    return array


def check_array(array: Any, axes: str, path: Path) -> None:
    """Refuse an array that is no image with these axes.

    Raises
    ------
    ValueError
        With the reason.
    """
    try:
        check_axes(array.shape, axes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"{path} holds {array.dtype}, but images here are whole or floating point numbers. Convert it."
        )


def label_names(path: Path) -> tuple[str, ...]:
    """Names of the label images that an image has; they are read at ``path/labels/NAME``."""
    folder = path / LABELS
    if not folder.is_dir():
        return ()
    node = open_node(folder)
    listed = ome_attributes(node.attrs).get("labels")
    names = listed if isinstance(listed, list) else []
    return tuple(str(name) for name in names if (folder / str(name)).is_dir())


def remove_begun(folder: Path) -> None:
    """Remove a folder that zarr was writing into; where it cannot be removed, it is left.

    When one of the files that zarr writes at a time fails, it goes on with the others, which would make the folder anew. They are waited for.
    """
    sync(_stragglers())
    shutil.rmtree(folder, ignore_errors=True)


async def _stragglers() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:  # reading over a network may be among them, and may take long
        await asyncio.wait(others, timeout=_STRAGGLERS_S)
