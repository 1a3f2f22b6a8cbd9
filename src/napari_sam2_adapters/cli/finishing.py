"""What ``predict`` does to masks after the network: specks and holes, single objects, and measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam2_adapters.batch.extras import ruler_of
from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.axes import in_axes, label_axes
from napari_sam2_adapters.data.io import read_image, read_labels, write_labels
from napari_sam2_adapters.data.losses import lost_in_file
from napari_sam2_adapters.inference.rules import LARGEST_PX, ClassRule, PostprocessConfig
from napari_sam2_adapters.wording import did_you_mean

if TYPE_CHECKING:
    from napari_sam2_adapters.data.image_file import ImageFile

__all__ = ["Finishing", "settle_finishing"]


@dataclass(frozen=True)
class Finishing:
    """What to do to a mask that the network gave.

    Attributes
    ----------
    rules
        Specks, holes and objects of each class.
    classes
        All classes of the adapter.
    measured
        Whether objects, or where there are none classes, are measured.
    """

    rules: PostprocessConfig
    classes: tuple[ClassInfo, ...]
    measured: bool = False

    def files(self, ending: str) -> dict[str, str]:
        """What follows the name in that of each file beside a mask, by its kind; numbered objects have the ending."""
        objects = {"objects": f"_objects.{ending}"} if self.rules.object_values else {}
        return objects | ({"table": "_measured.csv"} if self.measured else {})

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.rules.cleans or self.rules.object_values or self.measured)

    def finish(self, raw: Path, source: Path, files: Mapping[str, Path], *, overwrite: bool) -> str:
        """Tidy and measure a mask, write what is to be written, and say what of the image's place the mask cannot hold.

        Parameters
        ----------
        raw
            The mask as the network gave it.
        source
            Its image, for grey values.
        files
            Where to write ``objects``, ``table`` and last ``labels``, those that are wanted.
        overwrite
            Whether to replace files.

        Raises
        ------
        ValueError, OSError
            When something cannot be read or written.
        """
        from napari_sam2_adapters.inference.measure import write_csv
        from napari_sam2_adapters.inference.postprocess import postprocess

        stored, image = read_labels(raw), read_image(source)
        axes = label_axes(image.axes)
        labels = in_axes(stored.array, stored.axes, axes)
        cleaned = np.zeros(labels.shape, labels.dtype)
        objects = np.zeros(labels.shape, np.uint32) if self.rules.object_values else None
        found: list[int] = []
        for block in postprocess(
            labels,
            axes,
            self.rules,
            classes=[info.value for info in self.classes],
            cleaned=cleaned,
            objects=objects,
        ):
            found += block.object_classes.tolist()
        place: dict[str, Any] = {"axes": axes, "geometry": image.geometry, "overwrite": overwrite}
        if "objects" in files and objects is not None:
            write_labels(files["objects"], objects, source=source, **place)
        if "table" in files:
            measured = cleaned if objects is None else objects
            write_csv(files["table"], self._measure(measured, axes, image, found), overwrite=overwrite)  # fmt: skip
        if "labels" in files:  # where the mask lies, the image is done
            write_labels(files["labels"], cleaned, classes=self.classes, source=source, **place)
            return lost_in_file(files["labels"], image.geometry)
        return ""

    def _measure(
        self, labels: Any, axes: str, image: ImageFile, found: Sequence[int]
    ) -> dict[str, Any]:
        """A row for each object, or where none are numbered for each class, in each slice or volume."""
        from napari_sam2_adapters.inference.measured_table import measured_table

        known = {info.value: info.name for info in self.classes}
        names = {n: known[value] for n, value in enumerate(found, 1)} if found else known
        return measured_table(
            labels,
            axes,
            ruler_of(image),
            together=self.rules.together,
            image=image.array,
            image_axes=image.axes,
            names=names,
        )


def settle_finishing(
    classes: tuple[ClassInfo, ...],
    *,
    min_size: Sequence[str],
    fill_holes: Sequence[str],
    only_largest: Sequence[str],
    instances: Sequence[str],
    volumes: bool,
    measured: bool,
) -> Finishing:
    """From what was typed to rules.

    Parameters
    ----------
    classes
        Those of the adapter.
    min_size, fill_holes
        ``PIXELS`` for every class but background, or ``CLASS=PIXELS``.
    only_largest, instances
        Classes by name or value.
    volumes
        Whether slices of a stack belong together.
    measured
        Whether to measure.

    Raises
    ------
    ValueError
        When a class is not known or a number is none.
    """
    smallest, holes = (
        _pixels(flag, typed, classes)
        for flag, typed in (("--min-size", min_size), ("--fill-holes", fill_holes))
    )
    largest, numbered = (
        {_class(name, classes).value for name in names} for names in (only_largest, instances)
    )
    rules = tuple(
        ClassRule(
            value=info.value,
            smallest_px=smallest.get(info.value, 0),
            fill_holes_px=holes.get(info.value, 0),
            only_largest=info.value in largest,
            objects=info.value in numbered,
        )
        for info in classes
    )
    together: Literal["slices", "volumes"] = "volumes" if volumes else "slices"
    return Finishing(PostprocessConfig(rules=rules, together=together), classes, measured)


def _pixels(flag: str, typed: Sequence[str], classes: Sequence[ClassInfo]) -> dict[int, int]:
    """Number of pixels for each class value; what is said for one class holds over what is said for all."""
    own: dict[int, int] = {}
    for_all: dict[int, int] = {}
    for text in typed:
        name, equals, number = text.rpartition("=")
        if not number.strip().isdecimal() or int(number) > LARGEST_PX:
            raise ValueError(
                f"{flag} takes PIXELS, up to {LARGEST_PX:,}, or CLASS=PIXELS, such as 50 or {classes[-1].name}=50, but got {text!r}. Correct it."
            )
        if equals:
            own[_class(name, classes).value] = int(number)
        else:
            for_all |= {
                info.value: int(number)
                for info in classes
                if info.value and info.name.lower() != "background"
            }
    return for_all | own


def _class(name: str, classes: Sequence[ClassInfo]) -> ClassInfo:
    wanted = name.strip()
    for info in classes:
        if wanted in (info.name, str(info.value)):
            return info
    raise ValueError(
        f"The adapter knows no class {wanted!r}: {did_you_mean(wanted, [info.name for info in classes])}"
    )
