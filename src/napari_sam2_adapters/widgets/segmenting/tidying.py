"""The tidying of results, as a generator for a worker thread: it touches arrays, never a layer."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.axes import label_axes
from napari_sam2_adapters.inference.postprocess import Block, block_keys, postprocess
from napari_sam2_adapters.inference.rules import PostprocessConfig
from napari_sam2_adapters.widgets.docks.arrays import ResultArrays, new_array
from napari_sam2_adapters.widgets.docks.jobs import Pulse
from napari_sam2_adapters.wording import counted

__all__ = ["REPORT_INTERVAL_S", "Tidied", "TidyRequest", "Tidying", "tidy", "with_own_shown"]

REPORT_INTERVAL_S = 0.1
"""Seconds between two reports of a worker to the dock."""


@dataclass(frozen=True)
class TidyRequest:
    """What to tidy, and how.

    Attributes
    ----------
    arrays
        Results so far.
    axes
        Axes of the image.
    classes
        All classes of the adapter.
    rules
        What to do.
    only_new
        Leave out what is by these rules already.
    """

    arrays: ResultArrays
    axes: str
    classes: Sequence[ClassInfo]
    rules: PostprocessConfig
    only_new: bool = False


@dataclass(frozen=True)
class Tidying:
    """Slices or volumes done, and in all."""

    done: int
    total: int


@dataclass(frozen=True)
class Tidied:
    """The results, how far it came, and how many objects there are."""

    arrays: ResultArrays
    done: int
    total: int

    @property
    def finished(self) -> bool:
        """Whether it came to the end."""
        return self.done == self.total

    @property
    def objects(self) -> str:
        """How many objects there are, in words; empty when they were not asked for."""
        if self.arrays.objects is None:
            return ""
        return f" {counted(len(self.arrays.object_classes), 'object')}."

    @property
    def sentence(self) -> str:
        """How it ended."""
        return f"Cleaned up.{self.objects}" if self.finished else "Cancelled; what is done stays."


def tidy(stop: threading.Event, request: TidyRequest) -> Generator[Tidying, None, Tidied]:
    """Tidy slice by slice or volume by volume; what is done stays when it is stopped.

    The class values that the network gave stay as they are, so that other rules can be tried.
    """
    arrays, rules = _prepare(request.arrays, request.rules), request.rules
    if not (rules.cleans or rules.object_values):
        done_for = replace(arrays, rules=rules, untidied=frozenset(), object_classes={})
        return Tidied(done_for, 0, 0)
    again = request.only_new and rules == arrays.rules
    planes = sorted(arrays.untidied if again else arrays.planes)
    known = dict(arrays.object_classes) if again else {}
    axes = label_axes(request.axes)
    blocks = block_keys(arrays.labels.shape, axes, rules.together, planes)
    # with other rules all are numbered anew, or none are
    replaced = _objects_in(arrays, blocks) if known else [[] for _ in blocks]
    pulse, done, total = Pulse(REPORT_INTERVAL_S), 0, len(replaced)
    for block in postprocess(
        arrays.labels,
        axes,
        rules,
        classes=[info.value for info in request.classes],
        cleaned=arrays.shown,
        objects=arrays.objects,
        planes=planes,
        first_object=max(known, default=0) + 1,
    ):
        for number in replaced[done]:
            known.pop(number, None)
        known |= {
            block.first_object + i: int(value) for i, value in enumerate(block.object_classes)
        }
        done, total = block.done, block.total
        if pulse.due():
            yield Tidying(done, total)
        if stop.is_set():
            break
    left = blocks[done:]
    if not again:
        known |= _numbered_after(arrays, left, max(known, default=0))
    names = {repr(key) for key in left}
    untidied = frozenset(
        plane
        for plane in (planes if left else ())
        if repr(block_keys(arrays.labels.shape, axes, rules.together, [plane])[0]) in names
    )
    arrays = replace(arrays, rules=rules, untidied=untidied, object_classes=known)
    return Tidied(arrays, done, total)


def with_own_shown(arrays: ResultArrays) -> ResultArrays:
    """Results whose tidy class values are in an array of their own, where they are those of the network until they are tidied."""
    if arrays.shown is not arrays.labels:
        return arrays
    shown = new_array(arrays.labels.shape, arrays.labels.dtype)
    for plane in arrays.planes:
        shown[plane] = arrays.labels[plane]
    return replace(arrays, shown=shown)


def _prepare(arrays: ResultArrays, rules: PostprocessConfig) -> ResultArrays:
    """Results with arrays for what the rules ask for."""
    shown, objects = arrays.labels, None
    if rules.cleans:
        shown = with_own_shown(arrays).shown
    if rules.object_values:
        objects = arrays.objects
        if objects is None:
            objects = new_array(arrays.labels.shape, np.uint32)
    return replace(arrays, shown=shown, objects=objects)


def _objects_in(arrays: ResultArrays, blocks: Sequence[Block]) -> list[list[int]]:
    """Numbers of the objects that each block has so far."""
    return [np.unique(np.asarray(arrays.objects[key])).tolist() for key in blocks]


def _numbered_after(arrays: ResultArrays, blocks: Sequence[Block], last: int) -> dict[int, int]:
    """Move the objects of earlier rules that stay in these blocks past the last new number, which they may have too; gives their classes."""
    if arrays.objects is None or not arrays.object_classes:
        return {}
    moved: dict[int, int] = {}
    for key, found in zip(blocks, _objects_in(arrays, blocks), strict=True):
        numbers = np.asarray(arrays.objects[key])
        arrays.objects[key] = np.where(numbers, numbers + np.uint32(last), numbers)
        known = (number for number in found if number in arrays.object_classes)
        moved |= {number + last: arrays.object_classes[number] for number in known}
    return moved
