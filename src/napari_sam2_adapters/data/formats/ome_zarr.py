"""OME-Zarr 0.4 and 0.5: multiscale images and label images, read by region; plain zarr arrays are read, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import zarr

from napari_sam2_adapters.data.axes import ArrayLike, guess_axes
from napari_sam2_adapters.data.formats.ngff import (
    Multiscale,
    geometry_of,
    label_classes,
    ome_attributes,
    parse_multiscale,
)
from napari_sam2_adapters.data.formats.ngff_channels import are_colours, channel_names
from napari_sam2_adapters.data.formats.ome_zarr_writing import (
    create_labels,
    discard_labels,
    finish_labels,
    write,
)
from napari_sam2_adapters.data.formats.zarr_nodes import (
    LABELS,
    check_array,
    label_names,
    open_level,
    open_node,
)
from napari_sam2_adapters.data.image_file import ImageFile

__all__ = [
    "LABELS",
    "check",
    "create_labels",
    "discard_labels",
    "finish_labels",
    "kind_of",
    "label_names",
    "read",
    "write",
]


def read(path: Path, *, as_labels: bool) -> ImageFile:
    """Open an image, a label image or a plain array; pixels are read when they are looked at.

    Asked for labels, an image gives those in its ``labels`` group, if there is just one.

    Raises
    ------
    ValueError
        When it is a plate or a collection of images, has several labels of which one has to be chosen, or is no OME-Zarr.
    """
    node = open_node(path)
    if isinstance(node, zarr.Array):
        return _plain(node, path)
    entries = ome_attributes(node.attrs)
    _refuse_collections(entries, path)
    if as_labels and "image-label" not in entries and (names := label_names(path)):
        if len(names) > 1:
            raise ValueError(
                f"{path} has the labels {', '.join(names)}. Choose one of them, for example {path / LABELS / names[0]}."
            )
        return read(path / LABELS / names[0], as_labels=True)
    multiscale = parse_multiscale(entries, path)
    arrays = [open_level(node, level.path, multiscale.axes, path) for level in multiscale.levels]
    count = _count(arrays[0], multiscale.axes)
    rgb = count == 3 and arrays[0].dtype == np.uint8 and are_colours(entries)
    names_of_channels = () if rgb else channel_names(entries, count)
    arrays, multiscale = _without_single_channel(arrays, multiscale)
    return ImageFile(
        arrays[0],
        multiscale.axes,
        path,
        rgb,
        geometry_of(multiscale, node.attrs),
        channel_names=names_of_channels,
        levels=tuple(arrays[1:]),
        classes=label_classes(entries),
    )


def kind_of(path: Path) -> Literal["image", "labels"] | None:
    """What a folder says it is: an image, to which labels can be added, or labels; None for another zarr.

    Raises
    ------
    ValueError
        When it is no zarr.
    """
    node = open_node(path)
    entries = {} if isinstance(node, zarr.Array) else ome_attributes(node.attrs)
    if "multiscales" not in entries:
        return None
    return "labels" if "image-label" in entries else "image"


def check(path: Path, axes: str, dtype: np.dtype[np.generic] | None) -> None:
    """Refuse element types that are no numbers."""
    if dtype is not None and dtype.kind not in "biuf":
        raise ValueError(f"OME-Zarr is written as whole or floating point numbers, got {dtype}.")


def _refuse_collections(entries: dict[str, Any], path: Path) -> None:
    if "multiscales" in entries:
        return
    if "plate" in entries or "well" in entries:
        kind = "plate" if "plate" in entries else "well"
        raise ValueError(
            f"{path} is a {kind} of many images. Choose one of them: the folder of a field, such as "
            f"{path.name}/{'A/1/0' if kind == 'plate' else '0'}."
        )
    if "bioformats2raw.layout" in entries or "series" in entries:
        raise ValueError(
            f"{path} is a collection of images. Choose one of them: a folder in it, such as {path.name}/0."
        )
    if "labels" in entries:
        raise ValueError(
            f"{path} is a group of labels. Choose one of them: {', '.join(map(str, entries['labels']))}."
        )
    raise ValueError(
        f"{path} is a zarr group that does not say it is an OME-Zarr image. Choose an array in it, or write it as OME-Zarr."
    )


def _plain(array: Any, path: Path) -> ImageFile:
    """An array without a description; axes as they are named, or as for NPY."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    axes = "".join(str(name or "?").upper() for name in names or ())
    named = len(axes) == len(array.shape) and set(axes) <= set("TZCYX")
    try:
        found = axes if named else guess_axes(array.shape)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    check_array(array, found, path)
    rgb = not named and found.endswith("C")
    return ImageFile(cast("ArrayLike", array), found, path, rgb)


def _count(array: Any, axes: str) -> int:
    return int(array.shape[axes.index("C")]) if "C" in axes else 1


def _without_single_channel(
    arrays: list[Any], multiscale: Multiscale
) -> tuple[list[Any], Multiscale]:
    """Images with one channel are given without that axis, and so fit their labels."""
    if "C" not in multiscale.axes or _count(arrays[0], multiscale.axes) != 1:
        return arrays, multiscale
    import dask.array

    at = multiscale.axes.index("C")
    lazy = [dask.array.from_array(array, chunks=array.chunks) for array in arrays]
    return [array[(slice(None),) * at + (0,)] for array in lazy], multiscale.without("C")
