"""Images with labels, turned into regions to learn from and regions to score on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.config import ClassInfo, Normalization
from napari_sam2_adapters.data.axes import read_plane
from napari_sam2_adapters.data.kept_split import keep_split, number_anew, was_learnt
from napari_sam2_adapters.data.normalize import (
    NO_NUMBER,
    Limits,
    has_no_number,
    intensity_limits,
    normalize_plane,
    resolve_normalization,
)
from napari_sam2_adapters.data.pairs import (
    NOTHING_LABELLED,
    ZERO_AS_BACKGROUND,
    Pair,
    ZeroIs,
    check_classes,
    common_channels,
    find_classes,
    image_checksum,
    labelled_planes,
    opaque,
    plane_name,
)
from napari_sam2_adapters.data.splitting import PlaneKey, Region, Split, split_regions

__all__ = ["Dataset", "Pair", "Region", "build_dataset", "find_classes"]

_LEARNT_BEFORE = "of which the adapter has learnt before, so that scores flatter it"


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
    _before: Split | None = field(default=None, repr=False)
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
        """Grey values of one image that become 0 and 1, found on first use.

        Raises
        ------
        ValueError
            When the image has no number anywhere.
        """
        if pair not in self._limits:
            image, axes = self.pairs[pair].image, self.pairs[pair].axes
            limits = intensity_limits(image, axes, self.normalization)
            if has_no_number(image, axes, self.normalization, limits):
                raise ValueError(f"{self.pairs[pair].name} cannot be learnt from. {NO_NUMBER}")
            self._limits[pair] = limits
        return self._limits[pair]

    def check_images(self) -> None:
        """Refuse images without a number, which only real numbers can be, before one is met in the midst of a training.

        Raises
        ------
        ValueError
            As :meth:`limits`.
        """
        for number in sorted({region.pair for region in (*self.train, *self.held_out)}):
            if np.dtype(self.pairs[number].image.dtype).kind == "f":
                self.limits(number)

    def labelled_pixels(self, regions: Sequence[Region]) -> NDArray[np.int64]:
        """Labelled pixels of each class in these regions, (n_classes,)."""
        counts = np.zeros(len(self.classes), np.int64)
        for region in regions:
            labels = self.read_labels(region)
            counts += np.bincount(labels[labels >= 0], minlength=len(self.classes))
        return counts

    @cached_property
    def checksums(self) -> tuple[str, ...]:
        """Of each image: pixels are read when it is first asked for, and the images may be gone afterwards."""
        return tuple(image_checksum(pair) for pair in self.pairs)

    @property
    def split(self) -> Split:
        """The division, with checksums of the images, all that was learnt before, and what was held out of images that are not among these."""
        images = self.checksums
        before = self._before or Split((), (), "")
        known = {region.place for region in self.train}
        learnt = [region for region in before.train if region.place not in known]
        apart = [region for region in before.held_out if region.pair >= len(images)]
        return Split(
            (*self.train, *learnt),
            (*self.held_out, *apart),
            self.split_description,
            images + before.images[len(images) :],
        )

    @property
    def mostly_unlabelled(self) -> bool:
        """Whether less than half of the part to learn from is labelled, as with strokes."""
        pixels = sum(region.shape[0] * region.shape[1] for region in self.train)
        return 2 * int(self.labelled_pixels(self.train).sum()) < pixels


def build_dataset(
    pairs: Sequence[Pair],
    classes: Sequence[ClassInfo] | None = None,
    *,
    zero_is: ZeroIs = "unlabelled",
    normalization: Normalization | None = None,
    held_out_fraction: float = 0.2,
    seed: int = 0,
    crop_size_px: int = 224,
    before: Split | None = None,
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
        Side of the training crops; a held-out block is laid so that they fit beside it, where that can be.
    before
        Division of an earlier training; of images that are among these its held-out part is kept, where that can be and
        something is to be held out.

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
    checked = tuple(opaque(pair) for pair in pairs)
    n_channels = common_channels(checked)
    chosen = find_classes(checked, zero_is) if classes is None else tuple(classes)
    check_classes(chosen, zero_is)
    planes = labelled_planes(checked, chosen, zero_is)
    present = set().union(*(np.unique(plane[plane >= 0]).tolist() for plane in planes.values()))
    _check_presence(present, chosen, zero_is)
    names = {key: plane_name(checked[key[0]], key[1]) for key in planes}
    rng = np.random.default_rng(seed)
    split, images = None, _number_alike([(id(pair.image), pair.axes) for pair in pairs])
    if before is not None:
        checksums = [image_checksum(pair) for pair in checked]
        before, images = number_anew(before, checksums), _number_alike(checksums)
        if held_out_fraction:
            split = keep_split(planes, names, len(chosen), before, images)
    if split is None:
        split = split_regions(
            planes, names, len(chosen), held_out_fraction, crop_size_px, rng, images
        )
        if before is not None and was_learnt(split.held_out, before, images):
            split = replace(split, description=f"{split.description}, {_LEARNT_BEFORE}")
    return Dataset(
        pairs=checked,
        classes=chosen,
        normalization=_settle(normalization or Normalization(), checked),
        input_channels=n_channels,
        train=list(split.train),
        held_out=list(split.held_out),
        split_description=_describe(split, planes, present, chosen),
        _planes=planes,
        _before=before,
    )


def _number_alike(things: Sequence[Hashable]) -> list[int]:
    """The number of the first that is equal, for each."""
    first: dict[Hashable, int] = {}
    return [first.setdefault(thing, number) for number, thing in enumerate(things)]


def _settle(normalization: Normalization, pairs: Sequence[Pair]) -> Normalization:
    """One normalisation for all images: what each would have, or percentiles when they differ."""
    settled = [
        resolve_normalization(normalization, pair.image.dtype, pair.axes, pair.rgb)
        for pair in pairs
    ]
    if all(one == settled[0] for one in settled):
        return settled[0]
    return Normalization(mode="percentile", low=normalization.low, high=normalization.high)


def _check_presence(present: set[int], classes: Sequence[ClassInfo], zero_is: ZeroIs) -> None:
    if not present:
        raise ValueError(NOTHING_LABELLED)
    if len(present) == 1:
        only = classes[next(iter(present))]
        or_zero = (
            f", or {ZERO_AS_BACKGROUND}"
            if zero_is == "unlabelled" and all(info.value for info in classes)
            else ""
        )
        raise ValueError(
            f"Only the class {only.name!r} (value {only.value}) is labelled, but it takes two to tell "
            f"apart. Label some pixels of another class, for example background{or_zero}."
        )


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
