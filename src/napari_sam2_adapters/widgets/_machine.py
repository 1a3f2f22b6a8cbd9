"""What this machine offers: device, free memory and backbones. Asked in a worker, because it loads PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

from napari_sam2_adapters.widgets._torch import load_torch

__all__ = ["BackboneOffer", "Machine", "describe_machine"]


@dataclass(frozen=True)
class BackboneOffer:
    """A backbone, what it is for, and whether its weights are on this machine."""

    name: str
    about: str
    size_mb: int
    here: bool


@dataclass(frozen=True)
class Machine:
    """Device with its free memory in words, and the backbones."""

    device: str
    backbones: tuple[BackboneOffer, ...]


def describe_machine() -> Machine:
    """Describe the device that would be used, and the backbones."""
    load_torch()
    from napari_sam2_adapters.models.backbone_files import BACKBONES, find_weights
    from napari_sam2_adapters.models.device import choose_device, describe_device

    offers = []
    for entry in BACKBONES.values():
        try:
            find_weights(entry.name)
            here = True
        except FileNotFoundError:
            here = False
        offers.append(BackboneOffer(entry.name, entry.about, entry.size_mb, here))
    return Machine(describe_device(choose_device()), tuple(offers))
