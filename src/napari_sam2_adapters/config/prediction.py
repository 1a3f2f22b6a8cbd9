"""Settings of a prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from napari_sam2_adapters.config.settings import Settings

__all__ = ["PredictConfig", "ViewsName", "advise_on_views"]

ViewsName = Literal["none", "flips_and_turns", "tilts_and_zooms"]


def _named_views(value: object) -> object:
    """Settings of before there were two ways said whether there are flips and turns."""
    if isinstance(value, bool):
        return "flips_and_turns" if value else "none"
    return value


class PredictConfig(Settings):
    """How an image is segmented."""

    tile_size_px: Annotated[
        int,
        Field(
            ge=64,
            le=4096,
            multiple_of=32,
            title="Tile (px)",
            description="Side of a tile; multiples of 224 suit the network best. Where an image is up to half longer, it is not cut.",
        ),
    ] = 448
    overlap: Annotated[
        float,
        Field(ge=0, le=0.75, title="Overlap", description="Share of a tile shared with the next."),
    ] = 0.25
    batch_size: Annotated[
        int | None,
        Field(
            ge=1,
            le=256,
            title="Batch size",
            description="Tiles in one network pass; empty: by device and memory.",
        ),
    ] = None
    bfloat16: Annotated[
        bool,
        Field(
            title="bfloat16",
            description="On a CPU that computes in bfloat16: faster by a fifth or more; about one pixel in a thousand differs. GPUs do so anyway.",
        ),
    ] = False
    compile: Annotated[
        bool,
        Field(
            title="Compile",
            description="Translate the network by torch.compile first, which takes minutes and a C++ compiler: for large images; try it on one, since it "
            "is slower on some processors.",
        ),
    ] = False
    test_time_augmentation: Annotated[
        ViewsName,
        BeforeValidator(_named_views),
        Field(
            title="Augmentation",
            description="Average over several views of each tile, slower and more accurate. Flips and turns: 8 times as long (polyps: Dice 0.02 higher). "
            "Tilts and zooms: 6 times as long, for adapters of the recipe upright, which know left from right.",
        ),
    ] = "none"
    probabilities: Annotated[
        bool, Field(title="Probabilities", description="Also give a probability per class.")
    ] = False
    uncertainty: Annotated[
        bool,
        Field(
            title="Uncertainty", description="Also give the normalised entropy, 0 sure to 1 not."
        ),
    ] = False

    @property
    def whole_up_to_px(self) -> int:
        """Height or width up to which an image is not cut along it: two tiles that overlap cost a third more at least, and see less.

        Compiled networks take minutes for each size, so they are given tiles of one.
        """
        return self.tile_size_px if self.compile else self.tile_size_px * 3 // 2


def advise_on_views(training: Mapping[str, object], views: ViewsName) -> str:
    """Say what speaks against these views for an adapter; empty when nothing does.

    Parameters
    ----------
    training
        The entry of that name in its file, whatever is in it.
    views
        What is to be averaged over.
    """
    settings = training.get("settings")
    recipe = settings.get("recipe") if isinstance(settings, Mapping) else None
    if recipe != "upright" or views != "flips_and_turns":
        return ""
    return (
        "This adapter learnt from images that all lie the same way round (recipe upright), so it cannot know flipped and turned ones: "
        "results will be worse. Choose tilts and zooms for Augmentation instead, or none."
    )
