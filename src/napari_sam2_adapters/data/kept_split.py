"""The held-out part of an earlier training, kept for one that goes on from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.data.splitting import PlaneKey, Region, Split

__all__ = ["keep_split", "number_anew", "was_learnt"]


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


def was_learnt(held_out: Sequence[Region], before: Split) -> bool:
    """Whether a pixel of these regions was learnt from in an earlier training with the same numbers of pairs."""
    return any(
        (one.pair, one.plane) == (other.pair, other.plane)
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
        The division that it was trained with; planes labelled since are learnt from, other labels of its planes are divided as these.

    Returns
    -------
    Split or None
        None when nothing was held out, or a class would have nothing left to learn from.
    """
    known = {(region.pair, region.plane) for region in (*before.train, *before.held_out)}
    train = [region for region in before.train if (region.pair, region.plane) in planes]
    held = [region for region in before.held_out if (region.pair, region.plane) in planes]
    image_of = dict(enumerate(images))
    twins = {(image_of.get(pair, pair), plane): (pair, plane) for pair, plane in sorted(known)}
    for key in sorted(planes.keys() - known):
        twin = twins.get((image_of.get(key[0], key[0]), key[1]))
        if twin is None:
            rows, columns = (slice(0, length) for length in planes[key].shape)
            train.append(Region(key[0], key[1], rows, columns, names[key]))
            continue
        for chosen, regions in ((train, before.train), (held, before.held_out)):
            own = (region for region in regions if (region.pair, region.plane) == twin)
            chosen += [replace(region, pair=key[0], name=names[key]) for region in own]
    if not held or not train:
        return None
    labelled, learnt = np.zeros(n_classes, bool), np.zeros(n_classes, bool)
    for plane in planes.values():
        labelled |= np.bincount(plane[plane >= 0], minlength=n_classes) > 0
    for region in train:
        part = planes[region.pair, region.plane][region.rows, region.columns]
        learnt |= np.bincount(part[part >= 0], minlength=n_classes) > 0
    if not np.array_equal(labelled, learnt):
        return None
    train.sort(key=lambda region: (region.pair, region.plane))
    return Split(tuple(train), tuple(held), "the same part held out as before")
