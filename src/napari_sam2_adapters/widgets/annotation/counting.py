"""Labelled pixels of each value, plane by plane: counted in a worker, and only what changed is counted again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.qt.threading import create_worker
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam2_adapters.data.axes import ArrayLike
from napari_sam2_adapters.widgets.docks.spread import plain_labels, spread_of

__all__ = ["LabelCounter", "count_plane", "count_planes", "plane_on_show"]

Index = tuple[int, ...]
Counts = dict[int, int]

_QUIET_MS = 300
"""Labels are counted again when nobody has painted for this long."""
_BLOCK_PX = 2**20
_REPORT_S = 0.1


def count_plane(plane: NDArray[Any]) -> Counts:
    """Pixels of each value in a plane (H, W); negative values are left out.

    It goes in blocks, so that the interpreter is never held for longer than the viewer can wait.
    """
    counts: Counts = {}
    rows = max(1, _BLOCK_PX // max(1, plane.shape[1]))
    for start in range(0, plane.shape[0], rows):
        block = plane[start : start + rows].ravel()
        for value, number in _count_block(block):
            counts[value] = counts.get(value, 0) + number
    return counts


def count_planes(
    labels: ArrayLike, indices: Iterable[Index]
) -> Iterator[list[tuple[Index, Counts]]]:
    """Counts of these planes, some at a time.

    Parameters
    ----------
    labels
        Label array whose last two axes are rows and columns.
    indices
        Positions along the other axes.
    """
    found: list[tuple[Index, Counts]] = []
    due = time.monotonic()
    for index in indices:
        found.append((index, count_plane(np.asarray(labels[index]))))
        if time.monotonic() >= due:
            yield found
            found, due = [], time.monotonic() + _REPORT_S
    yield found


def plane_on_show(viewer: Any, layer: Labels) -> Index:
    """Index of the plane of a labels layer that the viewer shows, over the axes before the last two."""
    place = np.asarray(layer.world_to_data(viewer.dims.point), dtype=float)
    spread = spread_of(layer)
    if spread is not None:
        place = np.delete(place, spread)
    lengths = plain_labels(layer).shape[:-2]
    return tuple(
        int(np.clip(np.floor(at + 0.5), 0, length - 1))
        for at, length in zip(place[:-2], lengths, strict=True)
    )


class LabelCounter(QObject):
    """Follows one labels layer and knows its counts.

    Parameters
    ----------
    viewer
        The napari viewer.
    parent
        Qt parent.

    Attributes
    ----------
    complete
        Whether every plane was counted since the layer got its data.
    """

    counted = Signal()
    edited = Signal()

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.complete = False
        self._layer: Labels | None = None
        self._planes: dict[Index, Counts] = {}
        self._due: set[Index] | None = set()  # None: all of them
        self._step: tuple[int, ...] = ()
        self._worker: Any = None
        self._stop = threading.Event()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_QUIET_MS)
        self._timer.timeout.connect(self._count)

    @property
    def totals(self) -> Counts:
        """Pixels of each value in the planes that were counted."""
        totals: Counts = {}
        for counts in self._planes.values():
            for value, number in counts.items():
                totals[value] = totals.get(value, 0) + number
        return totals

    @property
    def on_show(self) -> Counts:
        """Pixels of each value in the plane on show, as far as it was counted."""
        if self._layer is None or self._layer.multiscale:
            return {}
        return self._planes.get(plane_on_show(self._viewer, self._layer), {})

    def follow(self, layer: Labels | None) -> None:
        """Count another layer; None for none."""
        if layer is self._layer:
            return
        for followed, change in ((self._layer, "disconnect"), (layer, "connect")):
            if followed is not None:
                getattr(followed.events.paint, change)(self._take_paint)
                getattr(followed.events.set_data, change)(self._take_set_data)
                getattr(followed.events.data, change)(self._take_data)
        self._layer = layer
        self._start_anew()

    def stop(self) -> None:
        """Follow nothing any more."""
        self.follow(None)
        self._timer.stop()

    def _start_anew(self) -> None:
        self._planes, self.complete, self._due = {}, False, None
        self._drop_worker()
        if self._layer is not None and not self._layer.multiscale:
            self._step = plane_on_show(self._viewer, self._layer)
            self._count()

    def _take_data(self, event: object = None) -> None:
        self.edited.emit()
        self._start_anew()

    def _take_paint(self, event: Any) -> None:
        if self._due is not None and self._layer is not None:
            planes = _painted_planes(event.value, spread_of(self._layer))
            self._due = None if planes is None else self._due | planes
        self.edited.emit()
        self._timer.start()

    def _take_set_data(self, event: object = None) -> None:
        """Drawn anew: another slice is on show, or the data were changed in place, as undo does."""
        layer = self._layer
        if layer is None or layer.multiscale:
            return
        step = plane_on_show(self._viewer, layer)
        if step == self._step:
            self._due = None
            self.edited.emit()
            self._timer.start()
        self._step = step

    def _count(self) -> None:
        layer = self._layer
        if layer is None or layer.multiscale:
            return
        if self._worker is not None:
            self._timer.start()
            return
        labels = plain_labels(layer)
        lengths = labels.shape[:-2]
        indices: Sequence[Index] = (
            [tuple(map(int, index)) for index in np.ndindex(*lengths)]
            if self._due is None
            else sorted(self._due)
        )
        self._due = set()
        self._stop = threading.Event()
        worker = create_worker(_count_until, self._stop, labels, indices, _start_thread=False)
        worker.yielded.connect(self._take_counts)
        worker.finished.connect(self._finish)
        self._worker = worker
        worker.start()

    def _take_counts(self, found: list[tuple[Index, Counts]]) -> None:
        self._planes.update(found)
        if not self.complete:
            self.counted.emit()

    def _finish(self) -> None:
        self._worker = None
        self.complete = True
        self.counted.emit()

    def _drop_worker(self) -> None:
        if self._worker is not None:
            self._worker.yielded.disconnect(self._take_counts)
            self._worker.finished.disconnect(self._finish)
            self._stop.set()
            self._worker = None


def _count_until(
    stop: threading.Event, labels: ArrayLike, indices: Sequence[Index]
) -> Iterator[list[tuple[Index, Counts]]]:
    """Counts until ``stop`` is set. It ends then, and so lets go of the labels, where superqt's ``quit`` would leave it half-way with them."""
    for found in count_planes(labels, indices):
        yield found
        if stop.is_set():
            return


