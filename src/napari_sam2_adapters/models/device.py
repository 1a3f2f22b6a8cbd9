"""Which device computes, and how much memory it has left."""

from __future__ import annotations

import os

import psutil
import torch

__all__ = ["choose_device", "describe_device", "free_memory_bytes"]


def choose_device(preference: str = "auto") -> torch.device:
    """Choose where to compute.

    Parameters
    ----------
    preference
        ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``auto``: what ``SAM2_ADAPTERS_DEVICE`` says, else CUDA, then Apple's GPU, then
        the CPU.

    Raises
    ------
    ValueError
        When the device does not exist here.
    """
    if preference == "auto":
        preference = os.environ.get("SAM2_ADAPTERS_DEVICE") or "auto"
    if preference == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(preference)
    except RuntimeError as error:
        raise ValueError(
            f"There is no device {preference!r}. Choose auto, cpu, cuda, cuda:0 or mps."
        ) from error
    here = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not here.get(device.type, False):
        raise ValueError(
            f"The device {preference!r} is not available to PyTorch here. Choose auto or cpu."
        )
    return device


def free_memory_bytes(device: torch.device) -> int:
    """Memory that a program can still take on this device, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def describe_device(device: torch.device) -> str:
    """Name and free memory in one line, such as ``CPU, 8 cores, 12.1 of 16.0 GB free``."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        name = torch.cuda.get_device_name(device)
    else:
        memory = psutil.virtual_memory()
        free, total = memory.available, memory.total
        name = "Apple GPU" if device.type == "mps" else f"CPU, {os.cpu_count()} cores"
    return f"{name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
