"""A huge image that several workers share: which of its bands are final, at work, or still to be given out."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from fractions import Fraction

from napari_sam2_adapters.batch.bands import Run, count_bands, joined, missing
from napari_sam2_adapters.batch.draft import write_draft
from napari_sam2_adapters.batch.segment_item import Progress, Task
from napari_sam2_adapters.batch.shared_item import Opened, Part
from napari_sam2_adapters.inference.tile_progress import Advance
from napari_sam2_adapters.models.memory_plan import MemoryPlan

__all__ = ["SharedImage"]

_MOST_AGAIN = 0.15
"""Share of the rows that may be segmented twice, in two parts that touch, so that no worker has to wait for the last one."""
_MOST_PARTS = 4
"""Parts that are planned for each worker."""


class SharedImage:
    """The bands of an image, given out in parts; only this process notes on the disk which are final.

    Parts become smaller towards the end, and as more workers come.

    Parameters
    ----------
    task
        The image.
    opened
        What is known of it.
    """

    def __init__(self, task: Task, opened: Opened) -> None:
        self.task, self.opened = task, opened
        self._bands = opened.bands
        self._started = time.monotonic()
        self._waiting = missing(opened.draft.done, self._bands.count)
        self._at_work: dict[str, tuple[Part, Progress]] = {}
        self._tiles_done = self._tiles(opened.draft.done)
        self._advance = Advance()
        self._notices: tuple[str, ...] = ()
        self._plan: MemoryPlan | None = None
        self._finishing = False

    @property
    def has_part(self) -> bool:
        """Whether there is something to give out."""
        return bool(self._waiting) or self._is_complete

    @property
    def seconds(self) -> float:
        """Since it was opened."""
        return time.monotonic() - self._started

    @property
    def _is_complete(self) -> bool:
        return not (self._waiting or self._at_work or self._finishing)

    def take_part(self, call: str, n_workers: int) -> Part:
        """What the next worker is to do.

        Parameters
        ----------
        call
            Name of the call that it is sent with.
        n_workers
            Workers that there are.
        """
        if self._is_complete:
            self._finishing = True
            return Part(
                self.task, self.opened, notices=self._notices, seconds=round(self.seconds, 3)
            )
        first, stop = self._waiting[0]
        upto = min(stop, self._part_end(first, n_workers))
        self._waiting = ((upto, stop), *self._waiting[1:]) if upto < stop else self._waiting[1:]
        part = Part(self.task, self.opened, (first, upto))
        self._at_work[call] = part, self._nothing_yet((first, upto))
        return part

    def take_progress(self, call: str, progress: Progress) -> Progress:
        """How far the whole image is, when a part of it has gone on; notes bands that have become final."""
        if call in self._at_work:
            self._at_work[call] = self._at_work[call][0], progress
        self._plan = self._plan or progress.plan
        new = [notice for notice in progress.notices if notice not in self._notices]
        self._notices = (*self._notices, *new)
        if progress.bands:
            done = self.opened.draft.done
            for band in progress.bands:
                done = joined(done, (band, band + 1))
            draft = self.opened.draft.model_copy(update={"done": done})
            self.opened = self.opened.model_copy(update={"draft": draft})
            write_draft(self.task.item.outputs["labels"], draft)
        return self.progress()

    def progress(self) -> Progress:
        """How far the whole image is, in tiles of the size that was asked for; those of bands that are not given out yet are counted without seams."""
        running = [
            (self._tiles([part.run]), Fraction(progress.tiles, progress.all_tiles or 1))
            for part, progress in self._at_work.values()
            if part.run is not None
        ]
        so_far = self._tiles_done + sum(tiles * share for tiles, share in running)
        in_all = self._tiles_done + sum(tiles for tiles, _ in running) + self._tiles(self._waiting)
        done, total = self._advance(Fraction(so_far, in_all), in_all)
        index, seconds = self.task.item.index, self.seconds
        return Progress(index, seconds, done, total, self._notices, plan=self._plan)

    def end_part(self, call: str) -> None:
        """A worker is done with its part."""
        if call in self._at_work:
            part, _ = self._at_work.pop(call)
            self._tiles_done += self._tiles([part.run]) if part.run is not None else 0

    def lose_part(self, call: str) -> int:
        """Give out again what a dead worker has left; gives its first band, or the number of bands when it was finishing."""
        if call not in self._at_work:
            self._finishing = False
            # what lies in the place of the labels now was written by that worker
            self.task = replace(self.task, replace=True)
            return self._bands.count
        part, _ = self._at_work.pop(call)
        run = part.run or (0, 0)
        inside = missing(self.opened.draft.done, self._bands.count)
        left = [(max(a, run[0]), min(b, run[1])) for a, b in inside]
        for piece in left:
            self._waiting = joined(self._waiting, piece) if piece[0] < piece[1] else self._waiting
        self._tiles_done += self._tiles([run]) - self._tiles([p for p in left if p[0] < p[1]])
        return min((first for first, stop in left if first < stop), default=run[1])

    def _part_end(self, first: int, n_workers: int) -> int:
        """Where a part ends that begins with a band: a share of what is left, in whole planes as long as there are enough for all."""
        left = count_bands(self._waiting)
        rows = left * self._bands.height_px
        overlapping = n_workers * self.task.predict.tile_size_px
        parts = min(_MOST_PARTS, max(1, int(_MOST_AGAIN * rows / overlapping)))
        size = math.ceil(left / (n_workers * parts))
        plane = self._bands.per_plane
        if left >= n_workers * plane:
            return (first // plane + max(1, size // plane)) * plane
        return min(first + size, (first // plane + 1) * plane)

    def _nothing_yet(self, run: Run) -> Progress:
        return Progress(self.task.item.index, 0.0, 0, self._tiles([run]))

    def _tiles(self, runs: tuple[Run, ...] | list[Run]) -> int:
        return sum(self._bands.tiles(run, self.task.predict) for run in runs)
