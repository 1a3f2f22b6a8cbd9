"""The held-out part of an earlier training, kept for one that goes on from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.data.splitting import PlaneKey, Region, Split

__all__ = ["keep_split", "number_anew", "was_learnt"]

_Part = tuple[slice, slice]


def number_anew(before: Split, images: Sequence[str]) -> Split:
    """The division of an earlier training, with the numbers that its images have now.

    Parameters
    ----------
    before
        The division.
    images
        Checksum of the image of each pair. Other images of the division get the numbers after these. Where the division has no checksums, the
        pairs are taken for the same ones.
    """
    if not before.images:
        return before
    known, numbers = [*images], []
    for checksum in before.images:
        places = [n for n, one in enumerate(known) if one == checksum and n not in numbers]
        numbers.append(places[0] if places else len(known))
        if not places:
            known.append(checksum)
    train, held_out = (
        tuple(replace(region, pair=numbers[region.pair]) for region in regions)
        for regions in (before.train, before.held_out)
    )
    return Split(train, held_out, before.description, tuple(known))


def was_learnt(held_out: Sequence[Region], before: Split, images: Sequence[int]) -> bool:
    """Whether a pixel of these regions was learnt from in an earlier training; ``images`` as in :func:`split_regions`."""
    image_of = dict(enumerate(images))
    return any(
        image_of.get(one.pair, one.pair) == image_of.get(other.pair, other.pair)
        and one.plane == other.plane
        and max(one.rows.start, other.rows.start) < min(one.rows.stop, other.rows.stop)
        and max(one.columns.start, other.columns.start) < min(one.columns.stop, other.columns.stop)
        for one in held_out
        for other in before.train
    )


def keep_split(
    planes: Mapping[PlaneKey, NDArray[np.int16]],
    names: Mapping[PlaneKey, str],
    n_classes: int,
    before: Split,
    images: Sequence[int] = (),
) -> Split | None:
    """Hold out what was held out before, so that a network trained further is scored on pixels that it never learnt.

    Parameters
    ----------
    planes, names, n_classes, images
        As in :func:`split_regions`.
    before
        The division that it was trained with. Planes labelled since are learnt from, further labels of a plane are divided as its first.

    Returns
    -------
    Split or None
        None when nothing was held out, what was had been learnt before, a part reaches out of its image, or a class would have nothing left to
        learn from.
    """
    image_of = dict(enumerate(images))
    known: dict[PlaneKey, tuple[list[_Part], list[_Part]]] = {}
    for number, regions in enumerate((before.train, before.held_out)):
        for r in regions:
            parts = known.setdefault((image_of.get(r.pair, r.pair), r.plane), ([], []))
            if (r.rows, r.columns) not in parts[number]:
                parts[number].append((r.rows, r.columns))
    train: list[Region] = []
    held: list[Region] = []
    for key, plane in planes.items():
        everything = (slice(0, plane.shape[0]), slice(0, plane.shape[1]))
        divided = known.get((image_of.get(key[0], key[0]), key[1]), ([everything], []))
        for chosen, parts_of in zip((train, held), divided, strict=True):
            chosen += [
                Region(key[0], key[1], rows, columns, names[key])
                for rows, columns in parts_of
                if (plane[rows, columns] >= 0).any()
            ]
    fitting = all(_lies_within(r, planes[r.pair, r.plane]) for r in (*train, *held))
    if not (fitting and held and train) or was_learnt(before.held_out, before, images):
        return None
    labelled, learnt = np.zeros(n_classes, bool), np.zeros(n_classes, bool)
    for plane in planes.values():
        labelled |= np.bincount(plane[plane >= 0], minlength=n_classes) > 0
    for region in train:
        pixels = planes[region.pair, region.plane][region.rows, region.columns]
        learnt |= np.bincount(pixels[pixels >= 0], minlength=n_classes) > 0
    if not np.array_equal(labelled, learnt):
        return None
    train.sort(key=lambda region: (region.pair, region.plane))
    return Split(tuple(train), tuple(held), "the same part held out as before")


def _lies_within(region: Region, plane: NDArray[np.int16]) -> bool:
    """Whether a region lies in its plane: that of a division without checksums may be of another image."""
    height, width = plane.shape
    return bool(region.rows.stop <= height and region.columns.stop <= width)
