"""From files to layers, with their axes, pixel sizes and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pint
from napari.layers import Layer

from napari_sam2_adapters.batch.job import read_job_file
from napari_sam2_adapters.config import ClassInfo, default_classes
from napari_sam2_adapters.data.axes import ArrayLike, label_axes, plane_indices, read_plane
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.pairs import MOST_CLASSES
from napari_sam2_adapters.data.units import unit_name
from napari_sam2_adapters.widgets.docks.arrays import with_axis
from napari_sam2_adapters.widgets.docks.results import OURS, class_colormap, class_features
from napari_sam2_adapters.widgets.docks.spread import spread_entry
from napari_sam2_adapters.widgets.docks.turned import lies_across, turned_entry

__all__ = [
    "Channels",
    "FileLayer",
    "classes_beside",
    "coarsest",
    "find_loaded",
    "image_layer",
    "labels_layer",
    "nameless_values",
    "place_of",
    "spread_over",
]

Channels = Literal["rgb", "layers", "axis"]
"""Channels are colours, get a layer each, or share one layer, of which they are an axis."""

_FILE, _WRITTEN = "file", "file written at"


@dataclass(frozen=True)
class FileLayer:
    """A layer to be added on the GUI thread.

    Attributes
    ----------
    kind
        Of the layer.
    data
        Array for it, or of a pyramid the arrays of all levels, finest first.
    keywords
        For ``viewer.add_image`` or ``viewer.add_labels``.
    notice
        What a user should know of how it is shown; empty where there is nothing.
    """

    kind: Literal["image", "labels"]
    data: ArrayLike | list[ArrayLike]
    keywords: dict[str, Any]
    notice: str = ""

    def add_to(self, viewer: Any) -> list[Layer]:
        """Add it to a viewer."""
        add = viewer.add_image if self.kind == "image" else viewer.add_labels
        added = add(self.data, **self.keywords)
        return added if isinstance(added, list) else [added]


def image_layer(file: ImageFile, *, channels: Channels = "axis", name: str = "") -> FileLayer:
    """The layer of an image.

    Parameters
    ----------
    file
        The image with the axes and pixel sizes to be used.
    channels
        What its channels are; of no matter where it has none.
    name
        Name of the layer; that of the file when empty.
    """
    axes = file.axes
    keywords: dict[str, Any] = {
        "name": name or file.path.name,
        "metadata": _metadata(file),
        "multiscale": bool(file.levels),
    }
    if "C" not in axes or channels == "axis":
        if "C" not in axes and len(file.channel_names) == 1:
            keywords["name"] = f"{keywords['name']} – {file.channel_names[0]}"
        one = {**keywords, "rgb": False, **place_of(file, axes)}
        return FileLayer("image", _pyramid(file), one, _notice(file))
    plain = {**keywords, **place_of(file, label_axes(axes))}
    if channels == "rgb":
        levels = tuple(_colours_last(level, axes) for level in file.levels)
        colours = replace(file, array=_colours_last(file.array, axes), levels=levels)
        return FileLayer("image", _pyramid(colours), {**plain, "rgb": True}, _notice(file))
    count = file.array.shape[axes.index("C")]
    names = file.channel_names or tuple(f"channel {number + 1}" for number in range(count))
    plain["name"] = [f"{keywords['name']} – {channel}" for channel in names]
    plain["channel_axis"] = axes.index("C")
    return FileLayer("image", _pyramid(file), plain, _notice(file))


def labels_layer(
    file: ImageFile,
    classes: Sequence[ClassInfo] = (),
    *,
    name: str = "",
    show_background: bool = True,
) -> FileLayer:
    """The layer of labels; values that ``classes`` does not name get names and colours of their own.

    Labels with more nameless values than a training takes for classes (`MOST_CLASSES`) number single objects; they keep
    napari's changing colours.
    """
    keywords: dict[str, Any] = {
        "name": name or file.path.name,
        "metadata": _metadata(file),
        "multiscale": bool(file.levels),
        **place_of(file, file.axes),
    }
    if file.array.dtype == np.bool_:
        file = replace(file, array=np.asarray(file.array).astype(np.uint8), levels=())
        keywords["multiscale"] = False
    known = {info.value: info for info in classes or file.classes}
    nameless = nameless_values(coarsest(file), file.axes, set(known))
    values = nameless | set(known)
    if len(nameless) <= MOST_CLASSES and max(values, default=0) < 2**16:
        found = [known.get(info.value, info) for info in default_classes(sorted(values))]
        keywords["colormap"] = class_colormap(found, show_background=show_background)
        keywords["features"] = class_features(found)
    return FileLayer("labels", _pyramid(file), keywords, _notice(file))


def spread_over(labels: FileLayer, image: ImageFile) -> FileLayer:
    """Labels as they lie on the layer of an image whose channels are an axis of it.

    napari lines up the last axes of all layers, so where channels lie between others, the labels get an axis in their place: of length 1,
    but as long as all channels.
    """
    axis = image.axes.index("C") if "C" in image.axes else 0
    if not axis:
        return labels
    channels = image.array.shape[axis]
    n_axes, place = len(image.axes) - 1, labels.keywords
    own = place["metadata"].get(OURS, {})

    def inserted(key: str, usual: Any, own: Any) -> tuple[Any, ...]:
        known = tuple(place.get(key, (usual,) * n_axes))
        return (*known[:axis], own, *known[axis:])

    keywords = {
        **place,
        "scale": inserted("scale", 1.0, float(channels)),
        "translate": inserted("translate", 0.0, (channels - 1) / 2),
        "axis_labels": inserted("axis_labels", "", "c"),
        "metadata": {**place["metadata"], OURS: {**own, **spread_entry(axis)}},
    }
    if "units" in place:
        keywords["units"] = inserted("units", "pixel", "pixel")
    if "affine" in place:
        keywords["affine"] = np.insert(np.insert(place["affine"], axis, 0, 0), axis, 0, 1)
        keywords["affine"][axis, axis] = 1
    levels = labels.data if isinstance(labels.data, list) else [labels.data]
    data = [with_axis(level, axis) for level in levels]
    return replace(
        labels, data=data if isinstance(labels.data, list) else data[0], keywords=keywords
    )


def classes_beside(path: Path) -> tuple[ClassInfo, ...]:
    """Names and colours of the classes of a label file, if a batch wrote it; nothing otherwise."""
    for folder in path.parents:
        try:
            about = read_job_file(folder)
        except ValueError:  # a job of another program
            return ()
        if about is not None:
            return about.classes
    return ()


def place_of(file: ImageFile, axes: str) -> dict[str, Any]:
    """Keywords for scale, place, units and names of the axes that a layer has.

    An array that lies askew is turned by ``affine``, for this says all that a direction can; one that lies across is shown by its own slices.
    What napari does not know as a unit is ``pixel``.
    """
    place: dict[str, Any] = {"axis_labels": tuple(axis.lower() for axis in axes)}
    geometry = file.geometry
    if geometry is None:
        return place
    spatial = [axis for axis in "ZYX" if axis in file.axes]
    sizes = dict(zip(spatial, geometry.pixel_size, strict=True))
    units: dict[str, str | None] = dict.fromkeys(spatial, geometry.unit)
    if "T" in axes and geometry.time_step is not None:
        sizes["T"], units["T"] = geometry.time_step, geometry.time_unit
    place["scale"] = tuple(sizes.get(axis, 1.0) for axis in axes)
    if any(units.values()):
        place["units"] = tuple(_napari_unit(units.get(axis)) for axis in axes)
    origin = dict(zip(spatial, geometry.origin or (), strict=False))
    translate = [origin.get(axis, 0.0) for axis in axes]
    if geometry.is_straight:
        return {**place, "translate": tuple(translate)} if origin else place
    if lies_across(geometry):
        own = geometry.rotation().T @ (geometry.origin or (0.0,) * len(spatial))
        shown = dict(zip(spatial, own.tolist(), strict=True))
        return {**place, "translate": tuple(shown.get(axis, 0.0) for axis in axes)}
    affine = np.eye(len(axes) + 1)
    at = [axes.index(axis) for axis in spatial]
    affine[np.ix_(at, at)] = geometry.rotation()
    affine[:-1, -1] = translate
    return {**place, "affine": affine}


def _napari_unit(unit: str | None) -> str:
    """A unit as napari has it, ``pixel`` for none and for one that it would refuse."""
    name = unit_name(unit)
    known = name is not None and pint.application_registry.parse_unit_name(name)
    return name if name is not None and known else "pixel"


def _metadata(file: ImageFile) -> dict[str, Any]:
    """Which file it is, and the direction that its layer cannot have."""
    if file.geometry is None or not lies_across(file.geometry):
        return _known_by(file.path)
    return {**_known_by(file.path), OURS: turned_entry(file.geometry.rotation())}


def _notice(file: ImageFile) -> str:
    if file.geometry is not None and lies_across(file.geometry):
        return (
            f"{file.path.name} is sagittal or coronal: napari cannot show it in its place in the body, so it is shown slice by slice as it "
            "was taken. Labels that you save with SAM2 adapters lie on it all the same."
        )
    return _unit_notice(file)


def _unit_notice(file: ImageFile) -> str:
    if unit_name(file.unit) is None or _napari_unit(file.unit) != "pixel":
        return ""
    return f"The unit {file.unit!r} of {file.path.name} is not known: it is shown in pixels, with the numbers as they are."


def find_loaded(viewer: Any, path: Path) -> Layer | None:
    """The layer that shows a file as it is now, if there is one: what a batch has written since is not in a layer of before."""
    wanted = _known_by(path)
    for layer in viewer.layers:
        if {key: layer.metadata.get(key) for key in wanted} == wanted:
            found: Layer = layer
            return found
    return None


def _known_by(path: Path) -> dict[str, Any]:
    """Metadata of a layer that shows a file: its name, and when it was written; folders are read when they are looked at."""
    written = path.stat().st_mtime_ns if path.is_file() else None
    return {_FILE: str(path), _WRITTEN: written}


def coarsest(file: ImageFile) -> ArrayLike:
    """The level of an image that is read the fastest."""
    return file.levels[-1] if file.levels else file.array


def _pyramid(file: ImageFile) -> ArrayLike | list[ArrayLike]:
    return [file.array, *file.levels] if file.levels else file.array


def _colours_last(array: Any, axes: str) -> Any:
    if axes.endswith("C"):
        return array
    if not isinstance(array, np.ndarray) and not hasattr(array, "dask"):
        import dask.array

        array = dask.array.from_array(array, chunks=getattr(array, "chunks", "auto"))
    order = [*(i for i, axis in enumerate(axes) if axis != "C"), axes.index("C")]
    return array.transpose(order)


def nameless_values(array: ArrayLike, axes: str, named: set[int]) -> set[int]:
    """Values above 0 that occur and have no name, until there are too many for classes."""
    values: set[int] = set()
    for index in plane_indices(array.shape, axes):
        found = np.unique(read_plane(array, axes, index))
        few = found[found > 0][: MOST_CLASSES + len(named) + 1]
        values |= {int(value) for value in few} - named
        if len(values) > MOST_CLASSES:
            break
    return values
