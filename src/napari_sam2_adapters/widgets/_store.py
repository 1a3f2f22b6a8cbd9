"""The folder of trained adapters that the docks share."""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs

__all__ = ["SUFFIX", "adapters_folder", "list_adapters", "new_adapter_path"]

SUFFIX = ".adapter.safetensors"
"""Ending of a model file; said again here because the module that writes them loads PyTorch."""


def adapters_folder() -> Path:
    """Where adapters are saved: ``SAM2_ADAPTERS_DATA`` or the user's data folder; made when missing."""
    chosen = os.environ.get("SAM2_ADAPTERS_DATA")
    data = Path(chosen) if chosen else Path(platformdirs.user_data_dir("napari-sam2-adapters"))
    folder = data / "adapters"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def list_adapters() -> list[Path]:
    """Saved adapters, the newest first."""
    return sorted(
        adapters_folder().glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True
    )


def new_adapter_path(title: str) -> Path:
    """A free name in the folder for an adapter of this title."""
    stem = re.sub(r"[^\w-]+", "-", title).strip("-") or "adapter"
    number = 1
    while True:
        path = adapters_folder() / f"{stem}{'' if number == 1 else f'-{number}'}{SUFFIX}"
        if not path.exists():
            return path
        number += 1
