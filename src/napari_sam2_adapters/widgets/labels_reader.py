"""Labels that were saved here, dropped onto napari: they come back as a Labels layer in their place.

Endings that napari opens well by itself, TIFF and PNG, are left to it: npe2 knows no order of readers, and napari would ask everybody who
drops such a file which one to take. Their labels open in the Load dock.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_sam2_adapters.data.formats.registry import format_of
from napari_sam2_adapters.data.io import read_image, read_labels
from napari_sam2_adapters.widgets.loading.file_layers import labels_layer

__all__ = ["get_labels_reader", "read_label_files"]

LayerData = tuple[Any, dict[str, Any], str]
_NIFTI_LABEL = 1002

_log = logging.getLogger(__name__)


def get_labels_reader(
    path: str | Sequence[str],
) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """The reader of NPZ and NIfTI files that say they are labels; None for all others, which napari or another plugin may read."""
    return read_label_files if all(_says_labels(Path(name)) for name in _listed(path)) else None


def read_label_files(path: str | Sequence[str]) -> list[LayerData]:
    """A Labels layer for each file, with its classes, pixel size, unit and place.

    Raises
    ------
    ValueError
        When a file cannot be read.
    """
    layers = [labels_layer(read_labels(Path(name))) for name in _listed(path)]
    return [(layer.data, layer.keywords, layer.kind) for layer in layers]


def _says_labels(path: Path) -> bool:
    found = format_of(path)
    check = {"NPZ": _npz_says_labels, "NIfTI": _nifti_says_labels}.get(found.name if found else "")
    if check is None or not path.is_file():
        return False
    try:
        return check(path)
    except Exception:  # of many kinds: what is wrong with a damaged file is for its reader to say
        _log.debug("%s does not say whether it holds labels", path, exc_info=True)
        return False


def _npz_says_labels(path: Path) -> bool:
    """Whether it has the entries of `data.formats.numpy_file`, and holds whole numbers without channels."""
    with zipfile.ZipFile(path) as archive:
        if not {"array.npy", "axes.npy"} <= set(archive.namelist()):
            return False
    found = read_image(path)
    return found.array.dtype.kind in "biu" and "C" not in found.axes


def _nifti_says_labels(path: Path) -> bool:
    """Whether the intent in its header is that of labels."""
    try:
        import nibabel
    except ModuleNotFoundError:
        return False
    header: Any = nibabel.load(path).header
    return int(header["intent_code"]) == _NIFTI_LABEL


def _listed(path: str | Sequence[str]) -> list[str]:
    return [path] if isinstance(path, str) else list(path)
