"""Work that is done once at a time in a program, whatever number of docks and windows there are."""

from __future__ import annotations

import weakref

from qtpy.QtCore import QObject, Signal

from napari_sam2_adapters.widgets.docks.jobs import Job

__all__ = ["SEGMENTATIONS", "TRAININGS", "OneAtATime"]


class OneAtATime(QObject):
    """Knows the jobs of all docks of a kind, and tells each dock when one of them begins or ends."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._jobs: weakref.WeakSet[Job] = weakref.WeakSet()

    def add(self, job: Job) -> None:
        """Count a job in."""
        self._jobs.add(job)
        job.state_changed.connect(self.changed)

    def in_the_way_of(self, job: Job) -> bool:
        """Whether another job is at work."""
        return any(other.running for other in self._jobs if other is not job)


TRAININGS = OneAtATime()
"""Shared by all Fine-tune docks, because the processor and its memory are."""
SEGMENTATIONS = OneAtATime()
"""Shared by all Segment docks: two that begin together would each have results of their own for one layer."""
