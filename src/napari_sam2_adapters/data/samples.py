"""Sample data that come with the package: nuclei in fluorescence and in stained tissue, with labels.

From the Data Science Bowl 2018 (CC0), made by ``scripts/make_samples.py``. Dense labels have the classes
background, nucleus and border, the border being a band of 4 px along every outline; strokes label a few per
cent of the training images as a person would.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.io import read_image, read_labels
from napari_sam2_adapters.data.matching import find_images
from napari_sam2_adapters.data.pairs import Pair

__all__ = ["SAMPLE_CLASSES", "SAMPLE_NAMES", "Sample", "load_sample", "sample_folder"]

# Of Okabe and Ito's palette, those three that stay farthest apart for readers of every colour vision.
SAMPLE_CLASSES = (
    ClassInfo(value=1, name="background", color="#56b4e9"),
    ClassInfo(value=2, name="nucleus", color="#f0e442"),
    ClassInfo(value=3, name="border", color="#d55e00"),
)
_TITLES = {"fluorescence": "Nuclei in fluorescence", "tissue": "Nuclei in stained tissue"}
SAMPLE_NAMES = tuple(_TITLES)


@dataclass(frozen=True)
class Sample:
    """Images of one kind of one size, stacked, with their labels.

    Attributes
    ----------
    name, title
        Name to load it by, and what it is called in a menu.
    axes
        Axes of a single image, ``"YX"`` or ``"YXC"``.
    rgb
        Whether the images are in colour.
    classes
        Classes of dense labels and strokes.
    train_images, held_out_images
        (N, 256, 256) or (N, 256, 256, 3) uint8.
    train_labels, held_out_labels
        (N, 256, 256) uint8 dense labels.
    train_strokes
        (N, 256, 256) uint8 painted labels, 0 where nothing is painted.
    """

    name: str
    title: str
    axes: str
    rgb: bool
    classes: tuple[ClassInfo, ...]
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    train_strokes: NDArray[np.uint8]
    held_out_images: NDArray[np.uint8]
    held_out_labels: NDArray[np.uint8]

    def train_pairs(self, *, strokes: bool = False) -> list[Pair]:
        """Training images with dense labels, or with strokes."""
        labels = self.train_strokes if strokes else self.train_labels
        return self._pairs(self.train_images, labels, "train")

    def held_out_pairs(self) -> list[Pair]:
        """Images that are not learnt from, with dense labels."""
        return self._pairs(self.held_out_images, self.held_out_labels, "held_out")

    def _pairs(self, images: NDArray[Any], labels: NDArray[Any], part: str) -> list[Pair]:
        return [
            Pair(image, label, self.axes, f"{part}_{number}", self.rgb)
            for number, (image, label) in enumerate(zip(images, labels, strict=True), start=1)
        ]


def sample_folder(name: str) -> Path:
    """Folder of a sample: ``images/``, ``labels/`` and ``strokes/`` with PNG files of the same names.

    Raises
    ------
    ValueError
        When there is no sample of this name.
    """
    if name not in _TITLES:
        raise ValueError(
            f"There is no sample named {name!r}. The samples are {', '.join(SAMPLE_NAMES)}."
        )
    return Path(str(resources.files("napari_sam2_adapters").joinpath("samples", name)))


def load_sample(name: str) -> Sample:
    """Read the sample ``fluorescence`` (grey) or ``tissue`` (colour).

    Raises
    ------
    ValueError
        When there is no sample of this name.
    """
    folder = sample_folder(name)
    first = read_image(folder / "images" / "train_1.png")
    return Sample(
        name=name,
        title=_TITLES[name],
        axes=first.axes,
        rgb=first.rgb,
        classes=SAMPLE_CLASSES,
        train_images=_stack(folder / "images", "train"),
        train_labels=_stack(folder / "labels", "train"),
        train_strokes=_stack(folder / "strokes", "train"),
        held_out_images=_stack(folder / "images", "held_out"),
        held_out_labels=_stack(folder / "labels", "held_out"),
    )


def _stack(folder: Path, part: str) -> NDArray[np.uint8]:
    read = read_image if folder.name == "images" else read_labels
    files = find_images(folder, f"{part}_*.png")
    return np.stack([np.asarray(read(path).array, np.uint8) for path in files])
