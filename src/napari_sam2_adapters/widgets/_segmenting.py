"""The work of the Segment dock, as a generator for a worker thread: it touches arrays, never a layer."""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.config import Normalization, PredictConfig
from napari_sam2_adapters.data.axes import ArrayLike
from napari_sam2_adapters.widgets._jobs import Pulse
from napari_sam2_adapters.widgets._training import GUI_INTERVAL_S

if TYPE_CHECKING:
    from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["SegmentRequest", "Segmented", "Tiled", "new_label_array", "segment"]

IN_MEMORY_BYTES = 2**30


@dataclass(frozen=True)
class SegmentRequest:
    """What to segment, with what, and where the labels go.

    Attributes
    ----------
    model
        The adapter file.
    image, axes, rgb
        Array as it was taken from the layer.
    plane
        The only plane to segment, or None for all.
    labels
        Array that the label values are written into; shaped as the image without channels.
    config
        Tiles and overlap.
    device
        As `choose_device` takes it.
    """

    model: Path
    image: ArrayLike
    axes: str
    rgb: bool
    plane: tuple[int, ...] | None
    labels: Any
    config: PredictConfig
    device: str = "auto"


@dataclass(frozen=True)
class Tiled:
    """Tiles done, tiles in all, seconds left, and what had to be changed on the way."""

    done: int
    total: int
    seconds_left: float
    notice: str | None


@dataclass(frozen=True)
class Segmented:
    """How far it came: tiles done of all, in how many seconds."""

    done: int
    total: int
    seconds: float


def new_label_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Zeros for label values: in memory up to a gigabyte, else zarr in a temporary folder.

    Parameters
    ----------
    shape
        Shape of the labels, the last two axes rows and columns.
    dtype
        Their type.
    """
    if math.prod(shape) * dtype.itemsize <= IN_MEMORY_BYTES:
        return np.zeros(shape, dtype)
    import zarr

    chunks = (1,) * (len(shape) - 2) + tuple(min(n, 1024) for n in shape[-2:])
    folder = tempfile.mkdtemp(prefix="napari-sam2-adapters-", suffix=".zarr")
    return zarr.open(folder, mode="w", shape=shape, chunks=chunks, dtype=dtype, fill_value=0)


def segment(stop: threading.Event, request: SegmentRequest) -> Generator[Tiled, None, Segmented]:
    """Segment tile by tile into ``request.labels``; what is done stays when it is stopped.

    Parameters
    ----------
    stop
        When set, it ends after the tile in work.
    request
        What to segment.
    """
    from napari_sam2_adapters.inference.predict import Outputs, predict_tiles
    from napari_sam2_adapters.models.device import choose_device
    from napari_sam2_adapters.models.model_file import load_adapter

    segmenter, header = load_adapter(request.model, device=choose_device(request.device))
    image, axes, normalization, rgb = request.image, request.axes, header.normalization, request.rgb
    labels = request.labels
    if request.plane:
        image, axes = _one_plane(segmenter, request, normalization), "CYX"
        normalization, rgb = Normalization(mode="range", low=0, high=1), False
        labels = _PlaneOf(request.labels, request.plane)
    started, pulse = time.perf_counter(), Pulse(GUI_INTERVAL_S)
    done = total = 0
    for tile in predict_tiles(
        segmenter.folded(),
        image,
        axes,
        normalization=normalization,
        config=request.config,
        outputs=Outputs(labels),
        rgb=rgb,
    ):
        done, total = tile.done, tile.total
        if tile.notice is not None or pulse.due():
            left = (time.perf_counter() - started) / max(done, 1) * (total - done)
            yield Tiled(done, total, left, tile.notice)
        if stop.is_set():
            break
    return Segmented(done, total, time.perf_counter() - started)


def _one_plane(
    segmenter: Segmenter, request: SegmentRequest, normalization: Normalization
) -> NDArray[np.float32]:
    """One plane (C, H, W), scaled by the limits of the whole stack so that it comes out as in a run over all."""
    from napari_sam2_adapters.data.axes import read_plane, without_alpha
    from napari_sam2_adapters.data.normalize import (
        intensity_limits,
        normalize_plane,
        resolve_normalization,
    )

    image = request.image
    if segmenter.config.input_channels == 3:
        image = without_alpha(image, request.axes)
    settled = resolve_normalization(normalization, image.dtype, request.axes, request.rgb)
    limits = intensity_limits(image, request.axes, settled)
    return normalize_plane(read_plane(image, request.axes, request.plane or ()), limits)


class _PlaneOf:
    """One plane of a label array, to be written into."""

    def __init__(self, labels: Any, plane: tuple[int, ...]) -> None:
        self._labels, self._plane = labels, plane
        self.shape = tuple(labels.shape[len(plane) :])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._labels[(*self._plane, *key)] = value
