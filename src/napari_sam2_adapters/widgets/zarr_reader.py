"""Opening OME-Zarr in napari, which by itself reads its arrays without scale, channels and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.io import labels_inside, ome_zarr_kind, read_image, read_labels
from napari_sam2_adapters.widgets.loading.file_layers import FileLayer, labels_layer
from napari_sam2_adapters.widgets.loading.loading import layers_of

__all__ = ["get_zarr_reader", "read_ome_zarr"]

LayerData = tuple[Any, dict[str, Any], str]


def get_zarr_reader(
    path: str | Sequence[str],
) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """The reader of OME-Zarr; None for a zarr that does not say it is an image, which napari may read."""
    try:
        ours = all(ome_zarr_kind(Path(name)) for name in _listed(path))
    except ValueError:  # no zarr at all, whatever its name is
        return None
    return read_ome_zarr if ours else None


def read_ome_zarr(path: str | Sequence[str]) -> list[LayerData]:
    """Layers of images with the labels that they hold; each channel is a layer of its own, colours are one.

    Raises
    ------
    ValueError
        When an image cannot be read, or its labels do not fit it.
    """
    layers: list[FileLayer] = []
    for name in _listed(path):
        layers += _layers(Path(name))
    return [(layer.data, layer.keywords, layer.kind) for layer in layers]


def _layers(path: Path) -> list[FileLayer]:
    if ome_zarr_kind(path) == "labels":
        return [labels_layer(read_labels(path))]
    image = read_image(path)
    inside = labels_inside(path)
    layers = layers_of(image, "rgb" if image.rgb else "layers", None, None)
    return layers + [_named(image, read_labels(labels)) for labels in inside]


def _named(image: ImageFile, labels: ImageFile) -> FileLayer:
    """Labels by the name of their group, where they say they lie: they need not cover the image."""
    return labels_layer(labels, name=f"{image.path.name} – {labels.path.name}")


def _listed(path: str | Sequence[str]) -> list[str]:
    return [path] if isinstance(path, str) else list(path)
