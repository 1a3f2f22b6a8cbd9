"""The tiles of a run, and how many of them go through the network together, by what one of them takes and what the device has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np

from napari_sam2_adapters.config import PredictConfig, ViewsName
from napari_sam2_adapters.inference.network import run_network
from napari_sam2_adapters.inference.views import most_seen_pixels
from napari_sam2_adapters.models.memory import attempt, peak_bytes, plan_memory
from napari_sam2_adapters.models.memory_plan import MemoryPlan
from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["SMALLEST_TILE_PX", "plan_tiles", "smaller_tile"]

SMALLEST_TILE_PX = 128
_SAMPLE_PX = 224
"""Side of the sample that is measured; memory grows with the area, and the windows of all backbones fill it."""
_MOST_ON_GPU = 16
_MOST_PIXELS_ON_GPU = _MOST_ON_GPU * 448**2
"""More at once keep a GPU no busier, and CUDA's attention takes no more than 65,535 windows, of which a tile of 2048 px has 4096."""
_MEASURED: WeakKeyDictionary[Segmenter, dict[tuple[str, ViewsName, int], float | None]] = (
    WeakKeyDictionary()
)


def plan_tiles(
    segmenter: Segmenter,
    config: PredictConfig,
    *,
    window: tuple[int, int] | None = None,
    most: int | None = None,
    held_bytes: Callable[[int], int] = lambda side: 0,
) -> MemoryPlan:
    """Choose side and number of the tiles that go through a network together.

    The wanted tile is taken if one fits, else smaller ones (see `smaller_tile`). On a GPU as many go together as fit, up to 16 of 448 px, unless the settings
    say how many; on the CPU one does, since more are not faster there.

    Parameters
    ----------
    segmenter
        The network; what a tile takes is measured once for it and its device.
    config
        Wanted tile and number.
    window
        Height and width of a wanted tile, which the image may make other than the settings say; None: as those say.
    most
        Tiles that there are; None: many.
    held_bytes
        Gives what a run holds besides for a side of its tiles.
    """
    tall, wide = window or (config.tile_size_px, config.tile_size_px)
    side = max(tall, wide)
    sides = [side]
    while (smaller := smaller_tile(sides[-1], config.tile_size_px)) is not None:
        sides.append(smaller)

    views = config.test_time_augmentation

    def pixels(side: int) -> int:
        return min(side, tall) * min(side, wide)

    def seen(side: int) -> int:
        return most_seen_pixels(min(side, tall), min(side, wide), views)

    wanted = config.batch_size or 1
    if config.batch_size is None and segmenter.device.type != "cpu":
        wanted = min(_MOST_ON_GPU, max(1, _MOST_PIXELS_ON_GPU // pixels(side)))
    alone = side <= _SAMPLE_PX and most == 1
    # one tile no larger than the sample would cost the same again, with nothing to choose
    per_pixel = None if alone else _bytes_per_pixel(segmenter, views)
    return plan_memory(
        "tile",
        segmenter.device,
        sides=sides,
        most=min(wanted, most or wanted),
        bytes_of_one=None if per_pixel is None else lambda side: per_pixel * seen(side),
        held_bytes=held_bytes,
    )


def smaller_tile(side: int, asked_px: int) -> int | None:
    """The side that was asked for where an image was taken whole, else half of it as a multiple of 32, not below 128; None when there is none."""
    if asked_px < side:
        return asked_px
    half = max(SMALLEST_TILE_PX, side // 64 * 32)
    return half if half < side else None


def _bytes_per_pixel(segmenter: Segmenter, views: ViewsName) -> float | None:
    """Bytes of tensors that a tile takes per pixel of its largest view; None when not even the sample fits."""
    known = _MEASURED.setdefault(segmenter, {})
    key = str(segmenter.device), views, segmenter.config.input_channels
    if key not in known:
        side, channels = _SAMPLE_PX, segmenter.config.input_channels
        sample = np.zeros((1, channels, side, side), np.float32)
        work = partial(run_network, segmenter, sample, views)
        peak = attempt(segmenter.device, partial(peak_bytes, segmenter.device, work))
        known[key] = None if peak is None else peak / most_seen_pixels(side, side, views)
    return known[key]
