"""Reading files for the Load dock, in worker threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam2_adapters.config import Normalization
from napari_sam2_adapters.data.axes import label_axes, plane_indices, read_plane
from napari_sam2_adapters.data.formats.registry import IMAGE_SUFFIXES, image_folder, is_image
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.io import read_image, read_labels
from napari_sam2_adapters.data.matching import find_images, lie_elsewhere, match_labels
from napari_sam2_adapters.data.normalize import intensity_limits
from napari_sam2_adapters.data.stacks import open_stack
from napari_sam2_adapters.widgets.docks.log import log_error
from napari_sam2_adapters.widgets.loading.file_layers import (
    Channels,
    FileLayer,
    classes_beside,
    coarsest,
    image_layer,
    labels_layer,
    spread_over,
)

__all__ = ["LoadRequest", "Unread", "describe", "layers_of", "list_files", "load_layers"]

_IN_MEMORY_BYTES = 2**30
"""Labels up to this size are read into memory, so that they can be painted in."""
_SHOWN = Normalization(mode="percentile", low=0.1, high=99.9)
"""Grey values that are black and white at first: the same as the network is shown."""


@dataclass(frozen=True)
class LoadRequest:
    """What to load.

    Attributes
    ----------
    paths
        Image files in natural order.
    stack
        The stack of them, when they are one.
    change
        Gives an image with the axes, pixel sizes and unit that were set.
    channels
        What channels are, where an image has them.
    labels
        Label file of the one image or stack, or a folder of label files of the images' names.
    as_labels
        Whether the files are labels themselves.
    """

    paths: tuple[Path, ...]
    stack: ImageFile | None
    change: Callable[[ImageFile], ImageFile]
    channels: Channels
    labels: Path | None = None
    as_labels: bool = False


@dataclass(frozen=True)
class Unread:
    """One of several files that cannot be opened, and why; it keeps nobody from the others."""

    path: Path
    error: Exception


def list_files(path: Path, pattern: str) -> tuple[Path, ...]:
    """Images of a folder in natural order, or the one image.

    Raises
    ------
    ValueError
        When there is none.
    """
    if not path.exists():
        raise ValueError(f"There is no file or folder {path}. Check the path.")
    if not path.is_file() and image_folder(path / "inside") is None:
        return tuple(find_images(path, pattern))
    if not is_image(path):
        raise ValueError(
            f"{path.name} is no image that can be read here; images end in {', '.join(IMAGE_SUFFIXES)}."
        )
    return (path,)


def describe(paths: Sequence[Path], *, as_stack: bool) -> ImageFile:
    """The stack of these files, or the first of them that can be read, ready to be shown."""
    if as_stack:
        image = open_stack(paths)
        _read_a_corner(image)
        return image
    for path in paths[:-1]:
        try:
            return _described(path)
        except (ValueError, OSError) as error:
            log_error(error, f"looking at {path.name}")
    return _described(paths[-1])


def load_layers(request: LoadRequest) -> Generator[list[FileLayer] | Unread, None, None]:
    """Read one image after the other and yield its layers; of several, those that cannot be opened are told and left out.

    Raises
    ------
    ValueError
        When the only file cannot be read, labels do not fit the only image, or not all images have labels.
    """
    if request.as_labels:
        yield from _label_layers(request)
        return
    if request.stack is not None:
        image = request.change(request.stack)
        labels = None if request.labels is None else _stacked_labels(request.paths, request.labels)
        layers = layers_of(image, request.channels, labels, request.labels)
        yield _with_notice(layers, request.stack, labels)
        return
    matched = _matched_labels(request)
    yield from _one_by_one(request.paths, lambda path: _image_layers(request, path, matched))


def _one_by_one(
    paths: Sequence[Path], read: Callable[[Path], list[FileLayer]]
) -> Generator[list[FileLayer] | Unread, None, None]:
    for path in paths:
        try:
            found: list[FileLayer] | Unread = read(path)
        except (ValueError, OSError) as error:
            if len(paths) == 1:
                raise
            log_error(error, f"reading {path.name}")
            found = Unread(path, error)
        yield found


def _image_layers(
    request: LoadRequest, path: Path, matched: Mapping[Path, Path]
) -> list[FileLayer]:
    image, label_path = read_image(path), matched.get(path)
    labels = None if label_path is None else read_labels(label_path)
    layers = layers_of(request.change(image), request.channels, labels, label_path)
    return _with_notice(layers, image, labels)


def layers_of(
    image: ImageFile, channels: Channels, labels: ImageFile | None, label_path: Path | None
) -> list[FileLayer]:
    """Layers of an image and of labels on it.

    Raises
    ------
    ValueError
        When the labels do not fit.
    """
    if "C" not in image.axes or (channels == "rgb" and not _has_colours(image)):
        channels = "axis"
    layer = image_layer(image, channels=channels)
    found = [replace(layer, keywords={**layer.keywords, **_contrast(image, channels)})]
    _read_a_corner(image)
    if labels is not None and label_path is not None:
        laid = _labels_on(image, labels, label_path)
        found.append(spread_over(laid, image) if channels == "axis" else laid)
    return found


def _with_notice(
    layers: list[FileLayer], image: ImageFile, labels: ImageFile | None
) -> list[FileLayer]:
    """Layers of an image as it is stored and of labels on it, told where these lie elsewhere by their header: they are laid on it here."""
    if labels is None or not lie_elsewhere(image, labels):
        return layers
    notice = (
        f"By its header {labels.path.name} is mirrored, turned or shifted against {image.path.name}. It is laid on it pixel by pixel, "
        "as it is stored; if that is wrong, resample the labels on the image."
    )
    *others, laid = layers
    return [*others, replace(laid, notice=f"{notice} {laid.notice}".strip())]


def _label_layers(request: LoadRequest) -> Generator[list[FileLayer] | Unread, None, None]:
    """The files as labels, one layer each or one of all."""
    if request.stack is not None:
        stack = request.change(open_stack(request.paths, read=read_labels))
        classes = classes_beside(request.paths[0])
        yield [labels_layer(_to_paint_in(stack), classes)]
        return

    def read(path: Path) -> list[FileLayer]:
        labels = request.change(read_labels(path))
        return [labels_layer(_to_paint_in(labels), classes_beside(path))]

    yield from _one_by_one(request.paths, read)


def _to_paint_in(labels: ImageFile) -> ImageFile:
    """The labels in memory, unless they are too many."""
    n_bytes = math.prod(labels.array.shape) * labels.array.dtype.itemsize
    if n_bytes > _IN_MEMORY_BYTES:
        return labels
    return replace(labels, array=np.array(labels.array), levels=())


def _described(path: Path) -> ImageFile:
    image = read_image(path)
    _read_a_corner(image)
    return image


def _has_colours(image: ImageFile) -> bool:
    return image.array.shape[image.axes.index("C")] in (3, 4)


def _contrast(image: ImageFile, channels: Channels) -> dict[str, Any]:
    """Limits of the grey values, from a sample of the planes; 8-bit images show all of them."""
    if channels == "rgb" or image.array.dtype.itemsize == 1 or image.array.dtype.kind not in "iuf":
        return {}
    limits = intensity_limits(coarsest(image), image.axes, _SHOWN)
    if channels == "layers":
        return {
            "contrast_limits": [list(pair) for pair in zip(limits.low, limits.high, strict=True)]
        }
    return {"contrast_limits": (min(limits.low), max(limits.high))}


def _read_a_corner(image: ImageFile) -> None:
    """Read a pixel of what is read lazily: the modules that this loads take half a second, which is not for the GUI thread."""
    array = coarsest(image)
    if not isinstance(array, np.ndarray):
        planes = plane_indices(array.shape, image.axes)
        read_plane(array, image.axes, planes[len(planes) // 2], slice(0, 1), slice(0, 1))


def _labels_on(image: ImageFile, labels: ImageFile, path: Path) -> FileLayer:
    axes = label_axes(image.axes)
    wanted = tuple(n for n, axis in zip(image.array.shape, image.axes, strict=True) if axis != "C")
    if tuple(labels.array.shape) != wanted:
        raise ValueError(
            f"The labels {path.name} have the shape {tuple(labels.array.shape)}, but {image.path.name} needs {wanted}. "
            "Choose the labels that belong to this image."
        )
    fitting = _to_paint_in(replace(labels, axes=axes, geometry=image.geometry))
    name = f"{image.path.name} – labels"
    return labels_layer(fitting, classes_beside(path), name=name)


def _stacked_labels(paths: Sequence[Path], labels: Path) -> ImageFile:
    """Labels of a stack: one file with all planes, or a folder with a file for each section."""
    if not _is_folder_of_files(labels):
        return read_labels(labels)
    matched = [label for _, label in match_labels(paths, labels)]
    return open_stack(matched, read=read_labels)


def _is_folder_of_files(labels: Path) -> bool:
    return labels.is_dir() and not is_image(labels)


def _matched_labels(request: LoadRequest) -> dict[Path, Path]:
    if request.labels is None:
        return {}
    if _is_folder_of_files(request.labels):
        return dict(match_labels(request.paths, request.labels))
    if len(request.paths) > 1:
        raise ValueError(
            f"{request.labels.name} is one file, but {len(request.paths)} images are opened. "
            "Choose a folder with a label file of the name of each image."
        )
    return {request.paths[0]: request.labels}
