"""Settings of a training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_sam2_adapters.config.settings import Settings

__all__ = ["LossName", "RecipeName", "TrainConfig"]

RecipeName = Literal["interactive", "upright", "paper"]
LossName = Literal["ce_dice", "paper", "composite", "lovasz", "thin"]


class TrainConfig(Settings):
    """How an adapter learns."""

    recipe: Annotated[
        RecipeName,
        Field(
            title="Recipe",
            description="interactive: minutes, from few strokes; upright: the same for images that all lie the same way "
            "round, such as MR, CT or fundus, where left and right tell; paper: Adam 1e-4, cosine, for dense labels.",
        ),
    ] = "interactive"
    loss: Annotated[
        LossName,
        Field(
            title="Loss",
            description="ce_dice: for most; paper: cross-entropy; composite: BCE + Dice + focal Tversky, for classes that are thin and rare, "
            "such as vessels, which ce_dice draws too wide; lovasz: cross-entropy + IoU itself; thin: ce_dice + clDice.",
        ),
    ] = "ce_dice"
    correct_shares: Annotated[
        bool,
        Field(
            title="Class shares",
            description="Where less than half is labelled, as with strokes, estimate how much of the images each class covers from the other pixels: strokes alone "
            "make rare classes look common, which are drawn too large then.",
        ),
    ] = True
    crf_weight: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            title="Follow edges",
            description="Where less than half is labelled, how strongly unlabelled neighbours that look alike are asked to be of one class (weight of the gated CRF "
            "loss); 0: not at all. 10 for compact objects from few strokes; it thins what is thin.",
        ),
    ] = 3.0
    zero_is: Annotated[
        Literal["unlabelled", "background"],
        Field(
            title="Label 0 means",
            description="unlabelled: pixels with 0 are ignored; background: 0 is a class of its own.",
        ),
    ] = "unlabelled"
    steps: Annotated[
        int, Field(ge=1, le=1_000_000, title="Steps", description="Most optimiser steps.")
    ] = 300
    time_budget_s: Annotated[
        float | None,
        Field(
            gt=0, title="Time budget (s)", description="Stop after this many seconds; empty: never."
        ),
    ] = None
    patience: Annotated[
        int | None,
        Field(
            ge=1,
            title="Patience",
            description="Stop after this many checks without a better held-out score; empty: never.",
        ),
    ] = None
    validate_every: Annotated[
        int | None,
        Field(ge=1, title="Check every", description="In steps; empty: by the length of the run."),
    ] = None
    batch_size: Annotated[
        int, Field(ge=1, le=512, title="Batch size", description="Crops per optimiser step.")
    ] = 4
    crop_size_px: Annotated[
        int,
        Field(
            ge=32,
            le=2048,
            multiple_of=32,
            title="Crop (px)",
            description="Side of a training crop; multiples of 224 suit the network best.",
        ),
    ] = 224
    learning_rate: Annotated[
        float | None,
        Field(gt=0, le=1, title="Learning rate", description="Peak rate; empty: the recipe's own."),
    ] = None
    recompute: Annotated[
        bool,
        Field(
            title="Recompute",
            description="Take less than half of the memory and a third longer: what the encoder computes is not kept, but computed again.",
        ),
    ] = False
    augment: Annotated[
        bool,
        Field(title="Augment", description="Flip, turn, scale and shade the crops."),
    ] = True
    held_out_fraction: Annotated[
        float,
        Field(
            ge=0,
            le=0.9,
            title="Held out",
            description="Share of images, slices or area kept for scoring; 0: no honest score.",
        ),
    ] = 0.2
    calibrate: Annotated[
        bool,
        Field(
            title="Calibrate",
            description="Where at least half is labelled: when the run has ended, correct classes that are drawn too large or too small, as the held-out images tell, if that "
            "raises their score. Rare classes are often drawn too large without it.",
        ),
    ] = True
    seed: Annotated[
        int,
        Field(ge=0, lt=2**31, title="Seed", description="Seed of crops, augmentation and split."),
    ] = 0
