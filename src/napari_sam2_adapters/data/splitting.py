"""What is learnt from and what is held out for scoring: whole images, whole slices, or a block with a margin.

Crops that overlap would leak what is scored into what is learnt, so the two parts never share a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PlaneKey", "Region", "Split", "split_regions"]

_MARGIN_PX = 32
_DRAWS = 64
_CUTS = 48
_SIDES = (("top", "bottom"), ("left", "right"))

PlaneKey = tuple[int, tuple[int, ...]]


@dataclass(frozen=True)
class Region:
    """A rectangle of one plane of one pair.

    Attributes
    ----------
    pair
        Position of the pair in the data set.
    plane
        Index of the plane over the axes other than Y, X and C.
    rows, columns
        The rectangle, with start and stop in pixels.
    name
        What the region is called in reports.
    """

    pair: int
    plane: tuple[int, ...]
    rows: slice
    columns: slice
    name: str

    @property
    def place(self) -> tuple[Any, ...]:
        """Where it lies, whatever it is called."""
        rows, columns = self.rows, self.columns
        return self.pair, self.plane, rows.start, rows.stop, columns.start, columns.stop

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


@dataclass(frozen=True)
class Split:
    """Regions to learn from, regions to score on, and the rule in words.

    Attributes
    ----------
    images
        Checksum of the image of each pair, by which it is known again under another number; empty: the number tells.
    """

    train: tuple[Region, ...]
    held_out: tuple[Region, ...]
    description: str
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Cut:
    """A plane divided at right angles to ``axis`` (0 rows, 1 columns); the held-out part lies on ``side``."""

    axis: int
    side: str
    position: int
    margin: int
    share: float

    def slices(self, shape: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Rectangles (rows, columns) to learn from and to hold out."""
        length = shape[self.axis]
        if self.side in ("top", "left"):
            held, rest = slice(0, self.position), slice(self.position + self.margin, length)
        else:
            held, rest = slice(self.position, length), slice(0, self.position - self.margin)
        whole = slice(0, shape[1 - self.axis])
        if self.axis == 0:
            return (rest, whole), (held, whole)
        return (whole, rest), (whole, held)


def split_regions(
    planes: Mapping[PlaneKey, NDArray[np.int16]],
    names: Mapping[PlaneKey, str],
    n_classes: int,
    fraction: float,
    crop_size_px: int,
    rng: np.random.Generator,
    images: Sequence[int] = (),
) -> Split:
    """Divide labelled planes into those to learn from and those to score on.

    Whole images are held out when there are several, else whole slices, else a block along one edge. Every
    labelled class stays in the learning part; where several divisions allow it, the one with most classes
    in the held-out part is taken.

    Parameters
    ----------
    planes
        Class indices (H, W) of each labelled plane, -1 where unlabelled, by (pair, plane index).
    names
        What each plane is called.
    n_classes
        Number of classes.
    fraction
        Share to hold out, 0 for nothing.
    crop_size_px
        Side of training crops, which should fit beside a held-out block.
    rng
        Source of the choice.
    images
        Number of each pair's image: one with several labels is held out with all of them. Empty: each pair has its own.

    Returns
    -------
    Split
        Nothing is held out, and the description says so, when no division keeps every class learnable.
    """
    whole = {
        key: Region(key[0], key[1], slice(0, p.shape[0]), slice(0, p.shape[1]), names[key])
        for key, p in planes.items()
    }
    if fraction <= 0:
        return Split(tuple(whole.values()), (), "nothing held out")
    counts = {
        key: np.bincount(plane[plane >= 0], minlength=n_classes) for key, plane in planes.items()
    }
    by_image: dict[int, list[PlaneKey]] = {}
    by_plane: dict[PlaneKey, list[PlaneKey]] = {}
    for key in planes:
        image = images[key[0]] if images else key[0]
        by_image.setdefault(image, []).append(key)
        by_plane.setdefault((image, key[1]), []).append(key)
    for groups, noun in ((list(by_image.values()), "images"), (list(by_plane.values()), "slices")):
        held = _choose_groups(groups, counts, fraction, rng)
        if held is not None:
            kept = [key for key in planes if key not in held]
            n_held = sum(group[0] in held for group in groups)
            return Split(
                tuple(whole[key] for key in kept),
                tuple(whole[key] for key in planes if key in held),
                f"{n_held} of {len(groups)} {noun} held out",
            )
    return _split_block(planes, whole, by_image, counts, fraction, crop_size_px, rng)


def _choose_groups(
    groups: Sequence[Sequence[PlaneKey]],
    counts: Mapping[PlaneKey, NDArray[np.int64]],
    fraction: float,
    rng: np.random.Generator,
) -> set[PlaneKey] | None:
    """Draw groups to hold out; None when every draw takes a class away from learning."""
    if len(groups) < 2:
        return None
    totals = np.array([sum(counts[key] for key in group) for group in groups]) > 0  # (groups, C)
    n_held = min(len(groups) - 1, max(1, round(fraction * len(groups))))
    best: tuple[int, NDArray[np.int64]] | None = None
    for _ in range(_DRAWS):
        order = rng.permutation(len(groups))
        held, kept = order[:n_held], order[n_held:]
        if not np.array_equal(totals[kept].any(axis=0), totals.any(axis=0)):
            continue
        n_covered = int(totals[held].any(axis=0).sum())
        if best is None or n_covered > best[0]:
            best = n_covered, held
    if best is None:
        return None
    return {key for i in best[1] for key in groups[i]}


