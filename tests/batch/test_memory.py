"""An image that is far larger than what may be held of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_sam2_adapters.data.io import read_labels

SIDE = 16_384
MOST_BYTES = 2e9
SEGMENT = """
import json, resource, sys, torch
from pathlib import Path
from types import SimpleNamespace
from napari_sam2_adapters.batch.segment_file import segment_file
from napari_sam2_adapters.config import Normalization, PredictConfig, default_classes
torch.set_num_threads(1)

class Threshold(torch.nn.Module):
    # two classes, dark and bright: all that is held besides the network is as with any other one
    classes, n_classes = default_classes([1, 2]), 2
    config = SimpleNamespace(input_channels=1)
    device = torch.device("cpu")

    def forward(self, batch):
        return torch.cat([0.5 - batch, batch - 0.5], dim=1)

header = SimpleNamespace(
    normalization=Normalization(mode="range", low=0, high=255),
    pixel_size=None, unit=None, classes=Threshold.classes,
)
source, target = map(Path, sys.argv[1:])
tiles = segment_file(
    Threshold().eval(), header, source, {"labels": target}, PredictConfig(tile_size_px=1024, overlap=0.1), overwrite=False
)
while True:
    try:
        next(tiles)
    except StopIteration as end:
        pixels = end.value.pixels
        break
if sys.platform == "darwin":
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
else:  # what Linux tells there begins with what the parent held when it made this process
    status = Path("/proc/self/status").read_text()
    (peak,) = (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
print(json.dumps({"peak": peak, "pixels": pixels}))
"""


def segment(image: Path, labels: Path) -> dict[str, Any]:
    """What a process of its own tells of an image."""
    command = [sys.executable, "-c", SEGMENT, str(image), str(labels)]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell the peak of memory in this way")
def test_16k_by_16k_in_less_than_2_gb(tmp_path: Path) -> None:
    """268 Mpx of 16 bits into OME-Zarr: the image is 537 MB, and a run in one piece would hold 2.1 GB of logits."""
    image = zarr.create_array(
        str(tmp_path / "huge.zarr"), shape=(SIDE, SIDE), chunks=(1024, 1024), dtype=np.uint16
    )
    rows = np.arange(SIDE) // 64  # 0 to 255 from top to bottom
    for row in range(0, SIDE, 1024):
        part = rows[row : row + 1024, np.newaxis].astype(np.uint16)
        image[row : row + 1024] = np.broadcast_to(part, (1024, SIDE))
    told = segment(tmp_path / "huge.zarr", tmp_path / "labels.ome.zarr")
    assert told["pixels"] == {"class 1": SIDE**2 // 2, "class 2": SIDE**2 // 2}
    assert told["peak"] < MOST_BYTES, told
    labels = read_labels(tmp_path / "labels.ome.zarr").array
    for row in (0, 8000, 8191, 8192, 8193, SIDE - 1):
        assert np.unique(labels[row]).tolist() == [1 + (row > SIDE // 2 - 1)]


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell the peak of memory in this way")
def test_memory_does_not_grow_with_a_tiled_tiff(tmp_path: Path) -> None:
    """Of 42 and 336 MB of pixels, both more than what is read at once; the labels are an eighth of that."""
    side, most = 512, []
    tile = np.zeros((side, side))
    tile[:, side // 2 :] = 255
    for height in (5120, 40_960):
        path = tmp_path / f"{height}.tif"
        pixels = height * 2 * side
        tifffile.imwrite(
            path,
            (tile for _ in range(pixels // side**2)),
            shape=(height, 2 * side),
            dtype=tile.dtype,
            tile=tile.shape,
            compression="zlib",
        )
        told = segment(path, tmp_path / f"{height}.ome.zarr")
        assert told["pixels"] == {"class 1": pixels // 2, "class 2": pixels // 2}
        most.append(told["peak"])
    assert most[1] - most[0] < 1e8, most
