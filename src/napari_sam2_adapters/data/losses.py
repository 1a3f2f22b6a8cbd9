"""What of a geometry a file format cannot hold, in a sentence."""

from __future__ import annotations

from pathlib import Path

from napari_sam2_adapters.data.formats.registry import format_of
from napari_sam2_adapters.data.geometry import Geometry

__all__ = ["lost_in_file", "lost_place"]


def lost_place(path: Path, geometry: Geometry | None) -> str:
    """Sentences when a format has no pixel size, no direction or no time step; nothing when it keeps all."""
    found = format_of(path)
    if geometry is not None and found is not None and found.name == "PNG":
        return f"{path.name} keeps no pixel size and place, which PNG does not have."
    return lost_in_file(path, geometry)


def lost_in_file(path: Path, geometry: Geometry | None) -> str:
    """As `lost_place`, but for PNG, of which whoever asks for it is told before."""
    return " ".join(filter(None, (_lost_direction(path, geometry), _lost_time(path, geometry))))


def _lost_time(path: Path, geometry: Geometry | None) -> str:
    """A sentence when a format cannot hold the time step that an array has."""
    found = format_of(path)
    if geometry is None or geometry.time_step is None or found is None:
        return ""
    if found.name not in ("NRRD", "MetaImage"):
        return ""
    return f"{path.name} keeps no time step, which {found.name} does not have. OME-TIFF and OME-Zarr do."


def _lost_direction(path: Path, geometry: Geometry | None) -> str:
    """A sentence when only this package reads how an array is turned, sheared or flipped in a file; nothing when others do, too."""
    found = format_of(path)
    if geometry is None or geometry.is_straight or found is None:
        return ""
    if found.name not in ("TIFF", "OME-Zarr"):
        return ""
    return (
        f"{path.name} keeps rotation, shear and flips for this plugin; other programs show it straight, "
        f"for {found.name} cannot hold them. NIfTI and NRRD can."
    )
