"""Tiles through the network, in batches, with a way out when the device's memory is too small."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["Tile", "TileTooLargeError", "segment_tiles"]


class TileTooLargeError(RuntimeError):
    """A single tile does not fit into the device's memory."""


@dataclass(frozen=True)
class Tile:
    """A part of a plane on its way to the network: its place and its pixels (C, h, w) float32 from 0 to 1."""

    plane: int
    row: int
    column: int
    image: NDArray[np.float32]


def segment_tiles(
    segmenter: Segmenter,
    tiles: Iterable[Tile],
    *,
    batch_size: int,
    test_time_augmentation: bool,
    notice: Callable[[str], None],
) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
    """Give each tile with its logits (classes, h, w), in the order of the tiles.

    Tiles of one shape that follow each other go through the network together, also those of different rows and planes. When the device's
    memory is too small, the batch is halved for all that follow.

    Raises
    ------
    TileTooLargeError
        When even one tile does not fit.
    """
    waiting: list[Tile] = []
    for tile in tiles:
        if waiting and (len(waiting) >= batch_size or waiting[0].image.shape != tile.image.shape):
            batch_size = yield from _flush(
                segmenter, waiting, batch_size, test_time_augmentation, notice
            )
            waiting = []
        waiting.append(tile)
    if waiting:
        yield from _flush(segmenter, waiting, batch_size, test_time_augmentation, notice)


def _flush(
    segmenter: Segmenter,
    tiles: list[Tile],
    batch_size: int,
    augment: bool,
    notice: Callable[[str], None],
) -> Generator[tuple[Tile, NDArray[np.float32]], None, int]:
    done = 0
    while done < len(tiles):
        part = tiles[done : done + batch_size]
        try:
            logits = _logits(segmenter, np.stack([tile.image for tile in part]), augment)
        except torch.OutOfMemoryError as error:
            if segmenter.device.type == "cuda":
                torch.cuda.empty_cache()
            if batch_size == 1:
                raise TileTooLargeError(str(error)) from error
            batch_size = max(1, min(batch_size, len(part)) // 2)
            notice(
                f"The memory of {segmenter.device} is full: going on with {batch_size} tile(s) at a time."
            )
            continue
        yield from zip(part, logits, strict=True)
        done += len(part)
    return batch_size


def _logits(
    segmenter: Segmenter, images: NDArray[np.float32], augment: bool
) -> NDArray[np.float32]:
    device = segmenter.device
    with (
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"),
    ):
        batch = torch.from_numpy(images).to(device)
        logits = _over_flips_and_turns(segmenter, batch) if augment else segmenter(batch)
    result: NDArray[np.float32] = logits.float().cpu().numpy()
    return result


def _over_flips_and_turns(segmenter: Segmenter, batch: Tensor) -> Tensor:
    """Mean of the log-probabilities over the eight symmetries of the square."""
    total = torch.zeros((), device=batch.device)
    for turns, flipped in product(range(4), (False, True)):
        turned = torch.rot90(batch, turns, (2, 3))
        logits = segmenter(turned.flip(3) if flipped else turned).float().log_softmax(1)
        total = total + torch.rot90(logits.flip(3) if flipped else logits, -turns, (2, 3))
    return total / 8
