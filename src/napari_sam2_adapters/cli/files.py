"""Images and labels in folders, as the commands are given them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sam2_adapters.wording import counted

if TYPE_CHECKING:
    from napari_sam2_adapters.data.axes import ArrayLike
    from napari_sam2_adapters.data.dataset import Pair
    from napari_sam2_adapters.data.image_file import ImageFile

__all__ = [
    "Device",
    "Images",
    "Labels",
    "MemoryShare",
    "Model",
    "Overwrite",
    "Pattern",
    "SettingsFile",
    "TrainingFiles",
    "check_output_file",
    "check_output_folder",
    "list_images",
    "read_training_files",
    "write_json",
]

Images = Annotated[
    Path,
    typer.Option(
        help="Folder of images, or one image: TIFF, OME-Zarr, PNG and others (docs/formats.md)."
    ),
]
Labels = Annotated[
    Path, typer.Option(help="Folder of label images of the same names, or that of the one image.")
]
Pattern = Annotated[str, typer.Option(help="Which images of the folder, for example '*_raw.tif'.")]
Model = Annotated[Path, typer.Option(help="Adapter file, NAME.adapter.safetensors.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]


def _take_memory_share(share: float | None) -> float | None:
    """Hand the share to the floors below, and to the processes that are started, which know environment variables only."""
    if share is not None:
        os.environ["SAM2_ADAPTERS_MEMORY_SHARE"] = str(share)
        from napari_sam2_adapters.models.memory import memory_share

        memory_share()
    return share


MemoryShare = Annotated[
    float | None,
    typer.Option(
        help="Share of the main memory that may be taken, above 0 and up to 1. Default: 0.8.",
        show_default=False,
        callback=_take_memory_share,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        help="YAML file with any of the sections model, train, predict, normalization, classes, and for batch cluster, extras."
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
    notice
        Sentences when images without labels were left out, or labels lie elsewhere than their images; else empty.
    """

    pairs: list[Pair]
    pixel_size: tuple[float, float] | None
    unit: str | None
    notice: str = ""


def list_images(images: Path, pattern: str) -> list[Path]:
    """The images of a folder in natural order, or the one image that was given.

    Raises
    ------
    FileNotFoundError
        When there is no such folder or image.
    ValueError
        When there is no image in the folder.
    """
    from napari_sam2_adapters.data.matching import find_images

    _check_there(images, "--images")
    return [images] if _is_one_image(images) else find_images(images, pattern)


def read_training_files(images: Path, labels: Path, pattern: str) -> TrainingFiles:
    """Open each image that has a label image of its name, with that; the others are left out.

    Raises
    ------
    FileNotFoundError
        When there is no such folder or file.
    ValueError
        When no image has labels, labels have no image, or a file cannot be used as such.
    """
    from napari_sam2_adapters.data.axes import label_axes
    from napari_sam2_adapters.data.dataset import Pair
    from napari_sam2_adapters.data.io import read_image, read_labels
    from napari_sam2_adapters.data.matching import lie_elsewhere, match_labels

    chosen = list_images(images, pattern)
    _check_there(labels, "--labels")
    labelled = chosen
    if not _is_one_image(labels):
        labelled = _labelled(chosen, images, labels)
        paths = match_labels(labelled, labels)
    elif chosen != [images]:
        raise ValueError(
            f"--images {images} is a folder, but --labels {labels} is one image. Give the folder of the label images."
        )
    elif images.samefile(labels):
        raise ValueError(
            f"{images} is given as its own labels. Give the label image with --labels."
        )
    else:
        paths = [(images, labels)]
    pairs, sizes, elsewhere, turned = [], set(), [], []
    for image_path, label_path in paths:
        image, label = read_image(image_path), read_labels(label_path)
        laid = _laid_on(image, label)
        pairs.append(Pair(image.array, laid, image.axes, image_path.name, rgb=image.rgb))
        sizes.add((_plane_size(image.pixel_size), image.unit))
        if lie_elsewhere(image, label):
            elsewhere.append(label_path.name)
        plain = label_axes(image.axes)
        if laid is label.array and label.axes != plain and set(label.axes) == set(plain):
            turned.append(f"{label_path.name} ({label.axes} on {plain})")
    pixel_size, unit = sizes.pop() if len(sizes) == 1 else (None, None)
    notices = []
    if len(labelled) < len(chosen):
        have = "has" if len(labelled) == 1 else "have"
        notices.append(
            f"{len(labelled):,} of {counted(len(chosen), 'image')} {have} labels; the others are left out."
        )
    if turned:
        more = f" and {len(turned) - 5} more" if len(turned) > 5 else ""
        notices.append(
            f"By their files the axes of these labels are in another order than those of their images: {', '.join(turned[:5])}{more}. They are laid on "
            "them as they are stored; if that is wrong, save image and labels with axes in one order."
        )
    if elsewhere:
        more = f" and {len(elsewhere) - 5} more" if len(elsewhere) > 5 else ""
        notices.append(
            f"By their headers these labels are mirrored, turned or shifted against their images: {', '.join(elsewhere[:5])}{more}. They are laid on "
            "them pixel by pixel, as they are stored; if that is wrong, resample the labels on the images."
        )
    return TrainingFiles(pairs, pixel_size, unit, "\n".join(notices))


