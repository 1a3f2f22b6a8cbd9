"""What is told while an image goes through the network tile by tile."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from napari_sam2_adapters.models.memory_plan import MemoryPlan

__all__ = ["Advance", "TileProgress"]


@dataclass(frozen=True)
class TileProgress:
    """The tiles are planned, or one of them is done.

    Attributes
    ----------
    done, total
        Tiles so far and in all, as a share that never falls back: where tiles are done anew it stays until they have caught up.
    plane
        Position of the plane along the axes other than Y, X and C.
    rows
        Rows of that plane that became final with this tile; often none.
    changed
        Rows and columns of that plane in the outputs that this tile changed; empty slices for none. Only a live run changes others
        than ``rows``.
    notice
        What had to be changed to go on, in a sentence, or None. After a change of the tile, of the device, or for the main memory, this plane
        is done anew, and its rows are announced again.
    plan
        How the tiles go through the network, in the first record, which comes before the first tile; None in the others.
    """

    done: int
    total: int
    plane: tuple[int, ...]
    rows: slice
    changed: tuple[slice, slice]
    notice: str | None = None
    plan: MemoryPlan | None = None


class Advance:
    """Tiles so far and in all, as they are told: a share that never falls back, and is whole at the end alone.

    Where smaller tiles begin a plane anew the true share falls; what was told stays then until it is reached again.
    """

    def __init__(self) -> None:
        self._done, self._total = 0, 1

    def __call__(self, share: Fraction, total: int) -> tuple[int, int]:
        """What to tell.

        Parameters
        ----------
        share
            What is done, of 1.
        total
            Tiles that there are in all by now, or fewer: what was told before is not told more coarsely.
        """
        finest = max(total, self._total)
        told = -(-self._done * finest // self._total)
        self._done, self._total = max(told, int(share * finest)), finest
        return self._done, self._total
