"""Divisions of images as they stand in files: in those of adapters, and of runs that can be resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from napari_sam2_adapters.data.splitting import Region, Split

__all__ = ["DIVISION", "division_in", "pack_split", "unpack_split"]

DIVISION = "division"
"""Name of the entry in the training summary of an adapter."""


def pack_split(split: Split | None) -> tuple[tuple[Any, ...], ...]:
    """Checksums and regions of a division, ready for JSON; no names, for these are the user's, and files of adapters are given away."""
    if split is None:
        return ()
    kinds = (("train", split.train), ("held out", split.held_out))
    images = tuple(("image", checksum) for checksum in split.images)
    return images + tuple(
        (
            kind,
            region.pair,
            list(region.plane),
            [region.rows.start, region.rows.stop],
            [region.columns.start, region.columns.stop],
        )
        for kind, regions in kinds
        for region in regions
    )


def unpack_split(packed: Sequence[Sequence[Any]]) -> Split | None:
    """What `pack_split` packed; None for nothing.

    Raises
    ------
    ValueError
        When it is nothing of the kind.
    """
    if not packed:
        return None
    try:
        images = tuple(str(entry[1]) for entry in packed if entry[0] == "image")
        regions: dict[str, list[Region]] = {"train": [], "held out": []}
        for kind, pair, plane, rows, columns, *_ in packed[len(images) :]:  # once a name followed
            top, bottom, left, right = map(int, (*rows, *columns))
            place = tuple(int(index) for index in plane)
            regions[kind].append(
                Region(int(pair), place, slice(top, bottom), slice(left, right), "")
            )
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"The division of the images is damaged ({error}).") from error
    return Split(tuple(regions["train"]), tuple(regions["held out"]), "", images)


def division_in(training: Mapping[str, Any]) -> Split | None:
    """The division that an adapter was trained with, by the training summary in its file; None in files of earlier versions.

    Raises
    ------
    ValueError
        As `unpack_split`.
    """
    return unpack_split(training.get(DIVISION) or ())
