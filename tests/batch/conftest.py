"""A saved adapter on the built-in backbone, and folders of small images of which some are broken."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
import numpy as np
import pytest
import tifffile
import torch
from distributed import Client, Scheduler, SpecCluster

from napari_sam2_adapters.batch.cluster import PATIENCE, local_workers
from napari_sam2_adapters.batch.job import BatchJob
from napari_sam2_adapters.config import ModelConfig, Normalization, default_classes


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Factory of adapter files with the classes 1 and 2 and a tile of 64 px; each is made once."""
    from napari_sam2_adapters.models.checkpoints import build_segmenter
    from napari_sam2_adapters.models.model_file import SUFFIX, save_adapter

    folder = tmp_path_factory.mktemp("models")

    def save(seed: int = 0) -> Path:
        path = folder / f"cells-{seed}{SUFFIX}"
        if not path.exists():
            config = ModelConfig(adapter="lw", input_channels=1, seed=seed)
            segmenter = build_segmenter(config, default_classes([1, 2]))
            # A fresh network sees one class everywhere, and any two masks would be alike.
            generator = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                for parameter in filter(lambda p: p.requires_grad, segmenter.parameters()):
                    parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.03)
            save_adapter(
                path,
                segmenter,
                normalization=Normalization(mode="percentile"),
                tile_size_px=64,
                pixel_size=(0.5, 0.5),
                unit="micrometer",
            )
        return path

    return save


def small_image(seed: int, side: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 60, (side, side), dtype=np.uint8)
    image[:, side // 2 :] += 150
    return image


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """Write an image of 0.5 µm pixels: ``write_image(path, seed=3, side=40)``."""

    def write(path: Path, seed: int = 0, side: int = 40) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        size = {"resolution": (2.0, 2.0), "metadata": {"unit": "um"}}
        tifffile.imwrite(path, small_image(seed, side), imagej=True, **size)
        return path

    return write


@pytest.fixture
def images(tmp_path: Path, write_image: Callable[..., Path]) -> Path:
    """A folder of four images."""
    for number in range(4):
        write_image(tmp_path / "images" / f"cell {number}.tif", number)
    return tmp_path / "images"


@pytest.fixture
def job(images: Path, tmp_path: Path, saved_model: Callable[..., Path]) -> BatchJob:
    """Segment these four images."""
    return BatchJob(model=saved_model(), folder=images, output=tmp_path / "results", device="cpu")


@pytest.fixture(scope="package")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A cluster of two workers; one of them may be dead for a while after a test that killed it."""
    options = {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": ":0"}
    with (
        dask.config.set(PATIENCE),
        SpecCluster(
            scheduler={"cls": Scheduler, "options": options},
            workers=local_workers(2, "cpu", str(tmp_path_factory.mktemp("dask"))),
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as connected,
    ):
        yield connected


@pytest.fixture
def wait_for_workers(client: Client) -> Callable[[int], None]:
    """Wait until so many workers of the client answer; those that an earlier test has killed as they began are started again."""

    def wait(number: int) -> None:
        # the scheduler lists a worker that was killed a moment ago
        while len(client.run(os.getpid, on_error="ignore")) < number:
            client.cluster.scale(2)
            time.sleep(0.2)

    return wait
