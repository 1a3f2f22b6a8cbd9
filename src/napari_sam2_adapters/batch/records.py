"""What a batch yields: where one of its images stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari_sam2_adapters.batch.plan import Item
from napari_sam2_adapters.batch.report import Entry
from napari_sam2_adapters.batch.standing import Standing
from napari_sam2_adapters.models.memory_plan import MemoryPlan

__all__ = ["ItemRecord", "first_record", "record_of"]


@dataclass(frozen=True)
class ItemRecord:
    """Where one image of a batch stands.

    Attributes
    ----------
    item
        The image and its results.
    status
        ``running`` comes again after each tile.
    earlier
        Whether it was done, or failed, in an earlier run and is left so.
    reason
        Why it failed, in a sentence.
    seconds
        What it took, so far or in all.
    tiles, all_tiles
        Tiles that are done and that there are, while it is running.
    pixels
        Number of pixels of each class, by name, when it is done.
    notices
        What was remarkable.
    plan
        How its tiles go through the network, once it is known.
    """

    item: Item
    status: Literal["pending", "running", "done", "failed"]
    earlier: bool = False
    reason: str = ""
    seconds: float = 0.0
    tiles: int = 0
    all_tiles: int = 0
    pixels: dict[str, int] | None = None
    notices: tuple[str, ...] = ()
    plan: MemoryPlan | None = None


def first_record(item: Item, standing: Standing) -> ItemRecord:
    """Where an image stands before the work begins."""
    if standing.refusal:
        return ItemRecord(item, "failed", reason=standing.refusal)
    if standing.entry is not None and not standing.extras:
        return record_of(item, standing.entry)
    return ItemRecord(item, "pending")


def record_of(item: Item, entry: Entry) -> ItemRecord:
    """The record of an image that an earlier run is done with."""
    return ItemRecord(
        item,
        "done" if entry.status == "done" else "failed",
        earlier=True,
        reason=entry.reason,
        seconds=entry.seconds,
        pixels=entry.pixels if entry.status == "done" else None,
        notices=entry.notices,
    )
