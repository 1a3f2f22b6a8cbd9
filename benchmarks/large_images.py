"""Images of any size for measurements, made of the bundled sample and written to the disk chunk by chunk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_sam2_adapters.data.samples import load_sample

__all__ = ["write_image", "write_stack"]

CHUNK_PX = 1024


def write_image(path: Path, height: int, width: int) -> None:
    """A uint16 zarr of ``height`` × ``width`` px."""
    chunk = _chunk(CHUNK_PX)
    array = zarr.create_array(
        str(path),
        shape=(height, width),
        chunks=(min(CHUNK_PX, height), min(CHUNK_PX, width)),
        dtype=np.uint16,
    )
    for row in range(0, height, CHUNK_PX):
        for column in range(0, width, CHUNK_PX):
            tall, wide = min(CHUNK_PX, height - row), min(CHUNK_PX, width - column)
            array[row : row + tall, column : column + wide] = chunk[:tall, :wide]


def write_stack(path: Path, slices: int, side: int) -> None:
    """A uint16 zarr of many slices, a chunk each, every one turned farther than the last."""
    chunk = _chunk(side)
    array = zarr.create_array(
        str(path), shape=(slices, side, side), chunks=(1, side, side), dtype=np.uint16
    )
    for z in range(slices):
        array[z] = np.rot90(chunk, z)


def _chunk(side: int) -> NDArray[np.uint16]:
    sample = load_sample("fluorescence").train_images[0].astype(np.uint16) * 64
    times = -(-side // min(sample.shape))
    return np.tile(sample, (times, times))[:side, :side]
