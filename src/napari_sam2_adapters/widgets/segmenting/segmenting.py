"""The work of the Segment dock, as a generator for a worker thread: it touches arrays, never a layer."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2_adapters.config import Normalization, PredictConfig, advise_on_views
from napari_sam2_adapters.data.axes import ArrayLike, label_axes
from napari_sam2_adapters.data.normalize import Limits, advise_on_values
from napari_sam2_adapters.inference.region import Region, settle_region
from napari_sam2_adapters.inference.rules import PostprocessConfig
from napari_sam2_adapters.widgets.docks.arrays import (
    Both,
    PerClass,
    ResultArrays,
    new_array,
    new_arrays,
    new_label_array,
)
from napari_sam2_adapters.widgets.docks.jobs import Pulse
from napari_sam2_adapters.widgets.docks.load_torch import loading_modules
from napari_sam2_adapters.widgets.docks.words import duration
from napari_sam2_adapters.widgets.segmenting.tidying import (
    REPORT_INTERVAL_S,
    Tidied,
    Tidying,
    TidyRequest,
    tidy,
    with_own_shown,
)

if TYPE_CHECKING:
    from napari_sam2_adapters.models.model_file import AdapterHeader
    from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = [
    "LimitsKept",
    "Prepared",
    "SegmentRequest",
    "Segmented",
    "Tiled",
    "new_label_array",
    "segment",
]

_LONGEST_SHOWING_S = 2.0
"""A window that is busy for longer does not keep the network from its work."""


def _nothing() -> None:
    """What is left of an image that is not there any more."""


@dataclass
class LimitsKept:
    """Grey-value limits of the lazy image that was segmented last: finding them reads a sample of all of it.

    The image itself is not held; ``image()`` gives it as long as somebody else does.
    """

    image: Callable[[], Any] = _nothing
    axes: str = ""
    normalization: Normalization | None = None
    limits: Limits | None = None


@dataclass(frozen=True)
class SegmentRequest:
    """What to segment, with what, and where the results go.

    Attributes
    ----------
    model, tensors_sha256
        The adapter file, and what is expected in it.
    image, axes, rgb
        Array as it was taken from the layer.
    region
        Planes, and the part of them.
    config
        Tiles, overlap, and which results are wanted besides labels.
    rules
        What is done after the network.
    earlier
        Results of earlier runs of the same adapter on the same image, to go on in.
    kept
        Limits of the last run; taken from and written to.
    device
        As `choose_device` takes it.
    shown
        Set when the window shows the arrays, which it does from the first tile on: the network goes on then, so that the window has
        both cores for that.
    """

    model: Path
    tensors_sha256: str
    image: ArrayLike
    axes: str
    rgb: bool
    region: Region
    config: PredictConfig
    rules: PostprocessConfig = field(default_factory=PostprocessConfig)
    earlier: ResultArrays | None = None
    kept: LimitsKept = field(default_factory=LimitsKept)
    device: str = "auto"
    shown: threading.Event | None = None


@dataclass(frozen=True)
class Prepared:
    """The network is loaded, these arrays are written into from the first tile on, and the memory plan in a sentence."""

    arrays: ResultArrays
    plan: str


@dataclass(frozen=True)
class Tiled:
    """Tiles done, tiles in all, seconds left, the planes that changed, and what had to be changed on the way."""

    done: int
    total: int
    seconds_left: float
    planes: frozenset[tuple[int, ...]]
    notice: str | None


@dataclass(frozen=True)
class Segmented:
    """The results, and how far it came: tiles done of all, in how many seconds.

    Attributes
    ----------
    tidied
        What the tidying came to; None when the run was stopped before it.
    """

    arrays: ResultArrays
    done: int
    total: int
    seconds: float
    tidied: Tidied | None = None

    @property
    def sentence(self) -> str:
        """How it ended."""
        tiles = f"{self.done} of {self.total} tiles in {duration(self.seconds)}."
        if self.done < self.total:
            return f"Cancelled; what is done stays: {tiles}"
        if self.tidied is None or not self.tidied.finished:
            return f"Done, but not cleaned up: {tiles}"
        return f"Done: {tiles}{self.tidied.objects}"


def segment(
    stop: threading.Event, request: SegmentRequest
) -> Generator[Prepared | Tiled | Tidying, None, Segmented]:
    """Segment tile by tile, then tidy; what is done stays when it is stopped.

    Parameters
    ----------
    stop
        When set, it ends after the tile in work.
    request
        What to segment.

    Raises
    ------
    ValueError
        When the adapter's file has changed since it was chosen or does not fit the image, or the image has no number anywhere.
    """
    started = time.perf_counter()
    with loading_modules():
        from napari_sam2_adapters.models.device import choose_device
        from napari_sam2_adapters.models.model_file import load_adapter

        segmenter, header = load_adapter(request.model, device=choose_device(request.device))
    if header.tensors_sha256 != request.tensors_sha256:
        raise ValueError(
            f"{request.model.name} has changed since it was chosen. Choose another adapter, then this one again."
        )
    network = segmenter.folded()
    limits = _limits(request, network, header.normalization)
    arrays = _arrays(request, header)
    done, total, reached = yield from _tiles(stop, request, network, header, arrays, limits)
    arrays = replace(arrays, planes=arrays.planes | reached, untidied=arrays.untidied | reached)
    tidied, rules = None, request.rules
    nothing_to_do = not (rules.cleans or rules.object_values)
    if done == total and (nothing_to_do or not stop.is_set()):
        wanted = TidyRequest(arrays, request.axes, header.classes, rules, only_new=True)
        tidied = yield from tidy(stop, wanted)
        arrays = tidied.arrays
    return Segmented(arrays, done, total, time.perf_counter() - started, tidied)


def _tiles(
    stop: threading.Event,
    request: SegmentRequest,
    segmenter: Segmenter,
    header: AdapterHeader,
    arrays: ResultArrays,
    limits: Limits,
) -> Generator[Prepared | Tiled, None, tuple[int, int, frozenset[tuple[int, ...]]]]:
    """Tiles done and in all, and the planes that hold results of them."""
    from napari_sam2_adapters.inference.predict import Outputs, predict_tiles

    outputs = Outputs(
        arrays.labels if arrays.shown is arrays.labels else Both(arrays.labels, arrays.shown),
        PerClass(arrays.probabilities)
        if request.config.probabilities and arrays.probabilities
        else None,
        arrays.uncertainty if request.config.uncertainty else None,
    )
    started, pulse = time.perf_counter(), Pulse(REPORT_INTERVAL_S)
    done, total, shown = 0, 1, request.shown
    reached: set[tuple[int, ...]] = set()
    news: set[tuple[int, ...]] = set()
    views = advise_on_views(header.training, request.config.test_time_augmentation)
    values = advise_on_values(request.image, request.axes, header.normalization)
    advice = " ".join(filter(None, (views, values)))
    for tile in predict_tiles(
        segmenter,
        request.image,
        request.axes,
        normalization=header.normalization,
        config=request.config,
        outputs=outputs,
        rgb=request.rgb,
        region=request.region,
        limits=limits,
        live=True,
    ):
        done, total = tile.done, tile.total
        if tile.plan is not None:
            yield Prepared(arrays, tile.plan.sentence)
            advice = " ".join(filter(None, (advice, tile.notice)))
            continue
        reached.add(tile.plane)
        news.add(tile.plane)
        notice = " ".join(said for said in (advice, tile.notice) if said) or None
        if notice is not None or pulse.due():
            left = (time.perf_counter() - started) / max(done, 1) * (total - done)
            yield Tiled(done, total, left, frozenset(news), notice)
            news.clear()
            advice = ""
        if shown is not None and not stop.is_set():  # it is told of the first tile
            shown.wait(_LONGEST_SHOWING_S)
            shown = None
        if stop.is_set():
            break
    return done, total, frozenset(reached)


def _arrays(request: SegmentRequest, header: AdapterHeader) -> ResultArrays:
    """Arrays for the results: those of earlier runs, and new ones where there are none."""
    shape = tuple(
        int(n) for n, axis in zip(request.image.shape, request.axes, strict=True) if axis != "C"
    )
    settle_region(request.region, shape, label_axes(request.axes))  # before anything is made for it
    arrays = request.earlier
    if arrays is None:
        dtype = np.min_scalar_type(max(info.value for info in header.classes))
        labels = new_array(shape, dtype)
        arrays = ResultArrays(labels, labels)
    if request.rules.cleans:
        arrays = with_own_shown(arrays)
    probabilities = request.config.probabilities and arrays.probabilities is None
    uncertainty = request.config.uncertainty and arrays.uncertainty is None
    maps = new_arrays(len(header.classes) * probabilities + uncertainty, shape, np.float32)
    if uncertainty:
        arrays = replace(arrays, uncertainty=maps.pop())
    if probabilities:
        arrays = replace(arrays, probabilities=tuple(maps))
    return arrays


def _limits(request: SegmentRequest, segmenter: Segmenter, normalization: Normalization) -> Limits:
    from napari_sam2_adapters.inference.predict import find_limits

    kept = request.kept
    if isinstance(request.image, np.ndarray):  # quickly read, and perhaps written into since
        return find_limits(segmenter, request.image, request.axes, normalization, request.rgb)
    same = (
        kept.image() is request.image
        and kept.axes == request.axes
        and kept.normalization == normalization
    )
    if not same or kept.limits is None:
        kept.limits = find_limits(
            segmenter, request.image, request.axes, normalization, request.rgb
        )
        kept.image = _weakly(request.image)
        kept.axes, kept.normalization = request.axes, normalization
    return kept.limits


def _weakly(image: ArrayLike) -> Callable[[], Any]:
    try:
        return weakref.ref(image)
    except (
        TypeError
    ):  # not every kind of array can be referred to so; this one is looked at anew each time
        return _nothing
