"""Small labelled images in folders, and adapters that were trained on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_sam2_adapters.cli import app

SETTINGS = """
classes: [{value: 1, name: dark}, {value: 2, name: bright}]
train: {steps: 8, batch_size: 2, crop_size_px: 64, validate_every: 8, held_out_fraction: 0.3}
model: {adapter: lw, seed: 5}
"""


def blob_image(seed: int, side: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Bright discs on a dark, noisy ground, (side, side) uint16, and labels 1 ground and 2 disc."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    labels = np.ones((side, side), np.uint8)
    for row, column in rng.integers(12, side - 12, (4, 2)):
        labels[(rows - row) ** 2 + (columns - column) ** 2 < 100] = 2
    image = 200 + 600 * (labels == 2) + rng.normal(0, 40, labels.shape)
    return image.astype(np.uint16), labels


@pytest.fixture(scope="session")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``images/`` and ``labels/``: three TIFFs of 0.5 × 0.25 µm pixels."""
    folder = tmp_path_factory.mktemp("blobs")
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for seed in range(3):
        image, labels = blob_image(seed)
        for kind, array in (("images", image), ("labels", labels)):
            tifffile.imwrite(
                folder / kind / f"cell{seed}.tif",
                array,
                imagej=True,
                resolution=(4.0, 2.0),
                metadata={"unit": "um"},
            )
    (folder / "settings.yaml").write_text(SETTINGS)
    return folder


@pytest.fixture(scope="session")
def trained(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter on the mobile backbone, trained by the command line for a few steps."""
    output = tmp_path_factory.mktemp("trained") / "blobs.adapter.safetensors"
    command = [
        *("train", "--device", "cpu", "--images", str(blobs / "images")),
        *("--labels", str(blobs / "labels"), "--settings", str(blobs / "settings.yaml")),
        *("--output", str(output)),
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return output
