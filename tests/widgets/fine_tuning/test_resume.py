"""A run is finished on the images that it was started on, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam2_adapters.config import ModelConfig, TrainConfig
from napari_sam2_adapters.widgets.fine_tuning.resume import ResumeBanner
from napari_sam2_adapters.widgets.fine_tuning.runs import ImageOfRun, RunCard, SavedRun


def run_of(*names: str) -> SavedRun:
    """A run of images of one shape."""
    card = RunCard(
        title="cells-lora",
        model=ModelConfig(),
        train=TrainConfig(),
        classes=(),
        images=tuple(ImageOfRun(name=n, shape=(8, 9), axes="YX", rgb=False) for n in names),
        normalization=None,
        split=(),
        pixel_size=None,
        unit=None,
        process=(0, 0.0),
    )
    return SavedRun(Path("run"), card, 1, 0.0)


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def banner(viewer, qtbot):
    made = ResumeBanner(viewer)
    qtbot.addWidget(made)
    yield made
    made.stop()


def offer(banner: ResumeBanner, run: SavedRun) -> None:
    banner._take([run])


def test_each_image_of_a_run_is_its_own_layer(banner, viewer) -> None:
    run = run_of("A", "B")
    for name in ("B", "other", "A"):
        viewer.add_image(np.zeros((8, 9)), name=name)
    assert [layer.name for layer, _, _ in banner.images(run)] == ["A", "B"]
    viewer.layers.remove("B")
    with pytest.raises(ValueError, match=r"learnt from: B \(8 × 9\)\. If it is open as other"):
        banner.images(run)


def test_an_image_under_another_name_is_not_taken_until_it_is_renamed(banner, viewer) -> None:
    stranger = viewer.add_image(np.zeros((8, 9)), name="something else")
    offer(banner, run_of("A"))
    assert not banner.resume_button.isEnabled()
    for said in (banner.text.text(), banner.resume_button.toolTip()):
        assert said.endswith("If it is open as something else, rename that layer to A.")
    stranger.name = "A"
    assert banner.resume_button.isEnabled()
    assert "learnt from" not in banner.text.text()
    stranger.name = "something else"
    assert not banner.resume_button.isEnabled()


def test_two_labels_of_one_image_are_both_learnt_on_it(banner, viewer) -> None:
    image = viewer.add_image(np.zeros((8, 9)), name="A")
    assert [layer for layer, _, _ in banner.images(run_of("A", "A"))] == [image, image]


def test_an_image_of_another_shape_is_not_taken_for_its_name(banner, viewer) -> None:
    viewer.add_image(np.zeros((8, 10)), name="A")
    with pytest.raises(ValueError, match=r"learnt from: A \(8 × 9\)\.$"):
        banner.images(run_of("A"))
