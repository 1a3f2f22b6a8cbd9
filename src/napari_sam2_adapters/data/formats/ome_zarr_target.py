"""Where OME-Zarr labels go: alone, or into an image, whose levels they follow."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_sam2_adapters.atomic import new_partial_folder, publish_folder
from napari_sam2_adapters.data.formats.ngff import (
    Multiscale,
    Version,
    geometry_of,
    ome_attributes,
    parse_multiscale,
    put_under_ome,
)
from napari_sam2_adapters.data.formats.pyramid import LevelShape
from napari_sam2_adapters.data.formats.registry import format_of, image_folder
from napari_sam2_adapters.data.formats.zarr_nodes import LABELS, open_level, open_node
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.units import length_in_metres

__all__ = [
    "FollowedImage",
    "ensure_labels_group",
    "fitting_image",
    "followed_image",
    "image_of",
    "link_to_image",
    "list_in_image",
    "refuse_replacing",
]


@dataclass(frozen=True)
class FollowedImage:
    """An OME-Zarr image whose levels labels follow, without its channels."""

    multiscale: Multiscale
    shapes: tuple[LevelShape, ...]
    geometry: Geometry | None


def image_of(path: Path) -> Path | None:
    """The image that labels of this name go into; None for labels of their own.

    Raises
    ------
    ValueError
        When the name lies elsewhere in an image.
    """
    outer = image_folder(path)
    if outer is None:
        return None
    if path.parent.name != LABELS or path.name.startswith((".", "__")):
        raise ValueError(
            f"{path} lies inside an image folder, where labels are called {outer.name}/labels/NAME. Rename it."
        )
    image = path.parent.parent
    if not image.is_dir():
        raise ValueError(
            f"There is no image {image} that the labels could go into. Check the path."
        )
    return image


def followed_image(source: Path | None) -> FollowedImage | None:
    """Levels of an OME-Zarr image; None for files of other kinds."""
    kind = None if source is None else format_of(source)
    if source is None or kind is None or kind.module != "ome_zarr" or not source.is_dir():
        return None
    node = open_node(source)
    if isinstance(node, zarr.Array) or "multiscales" not in (found := ome_attributes(node.attrs)):
        return None
    whole = parse_multiscale(found, source)
    kept = [i for i, axis in enumerate(whole.axes) if axis != "C"]

    def pick(lengths: Sequence[int] | None) -> tuple[int, ...] | None:
        return None if lengths is None else tuple(int(lengths[i]) for i in kept)

    arrays = [open_level(node, level.path, whole.axes, source) for level in whole.levels]
    shapes = tuple(
        LevelShape(pick(a.shape) or (), pick(a.chunks) or (), pick(a.shards)) for a in arrays
    )
    multiscale = whole.without("C")
    version: Version = "0.5" if node.metadata.zarr_format == 3 else "0.4"
    levels = tuple(replace(level, path=str(i)) for i, level in enumerate(multiscale.levels))
    multiscale = replace(multiscale, version=version, levels=levels)
    return FollowedImage(multiscale, shapes, geometry_of(multiscale, node.attrs))


def fitting_image(
    image: FollowedImage,
    shape: tuple[int, ...],
    axes: str,
    geometry: Geometry | None,
    path: Path | None,
) -> FollowedImage | None:
    """The image when labels of this shape lie on it; otherwise None, or with a path that is in the image a sentence."""
    theirs = image.multiscale.axes
    lengths = dict(zip(axes, shape, strict=True))
    wanted = dict(zip(theirs, image.shapes[0].shape, strict=True))
    if path is None:
        same_place = geometry == image.geometry
        return image if axes == theirs and lengths == wanted and same_place else None
    if {a: n for a, n in lengths.items() if n > 1} != {a: n for a, n in wanted.items() if n > 1}:
        raise ValueError(
            f"The labels for {path} have the axes {axes} and the shape {shape}, but the image has {theirs} with "
            f"{tuple(wanted.values())}. Choose the image that they belong to."
        )
    if geometry is not None and image.geometry is not None and not _close(geometry, image.geometry):
        raise ValueError(
            f"The labels for {path} have pixels of {geometry.pixel_size} {geometry.unit or 'pixel'}, but those of the "
            f"image are {image.geometry.pixel_size} {image.geometry.unit or 'pixel'}. Save the labels as a file of their own."
        )
    return image


def _close(one: Geometry, other: Geometry) -> bool:
    count = min(len(one.pixel_size), len(other.pixel_size))
    same_unit = length_in_metres(one.unit) == length_in_metres(other.unit)
    return same_unit and np.allclose(one.pixel_size[-count:], other.pixel_size[-count:], rtol=1e-5)


def link_to_image(path: Path, inside: Path | None, source: Path | None) -> str | None:
    """Path from the labels to their image, if both are OME-Zarr."""
    if inside is not None:
        return "../../"
    if source is None:
        return None
    try:
        return Path(os.path.relpath(source, path)).as_posix()
    except ValueError:  # on another drive
        return None


def refuse_replacing(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace a folder without consent, and one that is more than an image or its labels in any case.

    Raises
    ------
    FileExistsError
        With the reason.
    """
    if not path.exists():
        return
    if not overwrite:
        raise FileExistsError(
            f"{path} exists already. Choose another name, or allow it to be overwritten."
        )
    if not any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray")):
        raise FileExistsError(
            f"{path} is there and no zarr, so it is not replaced. Choose another name."
        )
    entries = ome_attributes(open_node(path).attrs)
    if (path / LABELS).is_dir() or "plate" in entries or "bioformats2raw.layout" in entries:
        raise FileExistsError(
            f"{path} holds labels or several images, which would go with it, so it is not replaced. Choose another name."
        )


def ensure_labels_group(image: Path, zarr_format: Any) -> None:
    """Give an image the group of its labels, if it has none."""
    if (image / LABELS).exists():
        return
    draft = new_partial_folder(image)
    version: Version = "0.5" if zarr_format == 3 else "0.4"
    entries = put_under_ome({"labels": []}, version)
    zarr.open_group(str(draft), mode="w", zarr_format=zarr_format, attributes=entries)
    publish_folder(draft, image / LABELS)


def list_in_image(image: Path, name: str) -> None:
    """Add a name to the list of labels; where the image keeps all metadata in one place, there too."""
    group = zarr.open_group(str(image / LABELS), mode="r+", use_consolidated=False)
    entries = ome_attributes(group.attrs)
    names = list(entries.get("labels") or [])
    if name not in names:
        entries["labels"] = [*names, name]
        group.attrs.update({"ome": entries} if "ome" in group.attrs else entries)
    root: Any = zarr.open_group(str(image), mode="r")
    if root.metadata.consolidated_metadata is not None:
        with warnings.catch_warnings():  # Zarr 3 has no specification of what the image has already
            warnings.simplefilter("ignore", UserWarning)
            zarr.consolidate_metadata(str(image))
