"""Image files of a folder, and the label file of each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["IMAGE_SUFFIXES", "find_images", "image_stem", "match_labels"]

IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")


def image_stem(path: Path) -> str:
    """Name of a file without its suffix, ``.ome.tif`` counting as one."""
    return re.sub(r"(\.ome)?\.[^.]+$", "", path.name, flags=re.IGNORECASE)


def find_images(folder: Path | str, pattern: str = "*") -> list[Path]:
    """Image files of a folder in natural order (``cell2`` before ``cell10``).

    Raises
    ------
    ValueError
        When the folder does not exist or nothing in it fits.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder. Check the path.")
    files = [
        path
        for path in folder.glob(pattern)
        if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."
    ]
    if not files:
        raise ValueError(
            f"No image fits {pattern!r} in {folder}. Images end in {', '.join(IMAGE_SUFFIXES)}."
        )
    return sorted(files, key=_natural)


def match_labels(images: Iterable[Path], label_folder: Path | str) -> list[tuple[Path, Path]]:
    """The label file of each image: the one in the folder with the same name, suffix apart.

    Raises
    ------
    ValueError
        When an image has no label file or several, or two images have one name.
    """
    by_stem: dict[str, list[Path]] = {}
    for path in find_images(label_folder):
        by_stem.setdefault(image_stem(path), []).append(path)
    images = list(images)
    stems = [image_stem(path) for path in images]
    for word, wrong in (
        ("no label file", [s for s in stems if s not in by_stem]),
        ("several label files", [s for s in stems if len(by_stem.get(s, [])) > 1]),
        ("the name of another image", [s for s in stems if stems.count(s) > 1]),
    ):
        if wrong:
            more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
            raise ValueError(
                f"These images have {word} in {label_folder}: {', '.join(wrong[:5])}{more}. "
                "Give every image one label file of the same name."
            )
    return [(path, by_stem[stem][0]) for path, stem in zip(images, stems, strict=True)]


def _natural(path: Path) -> list[Any]:
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", str(path))]
