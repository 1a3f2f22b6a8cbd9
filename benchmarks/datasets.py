"""Readers of the annotated data sets that accuracy is measured on, with the protocol of each.

Nothing here is shipped or copied: ``--data DIR`` names a folder with ``isbi2012``, ``drive``, ``kvasir_seg``, ``acdc`` and ``dsb2018``; only
``sample`` comes with the package.
Splits go by image, slice or patient. Only training images are ever used to choose something.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from skimage.transform import resize

from napari_sam2_adapters.config import ClassInfo, default_classes
from napari_sam2_adapters.data.pairs import Pair
from napari_sam2_adapters.data.samples import load_sample

__all__ = ["DATASETS", "SAMPLE", "LabelledImage", "Split", "read_dataset"]

_MOST_DRAWS = 1000
SAMPLE = "sample"
"""Name of the package's own sample of nuclei in fluorescence, which needs no folder."""


@dataclass(frozen=True)
class LabelledImage:
    """An image (H, W) or (H, W, 3) with its label values (H, W); -1 does not count."""

    name: str
    image: NDArray[np.generic]
    labels: NDArray[np.int16]

    @property
    def rgb(self) -> bool:
        """Whether the last axis holds colours."""
        return self.image.ndim == 3


@dataclass(frozen=True)
class Split:
    """A data set as its protocol divides it."""

    train: list[LabelledImage]
    test: list[LabelledImage]
    classes: tuple[ClassInfo, ...]
    crop_size_px: int
    """Side of a training crop, by the protocol."""
    also: frozenset[str] = frozenset()
    """Measures of this data set alone: ``regions`` (V_rand, V_info; class 1 is the membrane), ``auc`` (of class 1), ``volumes`` (Dice of all
    slices of a volume together; its name ends where ``_slice_`` begins)."""

    def without_test(self) -> Split:
        """The training images alone, every fifth image (or patient) of them as test: for choosing settings."""
        groups = sorted({item.name.split("_")[0] for item in self.train})
        apart = set(groups[::5])
        train = [item for item in self.train if item.name.split("_")[0] not in apart]
        test = [item for item in self.train if item.name.split("_")[0] in apart]
        return replace(self, train=train, test=test)

    def choose(self, count: int | None, seed: int) -> list[LabelledImage]:
        """All training images, or ``count`` of them drawn by ``seed`` until every class is there.

        Raises
        ------
        SystemExit
            When a thousand draws did not bring all classes together, as with one image where none has them all.
        """
        if count is None or count >= len(self.train):
            return self.train
        generator = np.random.default_rng(seed)
        values = {c.value for c in self.classes}
        found = [set(np.unique(item.labels).tolist()) for item in self.train]
        for _ in range(_MOST_DRAWS):
            drawn = generator.choice(len(self.train), count, replace=False)
            if values <= set().union(*(found[i] for i in drawn)):
                return [self.train[i] for i in drawn]
        raise SystemExit(
            f"In {_MOST_DRAWS} draws of {count} of the {len(self.train)} training images, a class was always missing. "
            "Choose a regime with more images."
        )


def read_dataset(name: str, folder: Path | None) -> Split:
    """Read one data set from ``folder / name``, or the sample; see `DATASETS` for the names."""
    if name == SAMPLE:
        return _sample()
    if name not in DATASETS:
        raise SystemExit(f"There is no data set {name!r}. Choose one of {', '.join(DATASETS)}.")
    if folder is None:
        raise SystemExit("Give the folder of the data sets with --data.")
    place = folder / name.removesuffix("_fluorescence")
    if not place.is_dir():
        raise SystemExit(
            f"There is no folder {place}. Give the folder of the data sets with --data."
        )
    return DATASETS[name](place)


def _isbi2012(folder: Path) -> Split:
    """ssTEM: 30 slices resized to 256², slice i is test when i % 3 == 0, crops of 128² (the laboratory's protocol)."""
    slices = [_resized(item, 256, 256) for item in _read(sorted((folder / "images").glob("*.png")))]
    test = [item for i, item in enumerate(slices) if i % 3 == 0]
    train = [item for i, item in enumerate(slices) if i % 3 != 0]
    return Split(train, test, _named(["background", "membrane"]), 128, frozenset({"regions"}))


def _kvasir_seg(folder: Path) -> Split:
    """Polyps in colonoscopy, 224² (the laboratory's protocol)."""
    parts = [
        [
            _resized(item, 224, 224)
            for item in _read(sorted((folder / part / "images").glob("*.jpg")))
        ]
        for part in ("train", "test")
    ]
    return Split(parts[0], parts[1], _named(["background", "polyp"]), 224)


