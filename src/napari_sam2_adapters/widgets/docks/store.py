"""The folder of trained adapters that the docks share, and what a person does with the files in it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
from qtpy.QtCore import QFile

from napari_sam2_adapters.atomic import remove_orphans, write_atomically
from napari_sam2_adapters.widgets.docks.load_torch import load_torch
from napari_sam2_adapters.wording import shortened

if TYPE_CHECKING:
    from napari_sam2_adapters.models.model_file import AdapterHeader

__all__ = [
    "SUFFIX",
    "SavedAdapter",
    "adapter_title",
    "adapters_folder",
    "clear_leftovers",
    "copy_adapter",
    "import_adapter",
    "list_adapters",
    "new_adapter_path",
    "new_copy_path",
    "read_adapters",
    "rename_adapter",
    "renamed_path",
    "to_bin",
    "with_suffix",
]

SUFFIX = ".adapter.safetensors"
"""Ending of a model file; said again here because the module that writes them loads PyTorch."""
_MOST_LETTERS = 120
_REFUSED = re.compile(r'[<>:"/\\|?*\x00-\x1f]|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)
"""What some file system does not take in a name or as one."""
_COPY = re.compile(r"-copy(-\d+)?$")


@dataclass(frozen=True)
class SavedAdapter:
    """A model file and what its header says, or why it cannot be used.

    Attributes
    ----------
    path
        The file.
    header
        Its header; None when it cannot be used.
    problem
        Why not, in a sentence; empty otherwise.
    size_bytes
        Size of the file.
    changed
        When it was last written, in seconds since 1970.
    backbone_here
        Whether the weights that it was trained on are on this machine.
    """

    path: Path
    header: AdapterHeader | None
    problem: str
    size_bytes: int
    changed: float
    backbone_here: bool = False


def adapters_folder() -> Path:
    """Where adapters are saved: ``SAM2_ADAPTERS_DATA`` or the user's data folder; made when missing."""
    chosen = os.environ.get("SAM2_ADAPTERS_DATA")
    data = Path(chosen) if chosen else Path(platformdirs.user_data_dir("napari-sam2-adapters"))
    folder = data / "adapters"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def clear_leftovers() -> None:
    """Remove half-written files that killed processes left beside the adapters, saved labels and runs; called in a worker."""
    data = adapters_folder().parent
    for folder in (data / "adapters", data / "autosave", data / "runs", *data.glob("runs/*/")):
        remove_orphans(folder)


def list_adapters() -> list[Path]:
    """Saved adapters, the newest first."""
    aged = []
    for path in adapters_folder().glob(f"*{SUFFIX}"):
        try:
            aged.append((-path.stat().st_mtime, path.name, path))
        except FileNotFoundError:  # renamed or deleted since the folder was listed
            continue
    return [path for *_, path in sorted(aged)]


def new_adapter_path(title: str) -> Path:
    """A free name in the folder for an adapter of this title."""
    stem = re.sub(r"[^\w-]+", "-", title).strip("-") or "adapter"
    return _free_path(stem)


def new_copy_path(path: Path) -> Path:
    """A free name for a copy: ``cells-copy``, then ``cells-copy-2``, whichever of the two is copied."""
    return new_adapter_path(f"{_COPY.sub('', adapter_title(path))}-copy")


def adapter_title(path: Path) -> str:
    """What an adapter is called: its file's name without the ending."""
    return path.name.removesuffix(SUFFIX)


def read_adapters(paths: Sequence[Path]) -> tuple[SavedAdapter, ...]:
    """Read the headers of model files; for a worker, because it loads PyTorch."""
    load_torch()
    from napari_sam2_adapters.models.backbone_files import find_weights
    from napari_sam2_adapters.models.model_file import read_header

    found = []
    for path in paths:
        try:
            facts = path.stat()
        except FileNotFoundError:  # renamed or deleted since the folder was listed
            continue
        try:
            header, problem = read_header(path), ""
        except (ValueError, OSError) as error:
            header, problem = None, str(error)
        here = False
        if header is not None:
            try:
                find_weights(header.model.backbone, header.backbone_sha256)
                here = True
            except (FileNotFoundError, ValueError):
                here = False
        found.append(SavedAdapter(path, header, problem, facts.st_size, facts.st_mtime, here))
    return tuple(found)


def renamed_path(path: Path, title: str) -> Path:
    """What an adapter's file would be called with another title.

    Raises
    ------
    ValueError
        When the title cannot be a file's name.
    FileExistsError
        When there is one of this name.
    """
    target = path.with_name(_checked(title) + SUFFIX)
    # A name that differs in case only is the same file where the file system does not tell the two apart.
    if target.exists() and not target.samefile(path):
        raise FileExistsError(
            f"There is an adapter called {shortened(adapter_title(target))!r} already. Choose another name."
        )
    return target


def rename_adapter(path: Path, title: str) -> Path:
    """Give an adapter another name in its folder.

    Raises
    ------
    ValueError, FileExistsError
        As `renamed_path`.
    """
    return path.rename(renamed_path(path, title))


def copy_adapter(source: Path, target: Path, *, overwrite: bool = False) -> Path:
    """Copy a model file, so that there is all of it under the new name or nothing.

    Raises
    ------
    FileExistsError
        When the target is there and ``overwrite`` is not set.
    """
    target = with_suffix(target)
    if target.exists() and target.samefile(source):
        return target
    with source.open("rb") as content:
        return write_atomically(
            target, lambda file: shutil.copyfileobj(content, file), overwrite=overwrite
        )


def with_suffix(target: Path) -> Path:
    """Where an adapter is saved that is to go there: with the ending of adapters."""
    if target.name.endswith(SUFFIX):
        return target
    return target.with_name(target.name.removesuffix(".safetensors") + SUFFIX)


def import_adapter(source: Path) -> Path:
    """Copy a model file from elsewhere into the folder, under a free name.

    Raises
    ------
    ValueError
        When it cannot be used here.
    """
    (found,) = read_adapters([source]) or (None,)
    if found is None:
        raise FileNotFoundError(f"There is no file {source}. Check the path.")
    if found.problem:
        raise ValueError(found.problem)
    if source.parent == adapters_folder():
        return source
    return copy_adapter(source, _free_path(adapter_title(source)))


def to_bin(path: Path) -> None:
    """Move a file to the system's bin, from where it can be taken back.

    Raises
    ------
    OSError
        When there is no bin for this file; it stays where it is then.
    """
    if not QFile(str(path)).moveToTrash():
        raise OSError(
            f"{path} could not be moved to the bin of this system, so it was left where it is. Delete it by hand."
        )


def _free_path(stem: str) -> Path:
    number = 1
    while True:
        path = adapters_folder() / f"{stem}{'' if number == 1 else f'-{number}'}{SUFFIX}"
        if not path.exists():
            return path
        number += 1


def _checked(title: str) -> str:
    plain = title.strip().removesuffix(SUFFIX)
    if not plain or plain.startswith(".") or len(plain) > _MOST_LETTERS or _REFUSED.search(plain):
        raise ValueError(
            f'An adapter cannot be called {shortened(title)!r}. Take 1 to {_MOST_LETTERS} letters, none of < > : " / \\ | ? *, '
            "no full stop in front, and no name of Windows' own, such as CON."
        )
    return plain
