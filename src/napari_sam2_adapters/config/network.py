"""Settings of the network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_sam2_adapters.config.settings import Settings

__all__ = ["AdapterKind", "DecoderMode", "DetailMode", "ModelConfig", "PositionMode"]

AdapterKind = Literal["hp", "lw", "lora"]
PositionMode = Literal["hybrid", "peg"]
DecoderMode = Literal["frozen", "heads", "full"]
DetailMode = Literal["auto", "none", "pixels", "unet"]


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
            description="What tells classes beside SAM. pixels: grey values and edges, for fine lines and strokes; unet: a small U-Net, for densely labelled membranes and vessels, "
            "three to four times as slow; none; auto: pixels with HP.",
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
    def detail_kind(self) -> Literal["none", "pixels", "unet"]:
        """What ``detail`` stands for: ``auto`` leaves the head on the pixels out where speed was chosen over accuracy."""
        if self.detail == "auto":
            return "pixels" if self.adapter == "hp" else "none"
        return self.detail
