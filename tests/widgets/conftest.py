"""A folder of their own for saved adapters, and a way to wait for the docks' work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from superqt.utils import WorkerBase

from napari_sam2_adapters.config import ModelConfig, Normalization, default_classes
from napari_sam2_adapters.inference import predict
from napari_sam2_adapters.inference.tile_progress import TileProgress
from napari_sam2_adapters.widgets.docks import preferences
from napari_sam2_adapters.widgets.docks.jobs import Job
from napari_sam2_adapters.widgets.docks.load_torch import load_torch
from napari_sam2_adapters.widgets.segmenting.tidying import REPORT_INTERVAL_S

load_torch()  # before a window, whose driver brings another LLVM than that of Triton


@pytest.fixture(autouse=True)
def adapters_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Saved adapters of a test go into its own folder."""
    monkeypatch.setenv("SAM2_ADAPTERS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SAM2_ADAPTERS_LOGS", str(tmp_path / "logs"))
    monkeypatch.setattr(preferences, "_stored", lambda: None)  # not those of who runs the tests
    return tmp_path / "data" / "adapters"


@pytest.fixture(autouse=True)
def _workers_end_with_their_test() -> Iterator[None]:
    """A worker puts the filters of warnings back that it found; in the middle of the next test these would be the wrong ones."""
    yield
    WorkerBase.await_workers(60_000)


@pytest.fixture
def two_halves() -> tuple[np.ndarray, np.ndarray]:
    """A stack (3, 64, 96) uint8, dark left and bright right, and strokes of 1 and 2 on its slices 0 and 1."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60, (3, 64, 96), dtype=np.uint8)
    image[:, :, 48:] += 150
    strokes = np.zeros(image.shape, np.uint8)
    strokes[:2, 10:50, 10:20] = 1
    strokes[:2, 10:50, 70:80] = 2
    return image, strokes


@pytest.fixture
def saved_adapter(adapters_home: Path) -> Callable[..., Path]:
    """Factory of adapter files on the built-in backbone: ``saved_adapter(name="a", input_channels=1)``."""

    def save(
        name: str = "cells",
        input_channels: int = 1,
        seed: int = 0,
        training: dict[str, Any] | None = None,
    ) -> Path:
        from napari_sam2_adapters.models.checkpoints import build_segmenter
        from napari_sam2_adapters.models.model_file import SUFFIX, save_adapter

        config = ModelConfig(adapter="lw", input_channels=input_channels, seed=seed)
        path = adapters_home / f"{name}{SUFFIX}"
        classes = default_classes([1, 2])
        save_adapter(
            path,
            build_segmenter(config, classes),
            normalization=Normalization(mode="percentile"),
            tile_size_px=64,
            training=training,
        )
        return path

    return save


@pytest.fixture
def segment_dock(make_napari_viewer_proxy, qtbot, saved_adapter) -> Iterator[Any]:
    """A Segment dock that finds one adapter, of a fresh viewer."""
    from napari_sam2_adapters.widgets.segment import Segment

    saved_adapter()
    dock = Segment(make_napari_viewer_proxy())
    yield dock
    dock.job.stop()
    qtbot.waitUntil(lambda: not dock.job.running, timeout=60_000)
    dock.close()
    dock.deleteLater()


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Callable[[Job, int], None]:
    """``hold(job, 40)``: runs of the Segment dock tell of that tile and wait there to be stopped, or for ``hold`` of a later one.

    However slow the window is, it meets a run at work.
    """
    real, places = predict.predict_tiles, list[int]()

    def at(job: Job, tile: int) -> None:
        def held(*given: Any, **more: Any) -> Iterator[TileProgress]:
            with closing(real(*given, **more)) as tiles:
                for told in tiles:
                    if told.done >= places[-1]:
                        time.sleep(REPORT_INTERVAL_S)  # so that it is told
                    yield told
                    while told.done >= places[-1] and not job.stopping:
                        time.sleep(0.01)

        places.append(tile)
        monkeypatch.setattr(predict, "predict_tiles", held)

    return at


@pytest.fixture
def press(qtbot) -> Callable[..., None]:
    """Press a button of a dock as soon as it can be pressed, and wait for the end of the work: ``press(dock, button)``."""

    def act(dock: Any, button: Any) -> None:
        qtbot.waitUntil(button.isEnabled, timeout=60_000)
        with qtbot.waitSignal(dock.job.ended, timeout=60_000):
            button.click()

    return act
