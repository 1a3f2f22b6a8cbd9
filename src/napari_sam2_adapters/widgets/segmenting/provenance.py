"""What a result says of where it comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from napari_sam2_adapters.inference.region import Region, settle_region
from napari_sam2_adapters.widgets.docks.layers import Picture
from napari_sam2_adapters.widgets.docks.store import SUFFIX

if TYPE_CHECKING:
    from napari_sam2_adapters.config import PredictConfig

__all__ = ["covers", "describe_run", "same_pixels", "title_of"]


def describe_run(
    region: Region, picture: Picture, config: PredictConfig, **more: Any
) -> dict[str, Any]:
    """One run as plain values, for the ``runs`` in a layer's metadata.

    Parameters
    ----------
    region
        The part of the image.
    picture
        The image.
    config
        Settings of the prediction.
    more
        Other settings, such as level and tidying.
    """
    planes, rows, columns = settle_region(region, picture.array.shape, picture.axes)
    whole = len(planes) == math.prod(picture.label_shape[:-2])
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "package_version": version("napari-sam2-adapters"),
        "image_name": picture.name,
        "region": {
            "planes": "all" if whole else sorted(list(plane) for plane in planes),
            "rows": [rows.start, rows.stop],
            "columns": [columns.start, columns.stop],
        },
        "settings": config.model_dump(),
        **more,
    }


def covers(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether the part of an image that one run was asked for holds that of another.

    Parameters
    ----------
    new, old
        ``region`` of `describe_run`, of the same image and the `same_pixels`.
    """
    within = all(
        new[side][0] <= old[side][0] and old[side][1] <= new[side][1]
        for side in ("rows", "columns")
    )
    if new["planes"] == "all":
        return within
    if old["planes"] == "all":
        return False
    return within and {tuple(p) for p in old["planes"]} <= {tuple(p) for p in new["planes"]}


def same_pixels(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether two runs on an image, as `describe_run` has them, are of the same level and channels, so that their regions compare."""
    return all(new.get(name) == old.get(name) for name in ("level", "channel_axis"))


def title_of(entry: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What tells the layer of earlier runs from that of a new one: the adapter, and the level or channels if these are others.

    Parameters
    ----------
    entry
        Metadata of the layer.
    new
        The new run, as `describe_run` has it.
    """
    words = [entry["model"].removesuffix(SUFFIX)]
    old = entry["runs"][-1]
    if old.get("level") != new.get("level"):
        words.append(f"level {old['level']}")
    if old.get("channel_axis") != new.get("channel_axis"):
        axis = old.get("channel_axis")
        words.append("no channels" if axis is None else f"channels on axis {axis}")
    return ", ".join(words)
