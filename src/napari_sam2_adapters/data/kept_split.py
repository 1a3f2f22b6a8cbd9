"""The held-out part of an earlier training, kept for one that goes on from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.data.splitting import PlaneKey, Region, Split

__all__ = ["keep_split"]


def keep_split(
    planes: Mapping[PlaneKey, NDArray[np.int16]],
    names: Mapping[PlaneKey, str],
    n_classes: int,
    before: Split,
) -> Split | None:
    """Hold out what was held out before, so that a network trained further is scored on pixels that it never learnt.

    Parameters
    ----------
    planes, names, n_classes
        As in :func:`split_regions`.
    before
        The division that it was trained with; planes labelled since are learnt from.

    Returns
    -------
    Split or None
        None when nothing was held out, or a class would have nothing left to learn from.
    """
    known = {(region.pair, region.plane) for region in (*before.train, *before.held_out)}
    train = [region for region in before.train if (region.pair, region.plane) in planes]
    held = [region for region in before.held_out if (region.pair, region.plane) in planes]
    for key in planes.keys() - known:
        rows, columns = (slice(0, length) for length in planes[key].shape)
        train.append(Region(key[0], key[1], rows, columns, names[key]))
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