def _drive(folder: Path) -> Split:
    """Retinal vessels, scored inside the field of view."""
    parts = []
    for part in ("training", "testing"):
        items = []
        for item in _read(sorted((folder / part / "images").glob("*.png"))):
            view = imagecodecs.imread(folder / part / "fov" / f"{item.name}.png") > 0
            items.append(
                LabelledImage(
                    item.name, item.image, np.where(view, item.labels, -1).astype(np.int16)
                )
            )
        parts.append(items)
    return Split(parts[0], parts[1], _named(["background", "vessel"]), 224, frozenset({"auc"}))


def _acdc(folder: Path) -> Split:
    """Cardiac MR by patient: number < 70 train, ≥ 70 test; its own challenge scores whole volumes (Bernard 2018)."""
    parts: dict[bool, list[LabelledImage]] = {True: [], False: []}
    for item in _read(sorted((folder / "images").glob("*.png"))):
        patient = re.match(r"patient(\d+)_", item.name)
        if patient is None:
            raise SystemExit(f"{item.name} in {folder} does not begin with patientNNN_.")
        parts[int(patient[1]) < 70].append(item)
    names = ["background", "right ventricle", "myocardium", "left ventricle"]
    return Split(parts[True], parts[False], _named(names), 224, frozenset({"volumes"}))


def _dsb2018(folder: Path) -> Split:
    """Nuclei of every kind, all images as RGB; first hex digit of the name 0–b train, c–f test."""
    items = [
        LabelledImage(item.name, _as_rgb(item.image), (item.labels > 0).astype(np.int16))
        for item in _read(sorted((folder / "images").glob("*.png")))
    ]
    return _by_hash(items)


def _dsb2018_fluorescence(folder: Path) -> Split:
    """The grey, dark-background images of DSB2018 as single-channel images."""
    items = [
        LabelledImage(item.name, item.image, (item.labels > 0).astype(np.int16))
        for item in _read(sorted((folder / "images").glob("*.png")))
        if item.image.ndim == 2 and np.median(item.image) < 64
    ]
    return _by_hash(items)


def _sample() -> Split:
    """Nuclei in fluorescence from the package: background, nucleus and border, labelled from 0 here."""
    sample = load_sample("fluorescence")
    first = sample.classes[0].value

    def read(pair: Pair) -> LabelledImage:
        labels = np.asarray(pair.labels).astype(np.int16) - first
        return LabelledImage(pair.name, np.asarray(pair.image), labels.astype(np.int16))

    train, test = (
        [read(pair) for pair in pairs] for pairs in (sample.train_pairs(), sample.held_out_pairs())
    )
    return Split(train, test, _named([c.name for c in sample.classes]), 128)


DATASETS: dict[str, Callable[[Path], Split]] = {
    "isbi2012": _isbi2012,
    "drive": _drive,
    "kvasir_seg": _kvasir_seg,
    "acdc": _acdc,
    "dsb2018": _dsb2018,
    "dsb2018_fluorescence": _dsb2018_fluorescence,
}


def _by_hash(items: list[LabelledImage]) -> Split:
    train = [item for item in items if item.name[0] in "0123456789ab"]
    test = [item for item in items if item.name[0] in "cdef"]
    return Split(train, test, _named(["background", "nucleus"]), 224)


def _read(paths: Iterable[Path]) -> Iterable[LabelledImage]:
    for path in paths:
        labels = imagecodecs.imread(path.parents[1] / "labels" / f"{path.stem}.png")
        yield LabelledImage(path.stem, imagecodecs.imread(path), labels.astype(np.int16))


def _resized(item: LabelledImage, height: int, width: int) -> LabelledImage:
    shape = (height, width, *item.image.shape[2:])
    image = resize(item.image, shape, order=1, anti_aliasing=True, preserve_range=True)
    labels = resize(item.labels, (height, width), order=0, anti_aliasing=False, preserve_range=True)
    return LabelledImage(
        item.name, np.rint(image).astype(item.image.dtype), labels.astype(np.int16)
    )


def _as_rgb(image: NDArray[np.generic]) -> NDArray[np.generic]:
    return image[..., :3] if image.ndim == 3 else np.stack([image] * 3, axis=-1)


def _named(names: list[str]) -> tuple[ClassInfo, ...]:
    plain = default_classes(list(range(len(names))))
    return tuple(c.model_copy(update={"name": name}) for c, name in zip(plain, names, strict=True))
