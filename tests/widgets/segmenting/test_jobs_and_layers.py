"""What of the Segment dock's work ends when a layer is removed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from napari_sam2_adapters.inference.measure import Measured
from napari_sam2_adapters.widgets.docks.results import find_own
from napari_sam2_adapters.widgets.segmenting import measuring

WAIT_MS = 120_000


def test_a_measurement_goes_on_when_a_result_is_removed(
    segment_dock, press, qtbot, monkeypatch
) -> None:
    removed, measure = threading.Event(), measuring.measure

    def held(*given: Any, **more: Any) -> Iterator[Measured]:
        for number, part in enumerate(measure(*given, **more)):
            assert not number or removed.wait(WAIT_MS / 1000)
            yield part

    monkeypatch.setattr(measuring, "measure", held)
    dock, viewer = segment_dock, segment_dock.viewer
    image = viewer.add_image(np.zeros((64, 64), np.uint8), name="cells")
    press(dock, dock.start_button)
    result = find_own(viewer, "segmentation", image)
    assert result is not None
    numbers = np.random.default_rng(0).integers(0, 200, (12, 128, 128), dtype=np.uint8)
    mine = viewer.add_labels(numbers, name="mine")
    dock.measuring.labels.layer, dock.measuring.image.layer = mine, None
    dock.measuring.by.setCurrentIndex(dock.measuring.by.findData("slices"))
    qtbot.waitUntil(dock.measuring.measure_button.isEnabled, timeout=WAIT_MS)
    dock.measuring.measure_button.click()
    qtbot.waitUntil(lambda: dock.progress.value() > 0, timeout=WAIT_MS)
    viewer.layers.remove(result)
    assert dock.job.running
    assert not dock.job.stopping
    removed.set()
    qtbot.waitUntil(lambda: not dock.job.running, timeout=WAIT_MS)
    assert dock.status.text() == "Measured."
    assert len(np.unique(dock.measuring.table["z"])) == 12


def test_tidying_is_of_the_layer_of_its_image(segment_dock, press) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    images = [viewer.add_image(np.zeros((64, 64), np.uint8), name=name) for name in "ab"]
    for image in images:
        dock.image.choice.layer = image
        press(dock, dock.start_button)
    dock.image.choice.layer = images[0]
    press(dock, dock.tidying.apply_button)
    assert dock.results.labels is find_own(viewer, "segmentation", images[0])
