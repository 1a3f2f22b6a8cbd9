"""The classes of a segmentation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from napari_sam2_adapters.class_colors import CLASS_COLORS
from napari_sam2_adapters.config.settings import Settings

__all__ = ["ClassInfo", "default_classes", "name_anew"]


_HEX_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


def _checked_color(value: object) -> object:
    """Refuse what is no colour as one kind of error, also None, which YAML makes of a colour without quotes."""
    if not (isinstance(value, str) and _HEX_COLOR.fullmatch(value)):
        raise PydanticCustomError("color", "a colour is written as #rrggbb")
    return value


class ClassInfo(Settings):
    """One class of a segmentation: the value in the label image, its name and its colour."""

    value: Annotated[int, Field(ge=0, le=65535, title="Value", description="In the label image.")]
    name: Annotated[
        str,
        Field(min_length=1, max_length=80, title="Name", description="What the class is called."),
    ]
    color: Annotated[
        str, BeforeValidator(_checked_color), Field(title="Colour", description="As #rrggbb.")
    ] = "#999999"


def default_classes(values: list[int]) -> tuple[ClassInfo, ...]:
    """Give each label value a name (``class 3``, or ``background`` for 0) and a colour of its own."""
    # grey is for background: strokes in it cannot be seen on a grey image
    colors = CLASS_COLORS if 0 in values else (*CLASS_COLORS[1:], CLASS_COLORS[0])
    return tuple(
        ClassInfo(
            value=value,
            name=_plain_name(value),
            color=colors[position % len(colors)],
        )
        for position, value in enumerate(sorted(set(values)))
    )


def name_anew(
    known: Sequence[ClassInfo], labelled: Sequence[ClassInfo], name: str
) -> tuple[ClassInfo, ...]:
    """The classes of an adapter that is trained further, with the names and colours that those have which are labelled now.

    A class that nobody has named now, such as ``class 2``, keeps its name.

    Parameters
    ----------
    known
        Its classes, in the order of its outputs.
    labelled
        The classes of now.
    name
        What the adapter is called.

    Raises
    ------
    ValueError
        When a class is labelled that it does not know, or two would have one name: scores go by name, and the file could not be opened again.
    """
    listed = ", ".join(f"{info.name} ({info.value})" for info in known)
    values = {info.value for info in known}
    strange = [f"{info.name} ({info.value})" for info in labelled if info.value not in values]
    if strange:
        raise ValueError(
            f"{name} does not know {', '.join(strange)}; it has {listed}. Start from a fresh adapter."
        )
    now = {info.value: info for info in labelled}
    classes = tuple(_renamed(info, now.get(info.value, info)) for info in known)
    by_name: dict[str, int] = {}
    for info in classes:
        if info.name in by_name:
            raise ValueError(
                f"In {name} the classes {by_name[info.name]} and {info.value} would both be called {info.name!r}: it has {listed}. "
                "Label with these values, or name the class otherwise."
            )
        by_name[info.name] = info.value
    return classes


def _renamed(known: ClassInfo, now: ClassInfo) -> ClassInfo:
    """A class as it is labelled now, under the name that it had where it has been given none."""
    named = now.name != _plain_name(now.value)
    return now if named else now.model_copy(update={"name": known.name})


def _plain_name(value: int) -> str:
    """What a class is called that nobody has named."""
    return "background" if value == 0 else f"class {value}"
