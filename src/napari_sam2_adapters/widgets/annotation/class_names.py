"""Names and colours of classes on a labels layer: read from it, and written so that napari's status bar says the class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from pandas.api.types import is_numeric_dtype

from napari_sam2_adapters.config import ClassInfo, default_classes
from napari_sam2_adapters.data.pairs import MOST_CLASSES, ZeroIs, too_large

__all__ = [
    "MOST_CLASSES",
    "ZeroIs",
    "classes_of_layer",
    "dress_layer",
    "join_classes",
    "missing_classes",
    "name_classes",
    "next_class",
    "unpainted_classes",
]

_MOST_NAMED = 3
_NAME_COLUMNS = ("class", "name", "label")
_MOST_NAMES = 4 * MOST_CLASSES
"""More names than these are those of objects."""
_PALETTE = [info.color for info in default_classes(list(range(1, MOST_CLASSES + 1)))]
_BACKGROUND = "#444444"
"""Of label 0 where it is a class: in tables and plots alone, for it is drawn nowhere."""


def classes_of_layer(
    layer: Labels, values: Iterable[int], zero_is: ZeroIs
) -> tuple[ClassInfo, ...]:
    """Classes for the values that occur and those that the layer has a name for.

    Parameters
    ----------
    layer
        Gives names and colours.
    values
        Label values that occur.
    zero_is
        0 is a class only when it means background.
    """
    names = _names(layer)
    first = 0 if zero_is == "background" else 1
    found = {value for value in (*values, *names) if value >= first}
    if zero_is == "background":
        found.add(0)
    return tuple(
        info.model_copy(
            update={
                "name": names.get(info.value, info.name),
                "color": _color(layer, info) if info.value else info.color,
            }
        )
        for info in _unnamed(sorted(found)[:MOST_CLASSES])
    )


def join_classes(parts: Sequence[Sequence[ClassInfo]]) -> tuple[ClassInfo, ...]:
    """Classes of several layers as one list by value; the first layer that knows a value names it, and names stay unique."""
    joined: dict[int, ClassInfo] = {}
    for info in (info for part in parts for info in part):
        known = joined.get(info.value)
        if known is None or (known.name == _plain_name(known.value) and info.name != known.name):
            joined[info.value] = info
    classes: list[ClassInfo] = []
    for value in sorted(joined)[:MOST_CLASSES]:
        info = joined[value]
        if info.name in {other.name for other in classes}:
            info = info.model_copy(update={"name": f"{info.name[:70]} ({value})"})
        classes.append(info)
    return tuple(classes)


def next_class(classes: Sequence[ClassInfo]) -> ClassInfo:
    """A new class with the smallest free value above 0 and a colour that no other class has, while there are such."""
    taken = {info.value for info in classes}
    value = next(value for value in range(1, MOST_CLASSES + 2) if value not in taken)
    colors = {info.color.lower() for info in classes}
    color = next((c for c in _PALETTE if c not in colors), _PALETTE[value % len(_PALETTE)])
    return ClassInfo(value=value, name=_plain_name(value), color=color)


def name_classes(layer: Labels, classes: Sequence[ClassInfo]) -> None:
    """Give a layer these names and colours; all else in its features stays, also of values that are no class.

    Parameters
    ----------
    layer
        A labels layer.
    classes
        All classes of it: a name that it has for another value is taken away.
    """
    values, features = [info.value for info in classes], layer.features
    column = _name_column(layer) or _free_column(layer)
    if "index" not in features.columns:  # then napari takes row 3 for label 3
        features = features.assign(index=range(len(features)))
    if not len(features) or not set(features.columns) - {"index", column}:
        table = pd.DataFrame({"index": values})
    else:
        new = [value for value in values if value not in set(features["index"])]
        table = pd.concat([features, pd.DataFrame({"index": new})]) if new else features
        table = table.sort_values("index", kind="stable", ignore_index=True)
    table[column] = table["index"].map({info.value: info.name for info in classes})
    layer.features = table
    colors: dict[int | None, Any] = {None: "#ffffff", 0: "transparent"}
    colors |= {info.value: info.color for info in classes if info.value > 0}
    layer.colormap = DirectLabelColormap(color_dict=colors)


def missing_classes(
    learnt: Sequence[ClassInfo], classes: Sequence[ClassInfo], totals: Mapping[int, int]
) -> str:
    """What labels lack to be learnt from, in words; empty when nothing.

    Parameters
    ----------
    learnt
        Classes with pixels, and background where 0 means it.
    classes
        All classes.
    totals
        Pixels by value.
    """
    painted = [value for value, number in totals.items() if value > 0 and number]
    if not painted:
        return "Nothing is labelled yet. Paint some pixels of each class with values 1, 2, …"
    if len(painted) > MOST_CLASSES:
        return (
            f"The labels have {len(painted)} values. If they number single objects, give all objects of a class "
            "one value."
        )
    if reason := too_large(painted):
        return reason
    if len(learnt) < 2:
        unpainted = unpainted_classes(classes, totals)
        mend = "Paint some background with another value"
        if unpainted:
            mend = f"{unpainted} painted nowhere yet: paint a few strokes"
        return f"Only one class is labelled, but it takes two to tell apart. {mend}, or say that 0 is background."
    return ""


def dress_layer(layer: Labels, classes: Sequence[ClassInfo]) -> bool:
    """Give names and colours of other layers to a layer that has none, and to values that were painted since; whether it was needed.

    Parameters
    ----------
    layer
        A labels layer. Names and colours that it has are left alone.
    classes
        All classes.
    """
    own = layer.colormap
    if not isinstance(own, DirectLabelColormap):
        if not _names(layer):
            name_classes(layer, classes)
            return True
        return False
    taken = [info.color.lower() for info in classes if info.value in own.color_dict]
    new: dict[int | None, Any] = {}
    for info in classes:
        if info.value not in {0, *own.color_dict}:
            free = (color for color in (info.color, *_PALETTE) if color.lower() not in taken)
            new[info.value] = next(free, info.color)
            taken.append(new[info.value].lower())
    if new:
        layer.colormap = DirectLabelColormap(color_dict={**own.color_dict, **new})
    return bool(new)


def unpainted_classes(classes: Sequence[ClassInfo], totals: Mapping[int, int]) -> str:
    """Who among the classes has no pixel, to begin a sentence: ``“axon” is``, ``“axon” and “myelin” are``; empty for none."""
    names = [f"“{info.name}”" for info in classes if info.value and not totals.get(info.value)]
    if len(names) > _MOST_NAMED:
        names = [*names[: _MOST_NAMED - 1], f"{len(names) - _MOST_NAMED + 1} other classes"]
    if len(names) < 2:
        return "".join(f"{name} is" for name in names)
    return f"{', '.join(names[:-1])} and {names[-1]} are"


def _unnamed(values: list[int]) -> tuple[ClassInfo, ...]:
    """Classes with colours by value, so that a new one does not recolour the others."""
    return tuple(
        ClassInfo(
            value=value,
            name=_plain_name(value),
            color=_PALETTE[(value - 1) % len(_PALETTE)] if value else _BACKGROUND,
        )
        for value in values
        if value <= 65535
    )


def _plain_name(value: int) -> str:
    return "background" if value == 0 else f"class {value}"


def _name_column(layer: Labels) -> str | None:
    """Column of the features that holds names of classes: not one of numbers, as a measured ``label``, nor one of objects."""
    features = layer.features
    return next(
        (
            name
            for name in _NAME_COLUMNS
            if name in features.columns and _holds_names(features[name])
        ),
        None,
    )


def _holds_names(column: pd.Series) -> bool:
    number = int(column.notna().sum())
    return number == 0 or (number <= _MOST_NAMES and not is_numeric_dtype(column))


def _free_column(layer: Labels) -> str:
    """Column that names can go to without taking the place of numbers."""
    taken = layer.features.columns
    return next((name for name in (*_NAME_COLUMNS, "class name") if name not in taken), "class")


def _names(layer: Labels) -> Mapping[int, str]:
    """Names by value from the layer's features, if it has any."""
    features, column = layer.features, _name_column(layer)
    if column is None:
        return {}
    if "index" not in features.columns:
        features = features.assign(index=range(len(features)))
    named = features[features[column].notna()]
    pairs = zip(named["index"], named[column], strict=True)
    return {int(value): name[:80] for value, name in pairs if isinstance(name, str) and name}


def _color(layer: Labels, info: ClassInfo) -> str:
    """Colour that napari draws this value in; the class's own where it draws none or one for all unknown values."""
    colormap = layer.colormap
    if isinstance(colormap, DirectLabelColormap) and info.value not in colormap.color_dict:
        return info.color
    color = np.asarray(colormap.map(info.value), dtype=float).ravel()
    if color.size < 4 or color[3] == 0:
        return info.color
    red, green, blue = (round(255 * float(part)) for part in color[:3])
    return f"#{red:02x}{green:02x}{blue:02x}"
