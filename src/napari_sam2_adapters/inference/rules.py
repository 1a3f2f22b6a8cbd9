"""Settings of what is done to a segmentation after the network, class by class."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from napari_sam2_adapters.config import Settings

__all__ = ["LARGEST_PX", "ClassRule", "PostprocessConfig"]

LARGEST_PX = 10**9


class ClassRule(Settings):
    """What is done to the pixels of one class."""

    value: Annotated[int, Field(ge=0, le=65535, title="Value", description="Of the class.")]
    smallest_px: Annotated[
        int,
        Field(
            ge=0,
            le=LARGEST_PX,
            title="Smallest",
            description="Objects of fewer pixels than this take the class that surrounds them most; 0: all stay.",
        ),
    ] = 0
    fill_holes_px: Annotated[
        int,
        Field(
            ge=0,
            le=LARGEST_PX,
            title="Fill holes",
            description="Holes of up to this many pixels, whatever is in them, become this class; 0: none are filled.",
        ),
    ] = 0
    only_largest: Annotated[
        bool,
        Field(
            title="Only largest",
            description="Only the largest object stays, such as an organ; others take the class that surrounds them most.",
        ),
    ] = False
    objects: Annotated[
        bool,
        Field(title="Objects", description="Number each connected object of this class."),
    ] = False


class PostprocessConfig(Settings):
    """What is done to a segmentation after the network."""

    rules: Annotated[
        tuple[ClassRule, ...],
        Field(title="Classes", description="One rule per class, applied in this order."),
    ] = ()
    together: Annotated[
        Literal["slices", "volumes"],
        Field(
            title="Connected",
            description="slices: each slice on its own; volumes: through all slices of a stack, which is held in memory.",
        ),
    ] = "slices"

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        values = [rule.value for rule in self.rules]
        if len(set(values)) < len(values):
            raise ValueError(f"each class has one rule, got rules for the values {values}")
        return self

    @property
    def cleans(self) -> bool:
        """Whether any pixel may change."""
        return any(
            rule.smallest_px > 1 or rule.only_largest or rule.fill_holes_px for rule in self.rules
        )

    @property
    def object_values(self) -> tuple[int, ...]:
        """Classes whose objects are numbered."""
        return tuple(rule.value for rule in self.rules if rule.objects)