def _laid_on(image: ImageFile, labels: ImageFile) -> ArrayLike:
    """The labels with the axes of the image, where they fit it only so: formats store axes in an order of their own, or add some of length 1."""
    from napari_sam2_adapters.data.axes import in_axes, label_axes

    wanted = label_axes(image.axes)
    lengths = dict(zip(image.axes, image.array.shape, strict=True))
    if [int(n) for n in labels.array.shape] == [int(lengths[axis]) for axis in wanted]:
        return labels.array
    try:
        return in_axes(labels.array, labels.axes, wanted)
    except ValueError:  # of another shape, as is said where they are compared
        return labels.array


def _labelled(chosen: list[Path], images: Path, labels: Path) -> list[Path]:
    """The images with a label file of their name; refused when there is none, or labels belong to no image."""
    from napari_sam2_adapters.data.matching import common_name, find_images

    label_files = find_images(labels)
    stems = {common_name(path) for path in label_files}
    labelled = [path for path in chosen if common_name(path) in stems]
    if not labelled:
        none = f"None of the {len(chosen):,} images in" if len(chosen) > 1 else "No image in"
        raise ValueError(
            f"{none} {images} has a label image of its name in {labels}: there are "
            f"{chosen[0].name} and {label_files[0].name}, for example. Give each label image the name of its image."
        )
    if images.is_dir():
        # Labels of images that --pattern leaves out are no mistake.
        known = {common_name(path) for path in (*chosen, *images.iterdir())}
        strays = [path.name for path in label_files if common_name(path) not in known]
        if strays:
            more = f" and {len(strays) - 5} more" if len(strays) > 5 else ""
            raise ValueError(
                f"These label images in {labels} belong to no image in {images}: {', '.join(strays[:5])}{more}. "
                "Give each the name of its image, or take them out of the folder."
            )
    return labelled


def _is_one_image(path: Path) -> bool:
    """Whether it is a file, or a folder such as an OME-Zarr that is an image or a part of one."""
    from napari_sam2_adapters.data.formats.registry import image_folder

    return path.is_file() or image_folder(path / "inside") is not None


def _check_there(path: Path, option: str) -> None:
    if not path.exists():
        raise FileNotFoundError(
            f"{option} {path} does not exist: there is no such folder or file. Check the path."
        )


def check_output_folder(folder: Path) -> None:
    """Make the folder of ``--output``, and refuse it before the work when nothing could be written into it.

    Raises
    ------
    OSError
        When it is a file, or cannot be made or written to.
    """
    from napari_sam2_adapters.atomic import check_writable

    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"--output {folder} is a file. Choose a folder.")
    check_writable(folder)


def check_output_file(path: Path, option: str, example: str) -> None:
    """Refuse a folder where a file is meant.

    Parameters
    ----------
    path
        What was given.
    option
        By which option.
    example
        Name for a file in that folder.

    Raises
    ------
    IsADirectoryError
        When it is a folder.
    """
    if path.is_dir():
        raise IsADirectoryError(
            f"{option} {path} is a folder. Give a file in it, such as {path / example}."
        )


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
