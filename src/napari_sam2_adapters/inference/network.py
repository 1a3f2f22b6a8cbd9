"""Tiles through the network, in batches, with a way out when the device's memory is too small."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_sam2_adapters.config import ViewsName
from napari_sam2_adapters.inference.views import Network, over_views
from napari_sam2_adapters.models.device import half_precision
from napari_sam2_adapters.models.memory import attempt
from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["Tile", "TileTooLargeError", "copy_to_cpu", "run_network", "segment_tiles"]


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
    views: ViewsName,
    bfloat16: bool = False,
    network: Network | None = None,
    on_full: Callable[[int], None],
) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
    """Give each tile with its logits (classes, h, w), in the order of the tiles.

    Tiles of one shape that follow each other go through the network together, also those of different rows and planes. When the device's
    memory is too small, the batch is halved for all that follow, and ``on_full`` is told how many tiles it has then. ``views`` is what
    `over_views` takes, ``bfloat16`` is for the CPU, and ``network`` stands for the segmenter's own pass.

    Raises
    ------
    TileTooLargeError
        When even one tile does not fit.
    """
    run = partial(
        run_network,
        segmenter,
        views=views,
        bfloat16=bfloat16,
        network=network,
    )
    waiting: list[Tile] = []
    for tile in tiles:
        if waiting and (len(waiting) >= batch_size or waiting[0].image.shape != tile.image.shape):
            batch_size = yield from _flush(segmenter.device, run, waiting, batch_size, on_full)
            waiting = []
        waiting.append(tile)
    if waiting:
        yield from _flush(segmenter.device, run, waiting, batch_size, on_full)


def copy_to_cpu(segmenter: Segmenter) -> Segmenter:
    """A copy on the CPU; the network itself stays where it is, since it may be training or serve the next image.

    The copy takes nothing of the memory that is full.
    """
    memo: dict[int, Tensor] = {
        id(p): nn.Parameter(p.detach().cpu(), requires_grad=p.requires_grad)
        for p in segmenter.parameters()
    }
    memo |= {id(b): b.detach().cpu() for b in segmenter.buffers()}
    return copy.deepcopy(segmenter, memo).to("cpu")


def _flush(
    device: torch.device,
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    tiles: list[Tile],
    batch_size: int,
    on_full: Callable[[int], None],
) -> Generator[tuple[Tile, NDArray[np.float32]], None, int]:
    done, halved = 0, False
    while done < len(tiles):
        part = tiles[done : done + batch_size]
        images = np.stack([tile.image for tile in part])
        logits = attempt(device, partial(run, images))
        if logits is not None:
            if halved:
                on_full(batch_size)
                halved = False
            yield from zip(part, logits, strict=True)
            done += len(part)
        elif len(part) > 1:
            batch_size, halved = len(part) // 2, True
        else:
            raise TileTooLargeError(
                f"A tile of {part[0].image.shape[1]}×{part[0].image.shape[2]} px does not fit into the memory of {device}."
            )
    return batch_size


def run_network(
    segmenter: Segmenter,
    images: NDArray[np.float32],
    views: ViewsName,
    bfloat16: bool = False,
    network: Network | None = None,
) -> NDArray[np.float32]:
    """Logits (B, classes, h, w) of tiles (B, C, h, w), in inference mode; the network's own mode is put back."""
    network = network or segmenter
    device, training = segmenter.device, segmenter.training
    if training:  # LoRA's dropout would make every tile a throw of the dice
        segmenter.eval()
    try:
        with torch.inference_mode(), half_precision(device, on_cpu=bfloat16):
            batch = torch.from_numpy(images).to(device)
            logits = over_views(network, batch, views)
    finally:
        if training:
            segmenter.train()
    result: NDArray[np.float32] = logits.float().cpu().numpy()
    return result
