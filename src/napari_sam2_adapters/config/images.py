"""How grey values are read."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from napari_sam2_adapters.config.settings import Settings

__all__ = ["Normalization"]


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
        if self.mode == "range" and not {"low", "high"} <= self.model_fields_set:
            raise ValueError(
                "range needs low and high, the grey values that become 0 and 1, such as low: 0, high: 255"
            )
        if math.isinf(self.low) or math.isinf(self.high):
            raise ValueError(
                f"low and high should be finite, but they are {self.low:g} and {self.high:g}"
            )
        if not self.low < self.high:
            raise ValueError(f"low must be below high, but they are {self.low:g} and {self.high:g}")
        if self.mode != "range" and not (self.low >= 0 and self.high <= 100):
            raise ValueError(
                f"percentiles lie between 0 and 100, but low and high are {self.low:g} and {self.high:g}; "
                "for fixed grey values choose the mode range"
            )
        return self
