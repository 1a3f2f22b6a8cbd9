"""Settings of the model, of training and of prediction.

One class per job makes the form in napari, the YAML file and the check. All of them are frozen and refuse
unknown keys, and each field says in plain words what it does, so that nothing is written twice.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_sam2_adapters.class_colors import CLASS_COLORS
from napari_sam2_adapters.wording import describe_errors

__all__ = [
    "AdapterKind",
    "ClassInfo",
    "DecoderMode",
    "DetailMode",
    "LossName",
    "ModelConfig",
    "Normalization",
    "PositionMode",
    "PredictConfig",
    "RecipeName",
    "TrainConfig",
    "default_classes",
    "describe_errors",
]

AdapterKind = Literal["hp", "lw", "lora"]
PositionMode = Literal["hybrid", "peg"]
DecoderMode = Literal["frozen", "heads", "full"]
DetailMode = Literal["auto", "none", "pixels"]
RecipeName = Literal["interactive", "upright", "paper"]
LossName = Literal["ce_dice", "paper", "composite", "thin"]


class Settings(BaseModel):
    """A frozen group of settings that refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassInfo(Settings):
    """One class of a segmentation: the value in the label image, its name and its colour."""

    value: Annotated[int, Field(ge=0, le=65535, title="Value", description="In the label image.")]
    name: Annotated[
        str,
        Field(min_length=1, max_length=80, title="Name", description="What the class is called."),
    ]
    color: Annotated[
        str, Field(pattern=r"^#[0-9a-fA-F]{6}$", title="Colour", description="As #rrggbb.")
    ] = "#999999"


def default_classes(values: list[int]) -> tuple[ClassInfo, ...]:
    """Give each label value a name (``class 3``, or ``background`` for 0) and a colour of its own."""
    return tuple(
        ClassInfo(
            value=value,
            name="background" if value == 0 else f"class {value}",
            color=CLASS_COLORS[position % len(CLASS_COLORS)],
        )
        for position, value in enumerate(sorted(set(values)))
    )


class Normalization(Settings):
    """How grey values become numbers between 0 and 1, channel by channel."""

    mode: Annotated[
        Literal["auto", "percentile", "range"],
        Field(
            title="Mode",
            description="percentile: between two percentiles of each image; range: between two fixed "
            "values; auto: range 0-255 for 8-bit RGB, else percentile.",
        ),
    ] = "auto"
    low: Annotated[
        float, Field(title="Low", description="Percentile (0-100) or grey value that becomes 0.")
    ] = 0.1
    high: Annotated[
        float, Field(title="High", description="Percentile (0-100) or grey value that becomes 1.")
    ] = 99.9

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got low={self.low} and high={self.high}")
        if self.mode != "range" and not (self.low >= 0 and self.high <= 100):
            raise ValueError(f"percentiles lie between 0 and 100, got {self.low} and {self.high}")
        return self


class ModelConfig(Settings):
    """What the network is made of."""

    backbone: Annotated[
        str,
        Field(
            title="Backbone",
            description="Frozen network that is adapted: mobile (built in), tiny, small, base_plus, large.",
        ),
    ] = "mobile"
    adapter: Annotated[
        AdapterKind,
        Field(
            title="Adapter",
            description="hp: most accurate; lw: as fast as the plain backbone; lora: fewest parameters.",
        ),
    ] = "hp"
    reduction: Annotated[
        int,
        Field(
            ge=1,
            le=32,
            title="Reduction",
            description="HP and LW work in width / reduction channels.",
        ),
    ] = 4
    lora_rank: Annotated[
        int, Field(ge=1, le=64, title="LoRA rank", description="Rank of the low-rank update.")
    ] = 8
    lora_dropout: Annotated[
        float, Field(ge=0, lt=1, title="LoRA dropout", description="Share of LoRA inputs dropped.")
    ] = 0.1
    position: Annotated[
        PositionMode,
        Field(
            title="Position",
            description="hybrid: keep SAM2's position embedding and add PEG; peg: PEG alone, as the paper.",
        ),
    ] = "hybrid"
    decoder: Annotated[
        DecoderMode,
        Field(
            title="Decoder",
            description="What learns in the decoder. frozen: class tokens only; heads: also the up-scaling; full: all of it.",
        ),
    ] = "heads"
    detail: Annotated[
        DetailMode,
        Field(
            title="Detail",
            description="pixels: also tell classes by grey values and edges, for fine lines and strokes; none; auto: pixels with HP.",
        ),
    ] = "auto"
    input_channels: Annotated[
        int, Field(ge=1, le=1024, title="Channels", description="Channels of the images.")
    ] = 1
    input_scale: Annotated[
        float,
        Field(
            ge=0.25,
            le=4,
            title="Input scale",
            description="2 helps lines and gaps of one to three pixels, four times as slow: halve the crop then.",
        ),
    ] = 1.0
    seed: Annotated[
        int, Field(ge=0, lt=2**31, title="Seed", description="Seed of the fresh adapter's weights.")
    ] = 0

    @property
    def detail_head(self) -> bool:
        """Whether there is a head on the pixels; ``auto`` leaves it out where speed was chosen over accuracy."""
        return self.detail == "pixels" or (self.detail == "auto" and self.adapter == "hp")


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
            "such as vessels, which ce_dice draws too wide; thin: ce_dice + clDice.",
        ),
    ] = "ce_dice"
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
            description="Side of a training crop; best 224 k.",
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
    seed: Annotated[
        int,
        Field(ge=0, lt=2**31, title="Seed", description="Seed of crops, augmentation and split."),
    ] = 0


class PredictConfig(Settings):
    """How an image is segmented."""

    tile_size_px: Annotated[
        int,
        Field(
            ge=64,
            le=4096,
            multiple_of=32,
            title="Tile (px)",
            description="Side of a tile; best 224 k.",
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
        bool,
        Field(
            title="Flip and turn",
            description="Average over flips and turns: 8 times slower, more accurate (polyps: Dice 0.02 higher); not for adapters of the recipe upright.",
        ),
    ] = False
    probabilities: Annotated[
        bool, Field(title="Probabilities", description="Also give a probability per class.")
    ] = False
    uncertainty: Annotated[
        bool,
        Field(
            title="Uncertainty", description="Also give the normalised entropy, 0 sure to 1 not."
        ),
    ] = False
