"""Images with labels, turned into regions to learn from and regions to score on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.config import ClassInfo, Normalization, default_classes
from napari_sam2_adapters.data.axes import (
    ArrayLike,
    channel_count,
    label_axes,
    plane_indices,
    read_plane,
    without_alpha,
)
from napari_sam2_adapters.data.normalize import (
    Limits,
    intensity_limits,
    normalize_plane,
    resolve_normalization,
)
from napari_sam2_adapters.data.splitting import PlaneKey, Region, Split, split_regions
from napari_sam2_adapters.metrics import UNLABELLED

__all__ = ["Dataset", "Pair", "Region", "build_dataset", "find_classes"]

ZeroIs = Literal["unlabelled", "background"]
MOST_CLASSES = 255


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


@dataclass
class Dataset:
    """Regions of labelled images with their class indices; made by :func:`build_dataset`.

    Attributes
    ----------
    pairs
        The images and labels.
    classes
        Classes in the order of their indices.
    normalization
        Settled settings (never ``auto``), the same for every image.
    input_channels
        Channels of every image.
    train, held_out
        Regions to learn from and to score on; they share no pixel.
    split_description
        The rule of the split in words.
    """

    pairs: tuple[Pair, ...]
    classes: tuple[ClassInfo, ...]
    normalization: Normalization
    input_channels: int
    train: list[Region]
    held_out: list[Region]
    split_description: str
    _planes: dict[PlaneKey, NDArray[np.int16]] = field(repr=False)
    _limits: dict[int, Limits] = field(default_factory=dict, repr=False)

    def read(self, region: Region) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
        """Image and class indices of a region.

        Returns
        -------
        image, labels
            (C, h, w) float32 between 0 and 1, and (h, w) int16 class indices, -1 where unlabelled.
        """
        pair = self.pairs[region.pair]
        plane = read_plane(pair.image, pair.axes, region.plane, region.rows, region.columns)
        image = normalize_plane(plane, self.limits(region.pair))
        return image, self.read_labels(region)

    def read_labels(self, region: Region) -> NDArray[np.int16]:
        """Class indices of a region, (h, w) int16, -1 where unlabelled."""
        return self._planes[region.pair, region.plane][region.rows, region.columns]

    def limits(self, pair: int) -> Limits:
        """Grey values of one image that become 0 and 1, found on first use."""
        if pair not in self._limits:
            image, axes = self.pairs[pair].image, self.pairs[pair].axes
            self._limits[pair] = intensity_limits(image, axes, self.normalization)
        return self._limits[pair]

    def labelled_pixels(self, regions: Sequence[Region]) -> NDArray[np.int64]:
        """Labelled pixels of each class in these regions, (n_classes,)."""
        counts = np.zeros(len(self.classes), np.int64)
        for region in regions:
            labels = self.read_labels(region)
            counts += np.bincount(labels[labels >= 0], minlength=len(self.classes))
        return counts


def find_classes(pairs: Sequence[Pair], zero_is: ZeroIs) -> tuple[ClassInfo, ...]:
    """Classes for the values that occur in the labels; 0 counts when it means background.

    Raises
    ------
    ValueError
        When nothing is labelled, there are more than 255 values, or the labels are not whole numbers.
    """
    values: set[int] = set()
    for pair in pairs:
        _check_pair(pair)
        for index in plane_indices(pair.labels.shape, label_axes(pair.axes)):
            values |= set(
                map(int, np.unique(read_plane(pair.labels, label_axes(pair.axes), index)))
            )
            _check_number_of_classes(len(values), pair.name)
    first = 0 if zero_is == "background" else 1
    found = sorted(value for value in values if value >= first)
    if not any(values - {0}):
        raise ValueError(
            "Nothing is labelled. Paint some pixels of each class into the labels, with a value above 0."
        )
    return default_classes(found)


def build_dataset(
    pairs: Sequence[Pair],
    classes: Sequence[ClassInfo] | None = None,
    *,
    zero_is: ZeroIs = "unlabelled",
    normalization: Normalization | None = None,
    held_out_fraction: float = 0.2,
    seed: int = 0,
    crop_size_px: int = 224,
) -> Dataset:
    """Check pairs of images and labels, and divide them into a part to learn from and a part to score on.

    Parameters
    ----------
    pairs
        Images and labels; planes without labels are left out.
    classes
        Classes in the order of their indices; None finds them in the labels.
    zero_is
        What label 0 means.
    normalization
        How grey values become 0 to 1; ``auto`` is settled here, once for all images.
    held_out_fraction
        Share of the images, slices or area kept for scoring, from 0 (nothing) to below 1.
    seed
        Seed of the choice of what is held out.
    crop_size_px
        Side of the training crops.

    Raises
    ------
    ValueError
        When there are no pairs, shapes, channels or types do not fit each other, nothing or only one class
        is labelled, or a label value is in no class.
    """
    if not pairs:
        raise ValueError("There is no image to learn from; give at least one image with labels.")
    if not 0 <= held_out_fraction < 1 or crop_size_px < 1:
        raise ValueError(
            "The held-out share lies from 0 to below 1 and crops have at least one pixel, "
            f"but got {held_out_fraction} and {crop_size_px} px."
        )
    checked = tuple(_opaque(pair) for pair in pairs)
    n_channels = _common_channels(checked)
    chosen = find_classes(checked, zero_is) if classes is None else tuple(classes)
    _check_classes(chosen, zero_is)
    planes = _labelled_planes(checked, chosen, zero_is)
    present = set().union(*(np.unique(plane[plane >= 0]).tolist() for plane in planes.values()))
    _check_presence(present, chosen)
    names = {key: _plane_name(checked[key[0]], key[1]) for key in planes}
    rng = np.random.default_rng(seed)
    split = split_regions(planes, names, len(chosen), held_out_fraction, rng)
    first = checked[0]
    return Dataset(
        pairs=checked,
        classes=chosen,
        normalization=resolve_normalization(
            normalization or Normalization(), first.image.dtype, first.axes, first.rgb
        ),
        input_channels=n_channels,
        train=list(split.train),
        held_out=list(split.held_out),
        split_description=_describe(split, planes, present, chosen),
        _planes=planes,
    )


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


def _opaque(pair: Pair) -> Pair:
    _check_pair(pair)
    return replace(pair, image=without_alpha(pair.image, pair.axes)) if pair.rgb else pair


def _common_channels(pairs: Sequence[Pair]) -> int:
    first = channel_count(pairs[0].image.shape, pairs[0].axes)
    for pair in pairs:
        count = channel_count(pair.image.shape, pair.axes)
        if count != first:
            raise ValueError(
                f"{pair.name} has {count} channels but {pairs[0].name} has {first}. "
                "One adapter learns from images with the same channels; train on one kind at a time."
            )
    return first


def _check_number_of_classes(number: int, name: str) -> None:
    if number > MOST_CLASSES + 1:
        raise ValueError(
            f"{name} has more than {MOST_CLASSES} label values. If they number single objects, give all "
            "objects of a class one value, for example (labels > 0) + 1."
        )


def _check_classes(classes: Sequence[ClassInfo], zero_is: ZeroIs) -> None:
    values = [info.value for info in classes]
    if len(set(values)) != len(values) or len(values) > MOST_CLASSES:
        raise ValueError(
            f"Classes need different values and are at most {MOST_CLASSES}; got the values {values}."
        )
    if zero_is == "unlabelled" and 0 in values:
        raise ValueError(
            "Label 0 means unlabelled here, but it is also in the list of classes. "
            "Take it out of the list, or let 0 mean background."
        )


def _check_presence(present: set[int], classes: Sequence[ClassInfo]) -> None:
    if not present:
        raise ValueError(
            "Nothing is labelled. Paint some pixels of each class into the labels, with a value above 0."
        )
    if len(present) == 1:
        only = classes[next(iter(present))]
        raise ValueError(
            f"Only the class {only.name!r} (value {only.value}) is labelled, but it takes two to tell "
            "apart. Label some pixels of another class, for example background."
        )


def _labelled_planes(
    pairs: Sequence[Pair], classes: Sequence[ClassInfo], zero_is: ZeroIs
) -> dict[PlaneKey, NDArray[np.int16]]:
    """Class indices of every plane in which something is labelled."""
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
            # a slice without any paint among others is not yet annotated, whatever 0 means
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


def _plane_name(pair: Pair, index: tuple[int, ...]) -> str:
    letters = [axis for axis in pair.axes if axis not in "YXC"]
    place = ", ".join(f"{axis} {i}" for axis, i in zip(letters, index, strict=True))
    return f"{pair.name} ({place})" if place else pair.name


def _describe(
    split: Split,
    planes: dict[PlaneKey, NDArray[np.int16]],
    present: set[int],
    classes: Sequence[ClassInfo],
) -> str:
    if not split.held_out:
        return split.description
    held = set().union(
        *(np.unique(planes[r.pair, r.plane][r.rows, r.columns]).tolist() for r in split.held_out)
    )
    missing = [repr(classes[index].name) for index in sorted(present - held)]
    if not missing:
        return split.description
    return f"{split.description}; without {', '.join(missing)}, of which too little is labelled"
