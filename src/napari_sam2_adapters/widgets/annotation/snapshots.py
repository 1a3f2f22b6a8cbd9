"""Copies of painted labels on disk: plane by plane, whole or not at all, and few of them.

A snapshot is a zip file of ``.npy`` arrays (as ``np.load`` reads it) that holds the labelled rectangle of each plane, and
``about.json``, which says what layer it was. Nothing here knows Qt, a layer or PyTorch, so it runs in a worker.
"""

from __future__ import annotations

import json
import logging
import re
import zipfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.axes import ArrayLike
from napari_sam2_adapters.widgets.annotation.forward_clock import forward_time
from napari_sam2_adapters.widgets.docks.store import adapters_folder

__all__ = [
    "SUFFIX",
    "LabelsToSave",
    "SavedLabels",
    "autosave_folder",
    "list_snapshots",
    "prune",
    "read_snapshot",
    "snapshot_path",
    "write_snapshot",
]

SUFFIX = ".labels.npz"
KEPT_PER_LAYER = 3
KEPT_IN_ALL = 30
FORMAT_VERSION = 1
_DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, LookupError, TypeError, ValueError, AttributeError, RuntimeError)  # fmt: skip
"""What comes of a damaged archive: the last one of flags that ask for a password or another compression."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelsToSave:
    """What is known of a labels layer, taken on the GUI thread; the array is read in the worker.

    Attributes
    ----------
    name, labels, classes
        The layer's name, array and classes.
    placement
        Keywords for ``viewer.add_labels``: scale, translate, rotate, shear, affine, units and axis_labels.
    image
        Name of the image that the labels belong to.
    layer_id
        Tells layers of one name apart.
    spread
        Axis of length 1 that the layer, but not the array, has in place of the image's channels.
    direction
        Direction (Z, Y, X) that the layer lies in, but is not shown in, as rows of a matrix; None where there is none.
    """

    name: str
    labels: ArrayLike
    classes: tuple[ClassInfo, ...]
    placement: Mapping[str, Any]
    image: str
    layer_id: str
    spread: int | None = None
    direction: Sequence[Sequence[float]] | None = None


@dataclass(frozen=True)
class SavedLabels:
    """A snapshot on disk, without its pixels."""

    path: Path
    name: str
    image: str
    shape: tuple[int, ...]
    dtype: str
    classes: tuple[ClassInfo, ...]
    placement: Mapping[str, Any]
    layer_id: str
    session: str
    pixels: int
    time: float
    spread: int | None = None
    direction: Sequence[Sequence[float]] | None = None
    planes: tuple[Mapping[str, Any], ...] = field(repr=False, default=())

    @property
    def when(self) -> str:
        """Day and time of day at which it was saved."""
        return datetime.fromtimestamp(self.time).strftime("%d %b %H:%M")


def autosave_folder() -> Path:
    """Where snapshots are kept, beside the adapters; made when missing."""
    folder = adapters_folder().parent / "autosave"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_snapshot(path: Path, layer: LabelsToSave, session: str = "") -> int:
    """Write the labels next to their place, then move them there: a killed process leaves a whole file or none.

    Parameters
    ----------
    path
        The file.
    layer
        What to save.
    session
        Which run of the program saves.

    Returns
    -------
    int
        Checksum over pixels, name and classes: what has the same one need not be saved again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    about, crcs = _describe(layer, session), []

    def fill(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            planes, crc = _write_planes(archive, layer.labels)
            crcs.append(crc)
            pixels = sum(plane["pixels"] for plane in planes)
            archive.writestr(
                "about.json", json.dumps({**about, "planes": planes, "pixels": pixels})
            )

    write_atomically(path, fill, overwrite=True)
    kept = {key: about[key] for key in ("name", "classes", "placement", "shape")}
    return zlib.crc32(json.dumps(kept, sort_keys=True).encode(), crcs[0])


def read_snapshot(path: Path, into: Any = None) -> tuple[SavedLabels, Any]:
    """Read a snapshot.

    Parameters
    ----------
    path
        The file.
    into
        Array of its shape to write the planes into; None for a new one in memory.

    Returns
    -------
    saved, labels
        What it says of itself, and the label array.

    Raises
    ------
    ValueError
        When the file is damaged or of another kind.
    """
    saved = _read_about(path)
    labels = np.zeros(saved.shape, saved.dtype) if into is None else into
    try:
        with zipfile.ZipFile(path) as archive:
            for number, plane in enumerate(saved.planes):
                with archive.open(f"plane{number}.npy") as file:
                    part = npy.read_array(file, allow_pickle=False)
                rows, columns = slice(*plane["rows"]), slice(*plane["columns"])
                labels[(*plane["index"], rows, columns)] = part
    except _DAMAGES as error:
        raise ValueError(_damaged(path, error)) from error
    return saved, labels


def list_snapshots(folder: Path) -> list[SavedLabels]:
    """Snapshots in a folder, the newest first; a damaged file is named in the log and left out."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            found.append(_read_about(path))
        except (ValueError, OSError) as error:
            _log.warning("%s", error)
    return sorted(found, key=lambda saved: saved.time, reverse=True)


def prune(folder: Path, sessions: Collection[str] = ()) -> None:
    """Delete snapshots beyond the newest few of each layer and the newest of all.

    Parameters
    ----------
    folder
        Where they are.
    sessions
        Sessions that are open or lost. The newest snapshot with labels of each of their layers stays, and does not count: who has not
        painted in a layer since gets no other one of it.
    """
    seen: dict[str, int] = {}
    kept, number = set(), 0
    for saved in list_snapshots(folder):
        key = f"{saved.session} {saved.layer_id}"
        seen[key] = seen.get(key, 0) + 1
        if saved.session in sessions and saved.pixels and key not in kept:
            kept.add(key)
            continue
        number += 1
        if seen[key] > KEPT_PER_LAYER or number > KEPT_IN_ALL:
            saved.path.unlink(missing_ok=True)


def snapshot_path(folder: Path, name: str) -> Path:
    """A free file name that says layer and time."""
    stem = re.sub(r"[^\w-]+", "-", name).strip("-")[:60] or "labels"
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    return folder / f"{stem}-{stamp}{SUFFIX}"


def _describe(layer: LabelsToSave, session: str) -> dict[str, Any]:
    placement = {
        key: [str(unit) for unit in value]
        if key in ("units", "axis_labels")
        else np.asarray(value).tolist()
        for key, value in layer.placement.items()
    }
    return {
        "version": FORMAT_VERSION,
        "name": layer.name,
        "image": layer.image,
        "shape": [int(n) for n in layer.labels.shape],
        "dtype": np.dtype(layer.labels.dtype).str,
        "classes": [info.model_dump() for info in layer.classes],
        "placement": placement,
        "layer_id": layer.layer_id,
        "spread": layer.spread,
        "direction": layer.direction,
        "session": session,
        "time": forward_time(),
    }


def _write_planes(archive: zipfile.ZipFile, labels: ArrayLike) -> tuple[list[dict[str, Any]], int]:
    """Write the labelled rectangle of each plane; give where they are and a checksum over all."""
    planes: list[dict[str, Any]] = []
    crc = 0
    for index in np.ndindex(*labels.shape[:-2]):
        plane = np.asarray(labels[index])
        box = _labelled_box(plane)
        if box is None:
            continue
        part = np.array(plane[box], order="C")  # a copy: the user may paint on
        with archive.open(f"plane{len(planes)}.npy", "w", force_zip64=True) as file:
            npy.write_array(file, part, allow_pickle=False)
        place = {
            "index": [int(i) for i in index],
            "rows": [box[0].start, box[0].stop],
            "columns": [box[1].start, box[1].stop],
            "pixels": int(np.count_nonzero(part)),
        }
        planes.append(place)
        crc = zlib.crc32(
            part.view(np.uint8).reshape(-1).data, zlib.crc32(json.dumps(place).encode(), crc)
        )
    return planes, crc


def _labelled_box(plane: NDArray[Any]) -> tuple[slice, slice] | None:
    """Smallest rectangle that holds all that is not 0."""
    rows = np.flatnonzero(plane.any(axis=1))
    if not rows.size:
        return None
    columns = np.flatnonzero(plane[rows[0] : rows[-1] + 1].any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _read_about(path: Path) -> SavedLabels:
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read("about.json"))
        return _saved(path, about)
    except _DAMAGES as error:
        raise ValueError(_damaged(path, error)) from error


def _saved(path: Path, about: Mapping[str, Any]) -> SavedLabels:
    placement = {
        key: tuple(value) if key in ("units", "axis_labels") else value
        for key, value in about["placement"].items()
    }
    return SavedLabels(
        path=path,
        name=str(about["name"]),
        image=str(about["image"]),
        shape=tuple(int(n) for n in about["shape"]),
        dtype=str(np.dtype(about["dtype"])),
        classes=tuple(ClassInfo(**entry) for entry in about["classes"]),
        placement=placement,
        layer_id=str(about["layer_id"]),
        session=str(about["session"]),
        pixels=int(about["pixels"]),
        time=float(about["time"]),
        spread=about.get("spread"),  # like the next one not in files of earlier versions
        direction=about.get("direction"),
        planes=tuple(about["planes"]),
    )


def _damaged(path: Path, error: Exception) -> str:
    return (
        f"The saved labels {path.name} cannot be read ({error}). Choose an older copy, or delete the file in "
        f"{path.parent}."
    )
