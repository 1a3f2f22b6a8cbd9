"""Images with their labels: whether they fit each other, and label values as class indices."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.config import ClassInfo, default_classes
from napari_sam2_adapters.data.axes import (
    ArrayLike,
    channel_count,
    label_axes,
    plane_indices,
    read_plane,
    without_alpha,
)
from napari_sam2_adapters.data.normalize import sample_pixels
from napari_sam2_adapters.data.splitting import PlaneKey
from napari_sam2_adapters.metrics import UNLABELLED

__all__ = [
    "MOST_CLASSES",
    "MOST_NAMED_CLASSES",
    "NOTHING_LABELLED",
    "ZERO_AS_BACKGROUND",
    "Pair",
    "ZeroIs",
    "check_classes",
    "check_zero_is",
    "common_channels",
    "find_classes",
    "image_checksum",
    "labelled_planes",
    "opaque",
    "plane_name",
    "too_large",
]

ZeroIs = Literal["unlabelled", "background"]
MOST_CLASSES = 32
"""Label values that are taken for classes without being named one by one; more are grey values or numbered objects."""
MOST_NAMED_CLASSES = 255
NOTHING_LABELLED = (
    "Nothing is labelled. Paint some pixels of each class into the labels, with a value above 0."
)
ZERO_AS_BACKGROUND = (
    "say that 0 is background (--zero-is background on the command line, zero_is='background' in Python, "
    "“Label 0 is” in the Fine-tune dock)"
)
"""What to do where 0 is a class, for whoever is told so."""
_LARGEST_VALUE = 65535
_CHECKED_PIXELS = 2**16


@dataclass(frozen=True)
class Pair:
    """An image and its labels.

    Attributes
    ----------
    image
        numpy, dask or zarr array with the axes ``axes``.
    labels
        Array of label values with the axes of the image without C. Negative values are unlabelled, 0 as the
        data set is told.
    axes
        Names of the image's axes, such as ``"ZYX"`` or ``"YXC"``.
    name
        What the pair is called in messages.
    rgb
        Whether the channels are colours; a fourth one is transparency and not used.
    """

    image: ArrayLike
    labels: ArrayLike
    axes: str
    name: str
    rgb: bool = False


def find_classes(pairs: Sequence[Pair], zero_is: ZeroIs) -> tuple[ClassInfo, ...]:
    """Classes for the values that occur in the labels; 0 counts when it means background.

    Raises
    ------
    ValueError
        When nothing is labelled, there are more than `MOST_CLASSES` values, or the labels are not whole numbers.
    """
    first = 0 if zero_is == "background" else 1
    values: set[int] = set()
    for pair in pairs:
        _check_pair(pair)
        for index in plane_indices(pair.labels.shape, label_axes(pair.axes)):
            values |= set(
                map(int, np.unique(read_plane(pair.labels, label_axes(pair.axes), index)))
            )
            _check_number_of_classes({value for value in values if value >= first}, pair.name)
    found = sorted(value for value in values if value >= first)
    if not any(value > 0 for value in values):
        raise ValueError(NOTHING_LABELLED)
    if reason := too_large(found):
        raise ValueError(reason)
    return default_classes(found)


def too_large(values: Iterable[int]) -> str:
    """That one of the label values is larger than that of a class can be, and the mend; empty when none is."""
    largest = max(values, default=0)
    if largest <= _LARGEST_VALUE:
        return ""
    return f"Label values go up to {_LARGEST_VALUE}, but {largest} occurs. Number the classes 1, 2, 3, …"


def labelled_planes(
    pairs: Sequence[Pair], classes: Sequence[ClassInfo], zero_is: ZeroIs
) -> dict[PlaneKey, NDArray[np.int16]]:
    """Class indices of every plane in which something is labelled.

    Returns
    -------
    dict
        (H, W) int16 class indices, -1 where unlabelled, by (pair, plane index). In a stack a plane with
        nothing above 0 is not annotated yet, whatever 0 means, and is left out.

    Raises
    ------
    ValueError
        When a label value is in no class.
    """
    order = np.argsort([info.value for info in classes])
    values = np.array([classes[i].value for i in order])
    planes: dict[PlaneKey, NDArray[np.int16]] = {}
    for number, pair in enumerate(pairs):
        axes = label_axes(pair.axes)
        indices = plane_indices(pair.labels.shape, axes)
        for index in indices:
            found = read_plane(pair.labels, axes, index)[0]
            if found.dtype == np.bool_:
                found = found.astype(np.uint8)
            unlabelled = found < (0 if zero_is == "background" else 1)
            if unlabelled.all() or (len(indices) > 1 and not (found > 0).any()):
                continue
            place = np.minimum(np.searchsorted(values, found), len(values) - 1)
            strange = (values[place] != found) & ~unlabelled
            if strange.any():
                raise ValueError(
                    f"{pair.name} has the label values {np.unique(found[strange])[:10].tolist()}, which are "
                    f"in no class (values {values.tolist()}). Add the classes or correct the labels."
                )
            planes[number, index] = np.where(unlabelled, UNLABELLED, order[place]).astype(np.int16)
    return planes


def _check_pair(pair: Pair) -> None:
    channel_count(pair.image.shape, pair.axes)
    wanted = tuple(
        int(n) for n, axis in zip(pair.image.shape, pair.axes, strict=True) if axis != "C"
    )
    if tuple(pair.labels.shape) != wanted:
        raise ValueError(
            f"The labels of {pair.name} have the shape {tuple(pair.labels.shape)}, but its image needs "
            f"{wanted}. Choose the labels that belong to this image."
        )
    if np.dtype(pair.labels.dtype).kind not in "biu":
        raise ValueError(
            f"The labels of {pair.name} are {pair.labels.dtype}, but labels are whole numbers. "
            "Convert them, for example with labels.astype('uint8')."
        )


def opaque(pair: Pair) -> Pair:
    """The pair, without transparency.

    Raises
    ------
    ValueError
        When labels and image do not fit each other.
    """
    _check_pair(pair)
    return replace(pair, image=without_alpha(pair.image, pair.axes)) if pair.rgb else pair


def image_checksum(pair: Pair) -> str:
    """Checksum over pixels of the image: name and shape alone do not tell images of one microscope apart."""
    form = f"{pair.axes} {tuple(map(int, pair.image.shape))}".encode()
    pixels = sample_pixels(pair.image, pair.axes, _CHECKED_PIXELS)
    return hashlib.sha256(form + pixels.tobytes()).hexdigest()[:12]


def common_channels(pairs: Sequence[Pair]) -> int:
    """Number of channels of all images.

    Raises
    ------
    ValueError
        When they differ.
    """
    first = channel_count(pairs[0].image.shape, pairs[0].axes)
    for pair in pairs:
        count = channel_count(pair.image.shape, pair.axes)
        if count != first:
            raise ValueError(
                f"{pair.name} has {count} channels but {pairs[0].name} has {first}. "
                "One adapter learns from images with the same channels; train on one kind at a time."
            )
    return first


def _check_number_of_classes(values: set[int], name: str) -> None:
    if len(values) > MOST_CLASSES:
        raise ValueError(
            f"With {name} there are {len(values)} label values from {min(values)} to {max(values)}, but at most "
            f"{MOST_CLASSES} are taken for classes: these look like grey values, or like numbers of single objects. "
            "Give label images with one value per class, for example (labels > 0) + 1, or name the classes that are "
            "meant in the settings file."
        )


def check_classes(classes: Sequence[ClassInfo], zero_is: ZeroIs) -> None:
    """Refuse classes that share a value, are too many, or take 0 while it means unlabelled or nothing known.

    Raises
    ------
    ValueError
        With what is wrong.
    """
    check_zero_is(zero_is)
    values = [info.value for info in classes]
    if len(set(values)) != len(values) or len(values) > MOST_NAMED_CLASSES:
        raise ValueError(
            f"Classes need different values and are at most {MOST_NAMED_CLASSES}; got the values {values}."
        )
    if zero_is == "unlabelled" and 0 in values:
        raise ValueError(
            "Label 0 means unlabelled here, but it is also in the list of classes. "
            f"Take it out of the list, or {ZERO_AS_BACKGROUND}."
        )


def check_zero_is(zero_is: str) -> None:
    """Refuse what is no meaning of label 0.

    Raises
    ------
    ValueError
        With the two meanings.
    """
    if zero_is not in get_args(ZeroIs):
        raise ValueError(f"Label 0 is 'unlabelled' or 'background', not {zero_is!r}. Say which.")


def plane_name(pair: Pair, index: tuple[int, ...]) -> str:
    """Name of the pair, with the place of the plane in a stack: ``embryo (T 3, Z 12)``."""
    letters = [axis for axis in pair.axes if axis not in "YXC"]
    place = ", ".join(f"{axis} {i}" for axis, i in zip(letters, index, strict=True))
    return f"{pair.name} ({place})" if place else pair.name
