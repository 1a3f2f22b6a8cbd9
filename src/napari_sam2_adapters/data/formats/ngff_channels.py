"""What OME-Zarr says of channels under the key ``omero``: their names, and whether they are the colours of one picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from napari_sam2_adapters.config import ClassInfo

__all__ = ["are_colours", "channel_names", "shown_channels"]

_NUMBER = re.compile(r"(channel|ch)?[ _:.]*[\d:.]*")


def channel_names(entries: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Names of the channels, if there is one for each."""
    names = [str(channel.get("label") or "") for channel in _channels(entries)]
    return tuple(names) if len(names) == count and all(names) else ()


def shown_channels(channels: Sequence[ClassInfo]) -> dict[str, Any]:
    """The entry for channels of values from 0 to 1, each in the colour of its class."""
    window = {"min": 0.0, "max": 1.0, "start": 0.0, "end": 1.0}
    entries = [
        {"label": info.name, "color": info.color[1:].upper(), "window": window, "active": True}
        for info in channels
    ]
    return {"omero": {"channels": entries}}


def are_colours(entries: Mapping[str, Any]) -> bool:
    """Whether the three channels are the colours of one picture: shown in red, green and blue, and called so or by numbers.

    Dyes are shown in these colours, too, but they have names of their own.
    """
    channels = _channels(entries)
    shown = [str(channel.get("color")).upper().removeprefix("#")[:6] for channel in channels]
    names = [str(channel.get("label") or "").lower() for channel in channels]
    called = names in (["red", "green", "blue"], ["r", "g", "b"])
    numbered = all(_NUMBER.fullmatch(name) for name in names)
    return shown == ["FF0000", "00FF00", "0000FF"] and (called or numbered)


def _channels(entries: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    omero = entries.get("omero")
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    return [channel for channel in channels or [] if isinstance(channel, Mapping)]
