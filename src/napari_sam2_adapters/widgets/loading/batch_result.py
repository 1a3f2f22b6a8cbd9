"""Reading an image of a batch with its labels, in a worker."""

from __future__ import annotations

from napari_sam2_adapters.batch.records import ItemRecord
from napari_sam2_adapters.data.io import read_image, read_labels
from napari_sam2_adapters.widgets.loading.file_layers import (
    FileLayer,
    classes_beside,
    image_layer,
    labels_layer,
    spread_over,
)

__all__ = ["read_result"]


def read_result(record: ItemRecord, shown_axes: int | None) -> tuple[FileLayer, ...]:
    """The layers of an image and its labels.

    Parameters
    ----------
    record
        The image.
    shown_axes
        Axes of the layer that shows it already; None where there is none.
    """
    layers = []
    image = read_image(record.item.source)
    if shown_axes is None:
        layers.append(image_layer(image, channels="rgb" if image.rgb else "axis"))
    labels = record.item.outputs.get("labels")
    if record.status == "done" and labels is not None:
        file = read_labels(labels)
        laid = labels_layer(
            file,
            classes_beside(labels),
            name=f"{labels.name} – labels",
            show_background=False,
        )
        with_channels = not image.rgb if shown_axes is None else shown_axes == len(image.axes)
        fits = len(file.axes) == len(image.axes) - 1
        layers.append(spread_over(laid, image) if with_channels and fits else laid)
    return tuple(layers)
