"""What is done to a mask after the network."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from napari_sam2_adapters.cli.finishing import settle_finishing
from napari_sam2_adapters.config import default_classes
from napari_sam2_adapters.data.io import read_labels, write_labels


@pytest.mark.parametrize("depth", [3, 6])  # 6: as many as rows
def test_slices_along_the_last_axis_are_tidied_and_measured_as_such(
    tmp_path: Path, depth: int
) -> None:
    """The mask of the network lies in a file that stores rows and columns last."""
    image, raw = tmp_path / "image.npz", tmp_path / "raw.npz"
    pixels = np.zeros((6, 6, depth), np.uint8)
    pixels[:] = np.arange(depth)
    np.savez(image, array=pixels, axes="YXZ")
    labels = np.ones_like(pixels)
    labels[1:3, 1:4, 0] = labels[4, 4, 0] = labels[0, 0, 1] = 2
    write_labels(raw, labels, axes="YXZ")
    finishing = settle_finishing(
        default_classes([1, 2]),
        min_size=["2"],
        fill_holes=(),
        only_largest=(),
        instances=["2"],
        volumes=False,
        measured=True,
    )
    files = {
        "objects": tmp_path / "objects.tif",
        "table": tmp_path / "t.csv",
        "labels": tmp_path / "m.tif",
    }
    finishing.finish(raw, image, files, overwrite=False)
    labels[4, 4, 0] = labels[0, 0, 1] = 1
    mask, objects = read_labels(files["labels"]), read_labels(files["objects"])
    assert mask.axes == objects.axes == "ZYX"
    np.testing.assert_array_equal(np.moveaxis(mask.array, 0, -1), labels)
    np.testing.assert_array_equal(np.asarray(objects.array) == 1, np.asarray(mask.array) == 2)
    with files["table"].open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["index"], row["class"], row["z"], row["pixels"]) == ("1", "class 2", "0", "6")
