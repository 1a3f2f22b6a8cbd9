"""Image files of a folder, and the label file of each."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from napari_sam2_adapters.data.formats.dicom_folder import DICOM_ENDINGS, is_dicom_folder
from napari_sam2_adapters.data.formats.patient_space import apart_px
from napari_sam2_adapters.data.formats.registry import (
    IMAGE_SUFFIXES,
    format_of,
    image_folder,
    image_stem,
    is_image,
)
from napari_sam2_adapters.data.image_file import ImageFile

__all__ = ["common_name", "find_images", "lie_elsewhere", "match_labels"]


def find_images(folder: Path | str, pattern: str = "*") -> list[Path]:
    """Image files of a folder in natural order (``cell2`` before ``cell10``).

    A folder of DICOM slices is one image: the folder itself, and each below it that fits the pattern. The slices are images of their
    own only where the pattern asks for their ending, as ``*.dcm`` does.

    Raises
    ------
    ValueError
        When the folder does not exist, the pattern is none or nothing in the folder fits it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder. Check the path.")
    try:
        found = _matches(folder, pattern)
    except (ValueError, NotImplementedError) as error:
        raise ValueError(
            f"{pattern!r} is no pattern of file names. Use one such as '*_raw.tif', or '**/*.tif' for subfolders."
        ) from error
    files = [path for path in found if _is_shown(path.relative_to(folder)) and is_image(path)]
    if Path(pattern).name == "*" and is_dicom_folder(folder):
        files.append(folder)
    folders = {path for path in files if path.is_dir()}
    files = [path for path in files if not (_is_slice(path) and path.parent in folders)]
    if not files:
        raise ValueError(
            f"No image fits {pattern!r} in {folder}. Images end in {', '.join(IMAGE_SUFFIXES)}."
        )
    return sorted(files, key=_natural)


def common_name(path: Path) -> str:
    """What the name of an image and that of its labels have in common: all but the ending, however a system spells accents."""
    return unicodedata.normalize("NFC", image_stem(path))


def match_labels(images: Iterable[Path], label_folder: Path | str) -> list[tuple[Path, Path]]:
    """The label file of each image: the one in the folder with the same name, suffix apart.

    Raises
    ------
    ValueError
        When an image has no label file, several, or itself, or two images have one name.
    """
    by_stem: dict[str, list[Path]] = {}
    for path in find_images(label_folder):
        by_stem.setdefault(common_name(path), []).append(path)
    images = list(images)
    stems = [common_name(path) for path in images]
    pairs = [(path, by_stem.get(stem, [])) for path, stem in zip(images, stems, strict=True)]
    for trouble, wrong in (
        ("have the name of another image", [s for s, n in Counter(stems).items() if n > 1]),
        (f"have no label file in {label_folder}", [i.name for i, found in pairs if not found]),
        (
            f"have several label files in {label_folder}",
            [i.name for i, found in pairs if len(found) > 1],
        ),
        ("are their own label files", [i.name for i, found in pairs if _same(i, found)]),
    ):
        if wrong:
            more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
            raise ValueError(
                f"These images {trouble}: {', '.join(wrong[:5])}{more}. "
                "Give every image one label file of the same name in a folder of labels."
            )
    return [(image, found[0]) for image, found in pairs]


def _matches(folder: Path, pattern: str) -> list[Path]:
    """What `Path.glob` finds, without walking into image folders, whose chunks may be many thousands."""
    above, every, below = pattern.partition("**/")
    if not every or (above and not above.endswith("/")) or Path(pattern).is_absolute():
        return list(folder.glob(pattern))
    starts = [path for path in folder.glob(above) if path.is_dir()] if above else [folder]
    found = {
        path: None
        for start in starts
        for inner in _folders(start)
        for path in _matches(inner, below)
    }
    return list(found)


def _folders(folder: Path) -> Iterator[Path]:
    """A folder and all below it that are neither images nor hidden, nor inside such."""
    for place, names, _ in os.walk(folder):
        yield Path(place)
        names[:] = [
            name for name in names if name[0] != "." and image_folder(Path(name) / "inside") is None
        ]


def _is_shown(path: Path) -> bool:
    """Whether a path in a folder is neither hidden nor a part of an image."""
    return image_folder(path) is None and not any(part[0] == "." for part in path.parts)


def _is_slice(path: Path) -> bool:
    return path.name.lower().endswith(DICOM_ENDINGS)


def _same(image: Path, labels: list[Path]) -> bool:
    return any(image.resolve() == path.resolve() for path in labels)


def _natural(path: Path) -> list[Any]:
    # \d is a decimal digit; str.isdigit would also take the ² that int refuses
    return [
        int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", str(path))
    ]


def lie_elsewhere(image: ImageFile, labels: ImageFile) -> bool:
    """Whether labels of the image's shape lie elsewhere in the patient, in formats that say where."""
    kinds = (format_of(image.path), format_of(labels.path))
    one, other = image.geometry, labels.geometry
    if (
        one is None
        or other is None
        or not all(k is not None and k.extra == "medical" for k in kinds)
    ):
        return False
    if one.origin is None or other.origin is None or len(one.origin) != len(other.origin):
        return False
    lengths = [int(labels.array.shape[labels.axes.index(a)]) for a in "ZYX" if a in labels.axes]
    return apart_px(one, other, lengths) > 1
