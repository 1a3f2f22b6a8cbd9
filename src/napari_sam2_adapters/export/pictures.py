"""Tiles of the bundled pictures, on which an exported file is held against the network that it was made from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.config import Normalization
from napari_sam2_adapters.data.normalize import intensity_limits, normalize_plane
from napari_sam2_adapters.data.samples import load_sample

__all__ = ["fit_to_tile", "grey_tiles", "normalized_tiles"]


def grey_tiles(channels: int, side_px: int, count: int) -> NDArray[np.uint8]:
    """Grey values of held-out sample images, mirrored where a tile is larger than they are.

    Three channels show stained tissue in colour. Other numbers show nuclei in fluorescence, another field of view in each channel.

    Parameters
    ----------
    channels
        Channels of a tile.
    side_px
        Height and width of a tile.
    count
        Number of tiles.

    Returns
    -------
    ndarray
        (count, channels, side_px, side_px).
    """
    images = load_sample("tissue" if channels == 3 else "fluorescence").held_out_images
    if channels == 3:
        tiles = [np.moveaxis(images[n % len(images)], -1, 0) for n in range(count)]
    else:
        order = np.add.outer(np.arange(count), np.arange(channels)) % len(images)
        tiles = list(images[order])
    return np.stack([fit_to_tile(tile, side_px) for tile in tiles])


def normalized_tiles(channels: int, side_px: int, count: int) -> NDArray[np.float32]:
    """The same between 0 and 1, as the network takes them; arguments as `grey_tiles`."""
    scaling = Normalization(mode="percentile")
    tiles = [
        normalize_plane(tile, intensity_limits(tile, "CYX", scaling))
        for tile in grey_tiles(channels, side_px, count)
    ]
    return np.stack(tiles)


def fit_to_tile(plane: NDArray[np.generic], side_px: int) -> NDArray[np.generic]:
    """The middle of a plane (C, H, W), mirrored at the lower and right edge where it is too small, as (C, side_px, side_px)."""
    for axis in (1, 2):
        length = plane.shape[axis]
        start = max(0, (length - side_px) // 2)
        plane = plane.take(range(start, min(length, start + side_px)), axis)
        missing = side_px - plane.shape[axis]
        widths = [(0, missing if other == axis else 0) for other in range(3)]
        plane = np.pad(plane, widths, mode="symmetric")
    return plane
