"""Which device computes, in which precision and with which random numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import psutil
import torch
from torch import nn

__all__ = [
    "choose_device",
    "computes_bfloat16",
    "describe_device",
    "full_precision",
    "half_precision",
    "move_apart",
    "seeded",
]


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
            return _current_card()
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
    return _current_card() if device == torch.device("cuda") else device


def _current_card() -> torch.device:
    """By its number, as tensors name it: "cuda" is not equal to the "cuda:0" that it means."""
    return torch.device("cuda", torch.cuda.current_device())


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


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16, rather than imitating it; False where PyTorch does not tell."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):  # since PyTorch 2.10
        able = torch.cpu.get_capabilities()
        return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))
    return False


def half_precision(device: torch.device, *, on_cpu: bool = False) -> AbstractContextManager[object]:
    """Give the context of a forward pass: bfloat16 on a CUDA device that computes in it and, when asked, on such a CPU; else nothing."""
    if (device.type == "cuda" or on_cpu) and computes_bfloat16(device):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed the random numbers of the CPU and of a device for a block, and put their states back after it.

    No other device is touched, as `torch.manual_seed` would.
    """
    states = torch.get_rng_state(), _device_state(device)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        if states[1] is not None and device.type == "cuda":
            torch.cuda.set_rng_state(states[1], device)
        elif states[1] is not None:
            torch.mps.set_rng_state(states[1])


def _device_state(device: torch.device) -> torch.Tensor | None:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Give the context for what bfloat16 would lose, within a pass in it."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def move_apart(module: nn.Module, device: torch.device) -> None:
    """Move a module to a device, and leave others that share its frozen weights and its buffers where they are.

    `torch.nn.Module.to` moves a parameter itself, and with it every module that has it.
    """
    moved: dict[int, torch.Tensor] = {}
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is None or tensor.requires_grad:
                    continue
                if id(tensor) not in moved:
                    there = tensor.detach().to(device, copy=True)
                    frozen = isinstance(tensor, nn.Parameter)
                    moved[id(tensor)] = (
                        nn.Parameter(there, requires_grad=False) if frozen else there
                    )
                tensors[name] = moved[id(tensor)]  # type: ignore[assignment]
    module.to(device)
