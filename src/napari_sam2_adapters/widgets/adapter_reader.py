"""Dropping an adapter file onto napari opens the Segment dock with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import napari

from napari_sam2_adapters.widgets.docks.dock import show_dock
from napari_sam2_adapters.widgets.docks.store import SUFFIX

__all__ = ["get_adapter_reader", "open_adapter"]

_NO_LAYERS: list[tuple[None]] = [(None,)]
"""What a reader gives back when it has done its work and has no layer to add."""


def get_adapter_reader(
    path: str | Sequence[str],
) -> Callable[[str | Sequence[str]], list[tuple[None]]] | None:
    """The reader of adapter files; None when one of the files is something else."""
    if all(name.lower().endswith(SUFFIX) for name in _listed(path)):
        return open_adapter
    return None


def open_adapter(path: str | Sequence[str]) -> list[tuple[None]]:
    """Open the Segment dock with the last of these adapters; the others are in its list.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When there is no napari window.
    """
    viewer: Any = napari.current_viewer()
    if viewer is None:
        raise ValueError(
            "An adapter is no image: it opens in the Segment dock. Open napari's window first, or use "
            "napari_sam2_adapters.load_adapter."
        )
    for name in _listed(path):
        if not Path(name).is_file():
            raise FileNotFoundError(f"There is no adapter file {name}. Check the path.")
        show_dock(viewer, "Segment").open_model(Path(name))
    return _NO_LAYERS


def _listed(path: str | Sequence[str]) -> list[str]:
    return [path] if isinstance(path, str) else list(path)