def _count_block(block: NDArray[Any]) -> Iterator[tuple[int, int]]:
    if block.dtype == np.bool_:
        block = block.view(np.uint8)
    low, high = (int(block.min()), int(block.max())) if block.size else (0, 0)
    if low == high:
        if block.size and low >= 0:
            yield low, int(block.size)
        return
    if low >= 0 and high < 2**16:
        numbers = np.bincount(block)
        values = np.flatnonzero(numbers)
        yield from zip(values.tolist(), numbers[values].tolist(), strict=True)
        return
    values, numbers = np.unique(block[block >= 0], return_counts=True)
    yield from zip(values.tolist(), numbers.tolist(), strict=True)


def _painted_planes(atoms: Sequence[Any], spread: int | None) -> set[Index] | None:
    """Planes that a paint event touched, and perhaps some between them; None when it does not say."""
    planes: set[Index] = set()
    for atom in atoms:
        places = atom[0]
        if not isinstance(places, tuple) or len(places) < 2:
            return None
        kept = [place for axis, place in enumerate(places) if axis != spread]
        planes.update(product(*(_span(place) for place in kept[:-2])))
    return planes


def _span(place: Any) -> range:
    """Positions along an axis, from the first to the last that is touched."""
    if isinstance(place, slice):
        return range(place.start, place.stop)
    where = np.asarray(place)
    return range(int(where.min()), int(where.max()) + 1) if where.size else range(0)
