"""What this machine offers: device, free memory and backbones. Asked in a worker, because it loads PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_sam2_adapters.widgets.docks.load_torch import load_torch

__all__ = ["BackboneOffer", "Machine", "describe_backbones", "describe_machine"]


@dataclass(frozen=True)
class BackboneOffer:
    """A backbone, what it is for, and whether its weights are on this machine.

    Attributes
    ----------
    name, about, licence
        Its name, what it is for, and the licence of its weights.
    size_mb
        Size of its official file.
    here
        Whether weights for it are on this machine.
    built_in
        Whether they came with the package.
    path
        The weights that are used; None when there are none.
    own
        Whether these are a file of the user's own.
    address, sha256
        Where the official file is offered, and its checksum.
    partial_mb
        What an unfinished download has left.
    folder
        Where downloaded weights are kept.
    """

    name: str
    about: str
    size_mb: int
    here: bool
    built_in: bool = False
    path: Path | None = None
    own: bool = False
    address: str = ""
    sha256: str = ""
    licence: str = ""
    partial_mb: float = 0.0
    folder: Path | None = None


@dataclass(frozen=True)
class Machine:
    """Device with its free memory in words, and the backbones."""

    device: str
    backbones: tuple[BackboneOffer, ...]


def describe_machine() -> Machine:
    """Describe the device that would be used, and the backbones."""
    load_torch()
    from napari_sam2_adapters.models.device import choose_device, describe_device

    try:
        device = describe_device(choose_device())
    except ValueError as error:  # one that the preferences ask for and that is not here
        device = str(error).removesuffix(".")
    return Machine(device, describe_backbones())


def describe_backbones() -> tuple[BackboneOffer, ...]:
    """Describe the backbones and what is here of them."""
    load_torch()
    from napari_sam2_adapters.models.backbone_files import (
        BACKBONES,
        cache_folder,
        find_weights,
        partial_bytes,
    )

    offers = []
    for entry in BACKBONES.values():
        path: Path | None
        try:
            path = find_weights(entry.name)
        except FileNotFoundError:
            path = None
        offers.append(
            BackboneOffer(
                entry.name,
                entry.about,
                entry.size_mb,
                here=path is not None,
                built_in=entry.shape is None,
                path=path,
                own=path is not None and path.name != entry.file_name,
                address="" if entry.shape is None else entry.address,
                sha256=entry.sha256,
                licence=entry.licence,
                partial_mb=partial_bytes(entry.name) / 1e6,
                folder=cache_folder(),
            )
        )
    return tuple(offers)
