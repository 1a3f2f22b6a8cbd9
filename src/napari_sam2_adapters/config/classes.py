"""The classes of a segmentation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from napari_sam2_adapters.class_colors import CLASS_COLORS
from napari_sam2_adapters.config.settings import Settings

__all__ = ["ClassInfo", "default_classes"]


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
    # grey is for background: strokes in it cannot be seen on a grey image
    colors = CLASS_COLORS if 0 in values else (*CLASS_COLORS[1:], CLASS_COLORS[0])
    return tuple(
        ClassInfo(
            value=value,
            name="background" if value == 0 else f"class {value}",
            color=colors[position % len(colors)],
        )
        for position, value in enumerate(sorted(set(values)))
    )
