"""How long a step takes and how much memory a training needs, as measured on this machine."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.config import ModelConfig, TrainConfig
from napari_sam2_adapters.training.checks import check_interval
from napari_sam2_adapters.widgets.docks.load_torch import load_torch
from napari_sam2_adapters.widgets.docks.store import adapters_folder
from napari_sam2_adapters.widgets.docks.words import duration

__all__ = [
    "Measured",
    "Outlook",
    "Speeds",
    "look_ahead",
    "plan_sentence",
    "read_speeds",
    "remember_speed",
]

_FEWEST_STEPS = 5
"""Shorter runs are mostly start."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """A run: seconds per step with its checks and previews, memory that it took, and the pixels of a batch."""

    seconds_per_step: float
    memory_bytes: int
    batch_pixels: int


Speeds = dict[str, Measured]


@dataclass(frozen=True)
class Outlook:
    """What a plan is made from: the device in words, its free memory, and what was measured."""

    device: str
    free_bytes: int
    speeds: Speeds


def look_ahead() -> Outlook:
    """Look at device, memory and what was measured; called in a worker."""
    load_torch()
    import torch

    from napari_sam2_adapters.models.device import choose_device, describe_device

    device = choose_device()
    cuda = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if cuda else psutil.virtual_memory().available
    return Outlook(describe_device(device), int(free), read_speeds())


def read_speeds() -> Speeds:
    """What was measured on this machine, by device and network; empty when nothing was."""
    path = _path()
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {key: Measured(**entry) for key, entry in content.items()}
    except (ValueError, TypeError, AttributeError, OSError) as error:
        _log.warning("The measured speeds in %s cannot be read and are left out: %s", path, error)
        return {}


def remember_speed(
    device: str, model: ModelConfig, train: TrainConfig, *, seconds: float, steps: int, memory: int
) -> None:
    """Keep what a run took, in place of the last one of its kind.

    Parameters
    ----------
    device
        As `describe_device` says it.
    model, train
        Settings of the run.
    seconds, steps
        Its length, without pauses.
    memory
        Bytes that it took at most.
    """
    if steps < _FEWEST_STEPS:
        return
    speeds, key = read_speeds(), _key(device, model, train)
    if key in speeds:  # memory that an earlier run has left in the program is not taken again
        memory = max(memory, speeds[key].memory_bytes)
    measured = Measured(seconds / steps, memory, _batch_pixels(model, train))
    speeds[key] = speeds[_kind(device, model)] = measured
    content = json.dumps({key: asdict(one) for key, one in speeds.items()}).encode()
    try:
        write_atomically(_path(), lambda file: file.write(content), overwrite=True)
    except OSError as error:  # no reason to lose what was trained
        _log.warning("How long this run took cannot be kept: %s", error)


def plan_sentence(outlook: Outlook, model: ModelConfig, train: TrainConfig) -> str:
    """What a run will do, how long it takes and whether the memory suffices, as far as that was measured here.

    Parameters
    ----------
    outlook
        From `look_ahead`.
    model, train
        Settings of the run.
    """
    interval = check_interval(train)
    plan = (
        f"{train.steps} steps of {train.batch_size} crops of {train.crop_size_px} px, checked after "
        f"{'each' if interval == 1 else f'every {interval}'} on what is held out."
    )
    speeds, device = outlook.speeds, outlook.device
    plan = f"{device}. {plan}"
    exact = speeds.get(_key(device, model, train))
    alike = exact or speeds.get(_kind(device, model))
    if alike is None:
        return f"{plan} How long that takes was not yet measured here; the first steps will tell."
    share = _batch_pixels(model, train) / alike.batch_pixels
    seconds = alike.seconds_per_step * train.steps * share
    if exact is not None:
        plan += f" About {duration(seconds)}, as the last such run took here."
    else:
        plan += f" Roughly {duration(seconds)}, reckoned from a run here with other settings."
    return plan + _memory_sentence(round(alike.memory_bytes * max(1.0, share)), outlook.free_bytes)


def _memory_sentence(needed: int, free: int) -> str:
    if not needed:
        return ""
    if needed < free:
        return f" It takes about {needed / 1e9:.1f} GB."
    return (
        f" It takes about {needed / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free: batches may be divided, "
        "which is slower. Close other programs or choose smaller crops."
    )


def _kind(device: str, model: ModelConfig) -> str:
    """Device without its free memory, and what makes the network fast or slow."""
    parts = (
        device.rsplit(",", 1)[0],
        model.backbone,
        model.adapter,
        model.decoder,
        model.detail_kind,
    )
    return " | ".join(map(str, parts))


def _key(device: str, model: ModelConfig, train: TrainConfig) -> str:
    parts = (
        train.batch_size,
        train.crop_size_px,
        model.input_scale,
        train.recompute,
        min(check_interval(train), train.steps),
    )
    return " | ".join((_kind(device, model), *map(str, parts)))


def _batch_pixels(model: ModelConfig, train: TrainConfig) -> int:
    return round(train.batch_size * (train.crop_size_px * model.input_scale) ** 2)


def _path() -> Path:
    return adapters_folder().parent / "speed.json"
