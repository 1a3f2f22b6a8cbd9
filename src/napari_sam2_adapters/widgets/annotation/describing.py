"""What of a labels layer is saved with its pixels."""

from __future__ import annotations

from napari.layers import Labels

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.widgets.annotation.snapshots import LabelsToSave
from napari_sam2_adapters.widgets.docks.arrays import without_axis
from napari_sam2_adapters.widgets.docks.layers import placement
from napari_sam2_adapters.widgets.docks.turned import direction_in

__all__ = ["describe_labels"]


def describe_labels(
    layer: Labels, classes: tuple[ClassInfo, ...], image: str, spread: int | None = None
) -> LabelsToSave:
    """What is needed to save a labels layer in a worker and to restore it.

    Parameters
    ----------
    layer
        The layer.
    classes
        Its classes.
    image
        Name of the image that it belongs to.
    spread
        Axis that it has in place of the image's channels.
    """
    direction = direction_in(layer.metadata)
    return LabelsToSave(
        name=str(layer.name),
        labels=without_axis(layer.data, spread),
        classes=classes,
        placement=placement(layer),
        image=image,
        layer_id=str(layer.unique_id),
        spread=spread,
        direction=None if direction is None else direction.tolist(),
    )
