"""Segmenting images of any size and number of planes, tile by tile.

`predict_tiles` is the engine: a generator that the viewer, the command line and `predict` all run. It reads the image region by region,
holds the pixels of a row of tiles and sums where the next row overlaps it, and writes rows into the outputs as soon as they are final, so that
whoever stops it keeps what is done.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator

from napari_sam2_adapters.config import Normalization, PredictConfig
from napari_sam2_adapters.data.axes import (
    ArrayLike,
    channel_count,
    check_axes,
    guess_axes,
    plane_shape,
    without_alpha,
)
from napari_sam2_adapters.data.normalize import (
    NO_NUMBER,
    Limits,
    has_no_number,
    intensity_limits,
    resolve_normalization,
)
from napari_sam2_adapters.inference.network import TileTooLargeError
from napari_sam2_adapters.inference.outputs import (
    Outputs,
    Prediction,
    allocate_outputs,
    check_outputs,
)
from napari_sam2_adapters.inference.region import Region
from napari_sam2_adapters.inference.tile_progress import TileProgress
from napari_sam2_adapters.inference.tiled_run import TiledRun
from napari_sam2_adapters.models.memory_plan import MemoryPlan
from napari_sam2_adapters.models.segmenter import Segmenter
from napari_sam2_adapters.wording import counted

__all__ = [
    "Outputs",
    "Prediction",
    "Region",
    "TileProgress",
    "allocate_outputs",
    "check_image",
    "find_limits",
    "predict",
    "predict_tiles",
]


def predict(
    segmenter: Segmenter,
    image: ArrayLike,
    *,
    axes: str | None = None,
    normalization: Normalization | None = None,
    config: PredictConfig | None = None,
    rgb: bool | None = None,
    on_plan: Callable[[MemoryPlan], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> Prediction:
    """Segment an image and return label values in memory.

    Parameters
    ----------
    segmenter
        The network; `Segmenter.folded` makes it faster.
    image
        numpy, dask or zarr array of one or many planes.
    axes
        Names of its axes, such as ``"ZYX"``; guessed from the shape when None.
    normalization
        How grey values are scaled; a model file's header has the one it was trained with.
    config
        Tile size, overlap, and what else to return.
    rgb
        As in `predict_tiles`.
    on_plan
        Told before the first tile how the tiles go through the network.
    on_notice
        Told what is other than was asked for, such as tiles or the device where the memory is too small; a warning unless given.

    Raises
    ------
    ValueError
        When the image does not fit its axes or the model's number of channels.
    """
    config = config or PredictConfig()
    names = axes or guess_axes(image.shape)
    outputs = allocate_outputs(segmenter, image.shape, names, config)
    for tile in predict_tiles(
        segmenter,
        image,
        names,
        normalization=normalization,
        config=config,
        outputs=outputs,
        rgb=rgb,
    ):
        if tile.plan is not None and on_plan is not None:
            on_plan(tile.plan)
        if tile.notice is not None and on_notice is not None:
            on_notice(tile.notice)
        elif tile.notice is not None:
            warnings.warn(tile.notice, stacklevel=2)
    return outputs


def predict_tiles(
    segmenter: Segmenter,
    image: ArrayLike,
    axes: str,
    *,
    normalization: Normalization | None = None,
    config: PredictConfig | None = None,
    outputs: Outputs | Prediction,
    rgb: bool | None = None,
    region: Region | None = None,
    limits: Limits | None = None,
    live: bool = False,
) -> Generator[TileProgress, None, None]:
    """Segment an image into ``outputs``, yielding the plan before the first tile, and after each tile.

    It can be left at any yield: rows that were announced are in the outputs. When the device's memory is too small, the batch, then the
    tile shrinks, then a copy of the network on the CPU takes over, and a record says so; ``segmenter`` itself stays where it is.

    Parameters
    ----------
    segmenter, image, axes, normalization, config
        As in `predict`.
    outputs
        Arrays to write into, for example from `allocate_outputs` or zarr. They decide what is computed: labels always, probabilities
        and uncertainty where there is an array for them.
    rgb
        Whether the channels are colours; guessed from the axes when None.
    region
        The part to segment; the outputs still have the size of the whole image, and only this part of them is written. It comes out as
        in a run over the whole image: the same tiles, of which those that touch the part are read, and the same grey-value limits.
    limits
        From `find_limits`, when the same image is segmented again and again; found anew when None.
    live
        Also write each tile as soon as it is through, before the tiles beside it make it final.

    Raises
    ------
    ValueError
        When the image does not fit its axes, the outputs or the model's number of channels, is a line of pixels, or the region does not
        lie in it.
    """
    config = config or PredictConfig()
    image = check_image(segmenter, image, axes, rgb)
    check_outputs(segmenter, image.shape, axes, outputs)
    limits = limits or find_limits(segmenter, image, axes, normalization, rgb)
    run = TiledRun(segmenter, image, axes, limits, config, outputs, region or Region(), live=live)
    yield run.planned()
    while True:
        try:
            yield from run.tiles()
        except TileTooLargeError:
            run.make_smaller()
        except MemoryError:  # while pixels were read, blended or written
            run.hold_less()
        else:
            return


def find_limits(
    segmenter: Segmenter,
    image: ArrayLike,
    axes: str,
    normalization: Normalization | None = None,
    rgb: bool | None = None,
) -> Limits:
    """Grey values of an image that become 0 and 1 for the network, one pair per channel; arguments as in `predict_tiles`.

    They come from a sample of the whole image, so that every part of it is scaled alike.

    Raises
    ------
    ValueError
        When the image does not fit its axes, is of a type that has no order, or has no number anywhere.
    """
    image = _opaque(segmenter, image, axes, rgb)
    colours = _has_colours(axes, rgb)
    settled = resolve_normalization(normalization or Normalization(), image.dtype, axes, colours)
    limits = intensity_limits(image, axes, settled)
    if has_no_number(image, axes, settled, limits):
        raise ValueError(NO_NUMBER)
    return limits


def _has_colours(axes: str, rgb: bool | None) -> bool:
    return axes.endswith("C") if rgb is None else rgb


def _opaque(segmenter: Segmenter, image: ArrayLike, axes: str, rgb: bool | None) -> ArrayLike:
    """Colours without transparency for a network of colours; the fourth channel of other images is no transparency."""
    colours = segmenter.config.input_channels == 3 and _has_colours(axes, rgb)
    return without_alpha(image, axes) if colours else image


def check_image(
    segmenter: Segmenter, image: ArrayLike, axes: str, rgb: bool | None = None
) -> ArrayLike:
    """The image as the network takes it, without transparency; arguments as in `predict_tiles`.

    Raises
    ------
    ValueError
        When it does not fit its axes or the model's number of channels, or is a line of pixels.
    """
    check_axes(image.shape, axes)
    image = _opaque(segmenter, image, axes, rgb)
    channels, wanted = channel_count(image.shape, axes), segmenter.config.input_channels
    if channels != wanted:
        raise ValueError(
            f"The image has {counted(channels, 'channel')} but the adapter was trained on {wanted}. "
            "Choose an image of the same kind, or train an adapter on this kind of image."
        )
    height, width = plane_shape(image.shape, axes)
    if min(height, width) < 2:
        raise ValueError(
            f"The image of shape {tuple(image.shape)} with the axes {axes} is {height} px high and {width} px wide, but a network needs "
            "at least 2×2 px. Choose a larger image, or correct its axes."
        )
    return image