def _split_block(
    planes: Mapping[PlaneKey, NDArray[np.int16]],
    whole: Mapping[PlaneKey, Region],
    by_image: Mapping[int, list[PlaneKey]],
    counts: Mapping[PlaneKey, NDArray[np.int64]],
    fraction: float,
    crop_size_px: int,
    rng: np.random.Generator,
) -> Split:
    """Hold out a block along one edge of the image with most labelled pixels that allows it."""
    for keys in sorted(by_image.values(), key=lambda of: -sum(int(counts[k].sum()) for k in of)):
        own = set(keys)
        others = sum((counts[k] for k in planes if k not in own), np.zeros_like(counts[keys[0]]))
        cut = _choose_cut([planes[key] for key in keys], others > 0, fraction, crop_size_px, rng)
        if cut is None:
            continue
        train: list[Region] = []
        held: list[Region] = []
        for key, region in whole.items():
            if key not in own:
                train.append(region)
                continue
            parts = cut.slices(planes[key].shape)
            for part, (rows, columns) in zip((train, held), parts, strict=True):
                if (planes[key][rows, columns] >= 0).any():
                    part.append(Region(key[0], key[1], rows, columns, region.name))
        which = "the only image" if len(by_image) == 1 else f"image {whole[keys[0]].name}"
        text = (
            f"the {cut.side} {100 * cut.share:.0f} % of {which} held out, "
            f"with a margin of {cut.margin} px"
        )
        return Split(tuple(train), tuple(held), text)
    return Split(
        tuple(whole.values()),
        (),
        "nothing held out: a class is labelled in one place only; label each class in two places",
    )


def _choose_cut(
    planes: Sequence[NDArray[np.int16]],
    elsewhere: NDArray[np.bool_],
    fraction: float,
    crop_size_px: int,
    rng: np.random.Generator,
) -> _Cut | None:
    """Pick an edge and a depth that hold out about the wanted share of labelled pixels and area."""
    options = [
        option
        for axis in (0, 1)
        for option in _cuts_across(
            axis, _profile(planes, axis, len(elsewhere)), elsewhere, fraction, crop_size_px
        )
    ]
    return _pick(options, rng)


def _cuts_across(
    axis: int,
    profile: NDArray[np.int64],
    elsewhere: NDArray[np.bool_],
    fraction: float,
    crop_size_px: int,
) -> Iterator[tuple[int, float, _Cut]]:
    """Cuts that leave every class to learn from and hold something out: classes held out, misfit, and the cut.

    Parameters
    ----------
    axis
        0 for cuts between rows, 1 between columns.
    profile
        (length, C) labelled pixels of each class along the axis.
    elsewhere
        (C,) whether other images have the class.
    fraction, crop_size_px
        As in :func:`split_regions`.
    """
    length = len(profile)
    margin = min(_MARGIN_PX, length // 8)
    smallest = max(2, min(16, length // 8))
    # of the two axes, the one that leaves room for whole crops
    short = max(0, 1 - (length * (1 - fraction) - margin) / crop_size_px)
    running = np.concatenate([np.zeros_like(profile[:1]), np.cumsum(profile, axis=0)])
    labelled = elsewhere | (running[-1] > 0)
    for position in np.unique(np.linspace(smallest, length - smallest, _CUTS).astype(int)):
        for side in _SIDES[axis]:
            start = side in ("top", "left")
            far = position + margin if start else position - margin
            if not smallest <= far <= length - smallest:
                continue
            before, after = running[position], running[-1] - running[position]
            held = before if start else after
            rest = running[-1] - running[far] if start else running[far]
            if not np.array_equal((rest > 0) | elsewhere, labelled) or not held.any():
                continue
            area = position / length if start else 1 - position / length
            share = held.sum() / running[-1].sum()
            misfit = short + abs(share - fraction) + 0.25 * abs(area - fraction)
            cut = _Cut(axis, side, int(position), margin, float(area))
            yield int((held > 0).sum()), float(misfit), cut


def _pick(options: list[tuple[int, float, _Cut]], rng: np.random.Generator) -> _Cut | None:
    """Among the cuts with most classes held out, the best of each edge, one drawn among the good ones."""
    if not options:
        return None
    most = max(n_covered for n_covered, _, _ in options)
    best: dict[str, tuple[float, _Cut]] = {}
    for n_covered, misfit, cut in options:
        if n_covered == most and (cut.side not in best or misfit < best[cut.side][0]):
            best[cut.side] = misfit, cut
    limit = min(misfit for misfit, _ in best.values()) + 0.05
    good = [cut for misfit, cut in best.values() if misfit <= limit]
    return good[int(rng.integers(len(good)))]


def _profile(planes: Sequence[NDArray[np.int16]], axis: int, n_classes: int) -> NDArray[np.int64]:
    """Labelled pixels of each class per row (axis 0) or column (axis 1), summed over planes; (length, C)."""
    profile = np.zeros((planes[0].shape[axis], n_classes), np.int64)
    for plane in planes:
        for index in range(n_classes):
            profile[:, index] += (plane == index).sum(axis=1 - axis)
    return profile
