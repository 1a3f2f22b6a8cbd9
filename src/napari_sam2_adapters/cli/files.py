"""Images and labels in folders, as the commands are given them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from napari_sam2_adapters.data.dataset import Pair

__all__ = [
    "Device",
    "Images",
    "Labels",
    "Model",
    "Overwrite",
    "Pattern",
    "SettingsFile",
    "TrainingFiles",
    "list_images",
    "read_training_files",
    "write_json",
]

Images = Annotated[Path, typer.Option(help="Folder of images (TIFF, PNG, JPEG), or one image.")]
Labels = Annotated[
    Path, typer.Option(help="Folder of label images of the same names, or that of the one image.")
]
Pattern = Annotated[str, typer.Option(help="Which images of the folder, for example '*_raw.tif'.")]
Model = Annotated[Path, typer.Option(help="Model file, NAME.adapter.safetensors.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        help="YAML file with any of the sections model, train, predict, normalization, classes."
    ),
]


@dataclass(frozen=True)
class TrainingFiles:
    """Labelled images of a folder.

    Attributes
    ----------
    pairs
        Images with their labels.
    pixel_size, unit
        (Y, X) size of a pixel, where all images agree on it; else None.
    """

    pairs: list[Pair]
    pixel_size: tuple[float, float] | None
    unit: str | None


def list_images(images: Path, pattern: str) -> list[Path]:
    """The images of a folder in natural order, or the one image that was given.

    Raises
    ------
    ValueError
        When there is none.
    """
    from napari_sam2_adapters.data.io import find_images

    return [images] if images.is_file() else find_images(images, pattern)


def read_training_files(images: Path, labels: Path, pattern: str) -> TrainingFiles:
    """Open each image with the label image of its name.

    Raises
    ------
    ValueError
        When images or their labels are missing, or a file cannot be used as such.
    """
    from napari_sam2_adapters.data.dataset import Pair
    from napari_sam2_adapters.data.io import match_labels, read_image, read_labels

    alone = images.is_file() and labels.is_file()
    if alone and images.samefile(labels):
        raise ValueError(
            f"{images} is given as its own labels. Give the label image with --labels."
        )
    paths = [(images, labels)] if alone else match_labels(list_images(images, pattern), labels)
    pairs, sizes = [], set()
    for image_path, label_path in paths:
        image, label = read_image(image_path), read_labels(label_path)
        pairs.append(Pair(image.array, label.array, image.axes, image_path.name, rgb=image.rgb))
        sizes.add((_plane_size(image.pixel_size), image.unit))
    pixel_size, unit = sizes.pop() if len(sizes) == 1 else (None, None)
    return TrainingFiles(pairs, pixel_size, unit)


def write_json(path: Path, content: dict[str, Any], *, overwrite: bool) -> None:
    """Write plain numbers and words as JSON; the file appears when it is complete.

    Raises
    ------
    FileExistsError
        When the file exists and ``overwrite`` is not set.
    """
    from napari_sam2_adapters.atomic import write_atomically

    text = json.dumps(content, indent=2) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: file.write(text.encode()), overwrite=overwrite)


def _plane_size(sizes: Sequence[float] | None) -> tuple[float, float] | None:
    return None if sizes is None else (sizes[-2], sizes[-1])
