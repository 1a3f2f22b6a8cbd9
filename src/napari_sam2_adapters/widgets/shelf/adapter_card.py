"""The training card of an adapter: what it finds, how well, what it learnt from, and what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from napari_sam2_adapters.data.units import file_symbol, length_in_metres
from napari_sam2_adapters.widgets.docks.store import SavedAdapter, adapter_title
from napari_sam2_adapters.widgets.docks.words import duration, file_size

if TYPE_CHECKING:
    from napari_sam2_adapters.models.model_file import AdapterHeader

__all__ = ["ADAPTER_TITLES", "adapter_card", "mean_dice"]

ADAPTER_TITLES = {"hp": "HP", "lw": "LW", "lora": "LoRA"}


def adapter_card(adapter: SavedAdapter) -> str:
    """The card as rich text; every line is something that the file says."""
    header = adapter.header
    title = f"<b>{escape(adapter_title(adapter.path))}</b>"
    if header is None:
        return f"{title}<br>{escape(adapter.problem)}"
    lines = [
        title,
        _classes(header),
        _score(header.scores),
        _training(header.training),
        _needs(header, here=adapter.backbone_here),
        _file(adapter, header),
    ]
    return "<br>".join(line for line in lines if line)


def mean_dice(adapter: SavedAdapter) -> float | None:
    """Held-out mean Dice as the file says it; None when nothing was held out."""
    score = adapter.header.scores.get("mean_dice") if adapter.header else None
    return float(score) if isinstance(score, int | float) else None


def _classes(header: AdapterHeader) -> str:
    dice = header.scores.get("dice")
    scores: Mapping[str, Any] = dice if isinstance(dice, Mapping) else {}
    parts = []
    for info in header.classes:
        score = scores.get(info.name)
        said = f" {score:.2f}" if isinstance(score, int | float) else ""
        parts.append(f'<span style="color:{info.color}">■</span>&nbsp;{escape(info.name)}{said}')
    return ", ".join(parts)


def _score(scores: Mapping[str, Any]) -> str:
    after, before, pixels = (scores.get(key) for key in ("mean_dice", "mean_dice_before", "pixels"))
    if not isinstance(after, int | float):
        return "No labelled pixels were held out, so it has no score."
    rise = f", {before:.2f} before training" if isinstance(before, int | float) else ""
    over = f", on {pixels:,} pixels" if isinstance(pixels, int) else ""
    return f"Held-out mean Dice {after:.2f}{rise}{over}."


def _training(training: Mapping[str, Any]) -> str:
    steps, seconds, ended = (training.get(key) for key in ("steps", "seconds", "ended"))
    if not isinstance(steps, int):
        return ""
    time = f" in {duration(seconds)}" if isinstance(seconds, int | float) else ""
    reason = f" {escape(ended)}" if isinstance(ended, str) else ""
    split = training.get("split")
    held_out = f" {escape(split.rstrip('.'))}." if isinstance(split, str) and split else ""
    return f"Trained for {steps} steps{time}.{reason}{held_out}"


def _needs(header: AdapterHeader, *, here: bool) -> str:
    channels = header.model.input_channels
    image = "grey images" if channels == 1 else f"images with {channels} channels"
    size = ""
    if header.pixel_size:
        sides = " × ".join(f"{side:g}" for side in dict.fromkeys(header.pixel_size))
        size = f" of {sides} {escape(_symbol(header.unit))} per pixel"
    kind = ADAPTER_TITLES.get(header.model.adapter, header.model.adapter)
    text = f"{kind} on {escape(header.model.backbone)}, for {image}{size}, in tiles of {header.tile_size_px} px."
    if not here:
        text += f" <b>The weights of {escape(header.model.backbone)} that it was trained on are not here.</b>"
    return text


def _symbol(unit: str | None) -> str:
    known = unit is None or length_in_metres(unit) is not None
    return file_symbol(unit, ascii_only=False) if known else str(unit)


def _file(adapter: SavedAdapter, header: AdapterHeader) -> str:
    day = datetime.fromtimestamp(adapter.changed).strftime("%d %b %Y %H:%M").lstrip("0")
    program = header.versions.get("napari-sam2-adapters")
    made = f", made by version {escape(program)}" if program else ""
    return f"{file_size(adapter.size_bytes)}, {day}{made}, sha256 {header.tensors_sha256[:12]}…"
