"""An image of a batch and its labels, opened together or one after the other."""

import os
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_sam2_adapters.batch.plan import Item
from napari_sam2_adapters.batch.records import ItemRecord
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import read_image, write_array, write_labels
from napari_sam2_adapters.widgets.loading.batch_result import read_result
from napari_sam2_adapters.widgets.loading.file_layers import find_loaded, image_layer

PLACE = Geometry((3, 0.5, 0.5), "micrometer", (7, 1, 2))


def value_on(labels: Labels, image: Image, place: tuple[int, ...]) -> int:
    """The label where a pixel of an image lies."""
    found = np.round(labels.world_to_data(image.data_to_world(place))).astype(int)
    return int(labels.data[tuple(found)])


@pytest.fixture
def record(tmp_path: Path) -> ItemRecord:
    """Five slices of two channels, and labels that number the slices."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (5, 2, 20, 30), dtype=np.uint8)
    labels = np.broadcast_to(np.arange(5, dtype=np.uint8)[:, None, None], (5, 20, 30))
    source = write_array(tmp_path / "i.ome.tif", image, axes="ZCYX", geometry=PLACE)
    result = write_labels(
        tmp_path / "m.ome.tif", np.array(labels), axes="ZYX", geometry=PLACE, source=source
    )
    return ItemRecord(Item(0, "i", source, {"labels": result}), "done")


def test_labels_are_on_their_slices_beside_channels(record: ItemRecord) -> None:
    viewer = ViewerModel()
    for layer in read_result(record, None):
        layer.add_to(viewer)
    image, labels = viewer.layers
    for z, channel in ((4, 0), (4, 1), (1, 1)):
        assert value_on(labels, image, (z, channel, 3, 4)) == z


def test_labels_fit_an_image_that_is_shown_as_a_layer_for_each_channel(record: ItemRecord) -> None:
    viewer = ViewerModel()
    image, *_ = image_layer(read_image(record.item.source), channels="layers").add_to(viewer)
    (found,) = read_result(record, image.ndim)
    (labels,) = found.add_to(viewer)
    assert value_on(labels, image, (4, 3, 4)) == 4
    (beside,) = read_result(record, image.ndim + 1)
    assert beside.add_to(viewer)[0].data.shape == (5, 1, 20, 30)


def test_a_result_that_was_written_again_is_opened_again(record: ItemRecord) -> None:
    viewer = ViewerModel()
    for layer in read_result(record, None):
        layer.add_to(viewer)
    image, labels = viewer.layers
    result = record.item.outputs["labels"]
    assert find_loaded(viewer, result) is labels
    write_labels(result, np.full((5, 20, 30), 3), axes="ZYX", geometry=PLACE, overwrite=True)
    os.utime(result, ns=(0, 1))  # on a disk whose clock is coarse
    assert find_loaded(viewer, result) is None
    assert find_loaded(viewer, record.item.source) is image
    (again,) = read_result(record, image.ndim)
    (fresh,) = again.add_to(viewer)
    assert find_loaded(viewer, result) is fresh
    assert (np.asarray(fresh.data) == 3).all()
