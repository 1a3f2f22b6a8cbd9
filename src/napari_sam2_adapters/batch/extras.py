"""What is written for an image besides its labels: a table of measurements, and a small picture of the classes over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.batch.reasons import disk_is_unusable, reason_of
from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.axes import ArrayLike, label_axes
from napari_sam2_adapters.data.image_file import ImageFile

if TYPE_CHECKING:
    from napari_sam2_adapters.inference.ruler import Ruler

__all__ = ["ruler_of", "write_extras"]


def write_extras(
    image: ImageFile,
    labels: ArrayLike,
    classes: tuple[ClassInfo, ...],
    extras: Mapping[str, Path],
    *,
    overwrite: bool,
) -> tuple[str, ...]:
    """Write files besides the labels; gives a sentence for each that could not be written, since the labels are good without.

    Parameters
    ----------
    image
        The image.
    labels
        Label values, with the axes of the image but C.
    classes
        What the values mean.
    extras
        Files by kind: ``measurements``, ``overlay``.
    overwrite
        Whether to replace files.

    Raises
    ------
    OSError
        When the disk is full or gone.
    """
    notices = []
    for kind, path in extras.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _WRITERS[kind](image, labels, classes, path, overwrite)
        except (
            Exception
        ) as error:  # whatever is wrong with a table or a picture, the labels are done
            if disk_is_unusable(error):
                raise
            notices.append(
                f"The file {path.name} in {path.parent.name} was not written: {reason_of(error)}"
            )
    return tuple(notices)


def ruler_of(image: ImageFile) -> Ruler:
    """From positions in the labels of an image to the world that its file speaks of."""
    from napari_sam2_adapters.inference.ruler import Ruler

    axes = label_axes(image.axes)
    matrix = np.eye(len(axes) + 1)
    if image.geometry is None:
        return Ruler(matrix)
    spatial = [axes.index(axis) for axis in "ZYX" if axis in axes]
    matrix[np.ix_([*spatial, -1], [*spatial, -1])] = image.geometry.affine()
    if "T" in axes and image.geometry.time_step is not None:
        matrix[axes.index("T"), axes.index("T")] = image.geometry.time_step
    return Ruler(matrix, image.geometry.unit, image.geometry.time_unit)


def _write_measurements(
    image: ImageFile,
    labels: ArrayLike,
    classes: tuple[ClassInfo, ...],
    path: Path,
    overwrite: bool,
) -> None:
    from napari_sam2_adapters.inference.measure import write_csv
    from napari_sam2_adapters.inference.measured_table import measured_table

    table = measured_table(
        labels,
        label_axes(image.axes),
        ruler_of(image),
        image=image.array,
        image_axes=image.axes,
        names={entry.value: entry.name for entry in classes},
    )
    write_csv(path, table, overwrite=overwrite)


def _write_overlay(
    image: ImageFile,
    labels: ArrayLike,
    classes: tuple[ClassInfo, ...],
    path: Path,
    overwrite: bool,
) -> None:
    import imagecodecs

    from napari_sam2_adapters.inference.overlay import overlay_picture

    picture = overlay_picture(image.array, image.axes, labels, classes, rgb=image.rgb)
    encoded = imagecodecs.png_encode(picture)
    write_atomically(path, lambda file: file.write(encoded), overwrite=overwrite)


_WRITERS: dict[str, Callable[[ImageFile, ArrayLike, tuple[ClassInfo, ...], Path, bool], None]] = {
    "measurements": _write_measurements,
    "overlay": _write_overlay,
}
