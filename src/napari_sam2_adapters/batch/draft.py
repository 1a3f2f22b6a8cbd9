"""A label image that is being written: a hidden folder beside its target, and a small hidden file that says which bands are final."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.batch.bands import Bands, Run
from napari_sam2_adapters.batch.pixel_counts import Counts, count_values
from napari_sam2_adapters.config import ClassInfo, Settings
from napari_sam2_adapters.data.axes import ArrayLike, label_axes
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.io import read_labels

__all__ = ["Draft", "bands_of", "discard_draft", "finish_draft", "kept_drafts", "level0_of", "open_draft", "write_draft"]  # fmt: skip

CHUNK_PX = 512
_SUFFIX = ".progress.json"
_LONGEST_NAME_BYTES = 255


class Draft(Settings):
    """What the hidden file says; it can travel to another machine.

    Attributes
    ----------
    key
        Of everything that the labels depend on; empty when nobody will go on with them, so that the hidden file is not written.
    folder
        Name of the hidden folder.
    array
        Name of the finest level in it.
    done
        Bands that are final, in order.
    """

    key: str
    folder: str
    array: str
    done: tuple[Run, ...] = ()


def kept_drafts(folder: Path) -> set[Path]:
    """Hidden folders in a folder of results that a later run goes on with."""
    found = (_read(file) for file in folder.glob(f".*{_SUFFIX}"))
    return {folder / draft.folder for draft in found if draft is not None}


def open_draft(
    target: Path,
    image: ImageFile,
    classes: Sequence[ClassInfo],
    key: str | None,
    *,
    overwrite: bool,
) -> Draft:
    """The draft of an earlier run, if there is one of the same labels; else a new one, and the earlier one is removed.

    Parameters
    ----------
    target
        ``NAME.ome.zarr``.
    image
        The image.
    classes
        What the values mean.
    key
        As `Draft.key`; None when nobody will go on with them: what others have begun is then left alone.
    overwrite
        Whether labels of this name may be replaced.

    Raises
    ------
    FileExistsError
        When there are labels of this name and ``overwrite`` is not set.
    OSError
        When nothing can be written.
    """
    from napari_sam2_adapters.data.formats.ome_zarr import create_labels, discard_labels

    known = None if key is None else _read(_file(target))
    if known is not None and (target.parent / known.folder / known.array).is_dir():
        if known.key == key:
            return known
        discard_labels(level0_of(target, known))
    axes = label_axes(image.axes)
    shape = tuple(n for n, axis in zip(image.array.shape, image.axes, strict=True) if axis != "C")
    target.parent.mkdir(parents=True, exist_ok=True)
    level0 = create_labels(
        target,
        shape,
        axes,
        np.min_scalar_type(max(info.value for info in classes)),
        geometry=image.geometry,
        classes=classes,
        source=image.path,
        # a band of one plane is final as soon as its tiles are
        chunks=[CHUNK_PX if axis in "YX" else 1 for axis in axes],
        overwrite=overwrite,
    )
    place = Path(level0.store.root) / str(level0.path)
    draft = Draft(key=key or "", folder=place.parent.name, array=place.name)
    try:
        write_draft(target, draft)
    except OSError:  # a folder of which nothing says what it is helps nobody
        discard_labels(level0)
        raise
    return draft


def discard_draft(target: Path, draft: Draft) -> None:
    """Remove labels that nobody will go on with; nothing of those that have their name, or that another process has begun meanwhile."""
    from napari_sam2_adapters.data.formats.zarr_nodes import remove_begun

    remove_begun(target.parent / draft.folder)
    _forget(target, draft)


def level0_of(target: Path, draft: Draft) -> Any:
    """The finest level of a draft, to write whole bands into."""
    import zarr

    return zarr.open_array(str(target.parent / draft.folder / draft.array), mode="r+")


def bands_of(level0: Any, image: ImageFile) -> Bands:
    """The bands of an image whose labels go into this array."""
    rows = label_axes(image.axes).index("Y")
    return Bands(tuple(int(n) for n in image.array.shape), image.axes, int(level0.chunks[rows]))


def write_draft(target: Path, draft: Draft) -> None:
    """Say on the disk which bands are final, to those who may go on with them."""
    if not draft.key:
        return
    text = json.dumps(draft.model_dump())
    write_atomically(_file(target), lambda stream: stream.write(text.encode()), overwrite=True)


def finish_draft(
    target: Path, draft: Draft, axes: str, *, overwrite: bool
) -> tuple[ArrayLike, Counts]:
    """Give complete labels their name, unless they have it already; gives them, read by region, and the pixels of each value.

    Parameters
    ----------
    target, draft
        The labels.
    axes
        Those of the labels.
    overwrite
        Whether labels of this name may be replaced.

    Raises
    ------
    FileExistsError
        When there are labels of this name and ``overwrite`` is not set.
    OSError
        When nothing can be written.
    """
    from napari_sam2_adapters.data.formats.ome_zarr import finish_labels

    folder = target.parent / draft.folder
    # a worker that died just after it gave them their name has left only the hidden file
    if folder.is_dir() or not target.is_dir():
        for left in folder.rglob("*.partial"):
            left.unlink()  # chunks that a killed process was writing
        finish_labels(level0_of(target, draft), target, overwrite=overwrite)
    labels = read_labels(target).array
    counts = count_values(labels, axes)
    _forget(target, draft)
    return labels, counts


def _forget(target: Path, draft: Draft) -> None:
    """Remove the hidden file, unless it is that of labels that another process has begun."""
    known = _read(_file(target))
    if known is None:
        return
    if known.folder == draft.folder or not (target.parent / known.folder).is_dir():
        _file(target).unlink(missing_ok=True)


def _file(target: Path) -> Path:
    """The hidden file of a target; where the target's name leaves no room for more, that is a checksum of it."""
    name = f".{target.name}{_SUFFIX}"
    if len(os.fsencode(name)) > _LONGEST_NAME_BYTES:
        name = f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()}{_SUFFIX}"
    return target.with_name(name)


def _read(file: Path) -> Draft | None:
    """What a hidden file says; None where there is none, or one that is not ours."""
    if not file.is_file():
        return None
    try:
        return Draft.model_validate_json(file.read_bytes())
    except ValidationError:
        return None
