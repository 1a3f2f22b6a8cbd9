"""The dock as a person uses it, with fresh adapters on the built-in backbone."""

from __future__ import annotations

import os
from importlib.metadata import version

import numpy as np
import pytest
from packaging.version import Version

from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.inference.predict import predict
from napari_sam2_adapters.inference.rules import ClassRule, PostprocessConfig
from napari_sam2_adapters.models.model_file import load_adapter
from napari_sam2_adapters.widgets.docks import arrays
from napari_sam2_adapters.widgets.docks.arrays import new_label_array
from napari_sam2_adapters.widgets.docks.results import OURS
from napari_sam2_adapters.widgets.docks.trained import TRAINED
from napari_sam2_adapters.widgets.segment import Segment

WAIT_MS = 120_000
TILES = PredictConfig(tile_size_px=64)  # as the saved adapters say


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def dock(viewer, qtbot, saved_adapter):
    """A dock that finds one adapter."""
    saved_adapter()
    made = Segment(viewer)
    yield made
    made.job.stop()
    qtbot.waitUntil(lambda: not made.job.running, timeout=WAIT_MS)
    made.close()
    made.deleteLater()


def own_layers(viewer) -> list:
    return [layer for layer in viewer.layers if OURS in layer.metadata]


def run(dock: Segment, qtbot) -> None:
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.start_button.click()


def test_the_whole_stack_comes_out_as_predicted(dock, viewer, qtbot, two_halves) -> None:
    image, _ = two_halves
    viewer.add_image(
        image, name="cells", scale=(2, 0.5, 0.5), translate=(1, 2, 3), units=["um"] * 3
    )
    dock.extent.planes.setCurrentIndex(1)
    run(dock, qtbot)
    (layer,) = own_layers(viewer)
    segmenter, header = load_adapter(dock.model)
    expected = predict(
        segmenter.folded(), image, axes="ZYX", normalization=header.normalization, config=TILES
    )
    np.testing.assert_array_equal(layer.data, expected.labels)
    assert layer.name == "cells – SAM2 adapters"
    np.testing.assert_allclose(layer.scale, (2, 0.5, 0.5))
    np.testing.assert_allclose(layer.translate, (1, 2, 3))
    assert str(layer.units[0]) == "micrometer"
    assert list(layer.features["class"]) == ["class 1", "class 2"]
    assert "Done" in dock.status.text()


def test_the_memory_plan_is_said_before_the_first_tile(dock, viewer, qtbot, two_halves) -> None:
    said: list[tuple[str, str]] = []
    dock.job.updated.connect(
        lambda update: said.append((type(update).__name__, dock.status.text()))
    )
    viewer.add_image(np.tile(two_halves[0], 2), name="cells")
    run(dock, qtbot)
    (first, plan), *_ = said
    assert first == "Prepared"
    assert plan.startswith("Memory plan: 1 tile of 64 px at a time, about 0.")
    assert "may be used on cpu" in plan
    assert plan.removesuffix(" Segmenting …") == dock.status.toolTip()


def test_views_that_an_adapter_cannot_know_are_advised_against_once(
    dock, viewer, qtbot, two_halves, saved_adapter, monkeypatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("napari_sam2_adapters.widgets.segment.show_warning", said.append)
    dock.open_model(saved_adapter("upright", training={"settings": {"recipe": "upright"}}))
    viewer.add_image(two_halves[0][0], name="cells")
    views = dock.findChild(object, "test_time_augmentation")
    for chosen, told in (("flips and turns", 1), ("tilts and zooms", 1)):
        views.setCurrentText(chosen)
        assert views.currentText() == chosen
        run(dock, qtbot)
        assert len(said) == told
    assert "the same way round" in said[0]


def test_the_current_slice_agrees_with_the_whole_stack(dock, viewer, qtbot, two_halves) -> None:
    image, _ = two_halves
    viewer.add_image(image)
    viewer.dims.set_point(0, 1)
    run(dock, qtbot)
    (layer,) = own_layers(viewer)
    alone = layer.data[1].copy()
    assert alone.all()
    assert not layer.data[[0, 2]].any()
    viewer.dims.set_point(0, 2)
    run(dock, qtbot)
    assert len(own_layers(viewer)) == 1
    np.testing.assert_array_equal(layer.data[1], alone)  # an earlier slice stays
    assert layer.data[2].all()
    dock.extent.planes.setCurrentIndex(1)
    run(dock, qtbot)
    assert (own_layers(viewer)[0].data[1] == alone).mean() > 0.999


def test_another_adapter_starts_with_an_empty_layer(
    dock, viewer, qtbot, two_halves, saved_adapter
) -> None:
    viewer.add_image(two_halves[0])
    viewer.dims.set_point(0, 0)
    run(dock, qtbot)
    dock.open_model(saved_adapter("another", seed=3))
    assert dock.adapter.models.currentText() == "another"
    qtbot.waitUntil(lambda: dock.header is not None, timeout=WAIT_MS)
    viewer.dims.set_point(0, 2)
    run(dock, qtbot)
    earlier, layer = own_layers(viewer)
    assert earlier.data[0].any()
    assert not layer.data[0].any()
    assert layer.metadata[OURS]["model"].startswith("another")


def test_a_users_labels_are_never_touched(dock, viewer, qtbot, two_halves) -> None:
    image, strokes = two_halves
    viewer.add_image(image, name="cells")
    theirs = viewer.add_labels(strokes, name="cells – SAM2 adapters")
    before = theirs.data.copy()
    run(dock, qtbot)
    np.testing.assert_array_equal(theirs.data, before)
    (layer,) = own_layers(viewer)
    assert layer.name != theirs.name


def test_cancel_keeps_what_is_done(dock, viewer, qtbot, hold) -> None:
    rng = np.random.default_rng(0)
    viewer.add_image(rng.integers(0, 255, (200, 128, 128), dtype=np.uint8))
    dock.extent.planes.setCurrentIndex(1)
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    hold(dock.job, 40)
    dock.start_button.click()
    qtbot.waitUntil(lambda: dock.progress.value() > 9, timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.cancel_button.click()
    assert "Cancelled" in dock.status.text()
    (layer,) = own_layers(viewer)
    on_show = round(viewer.dims.point[0])
    assert layer.data[on_show].all()  # the slice on show comes first
    assert not layer.data[-1].any()


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ((), "Done: 1 of 1 tiles"),
        ((ClassRule(value=1, smallest_px=4),), "Done, but not cleaned up"),
    ],
)
def test_cancel_during_the_last_tile_tells_what_is_left_out(
    dock, viewer, qtbot, hold, two_halves, monkeypatch, rules, said
) -> None:
    monkeypatch.setattr(type(dock.tidying), "rules", PostprocessConfig(rules=rules))
    viewer.add_image(two_halves[0][0], name="cells")
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    hold(dock.job, 1)
    dock.start_button.click()
    qtbot.waitUntil(lambda: dock.progress.value() > 0, timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.cancel_button.click()
    assert dock.status.text().startswith(said)
    (layer,) = own_layers(viewer)
    assert layer.data.all()


def test_the_wrong_number_of_channels_is_said(dock, viewer, qtbot, saved_adapter) -> None:
    viewer.add_image(np.zeros((64, 64, 3), np.uint8), rgb=True)
    qtbot.waitUntil(lambda: "3 channel" in dock.reason.text(), timeout=WAIT_MS)
    assert not dock.start_button.isEnabled()
    dock.open_model(saved_adapter("colour", input_channels=3))
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)


def test_an_image_without_a_number_is_refused_in_a_sentence(dock, viewer, qtbot) -> None:
    viewer.add_image(np.full((64, 64), np.nan, np.float32), name="cells")
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.failed, timeout=WAIT_MS):
        dock.start_button.click()
    assert "NaN or infinite" in dock.status.text()
    assert own_layers(viewer) == []


def test_the_channel_axis_is_found_by_its_length(dock, viewer, qtbot, saved_adapter) -> None:
    dock.open_model(saved_adapter("two", input_channels=2))
    viewer.add_image(np.random.default_rng(0).random((2, 64, 64)))
    qtbot.waitUntil(lambda: dock.image.channel_axis == 0, timeout=WAIT_MS)
    run(dock, qtbot)
    assert own_layers(viewer)[0].data.shape == (64, 64)


@pytest.mark.skipif(
    Version(version("napari")) < Version("0.8"),
    reason="napari 0.7 itself fails to draw data of more axes in the same layer",
)
def test_other_data_of_the_image_bring_other_slices_to_choose_from(dock, viewer) -> None:
    image = viewer.add_image(np.zeros((5, 64, 64), np.uint8))
    planes = dock.extent.planes
    assert [planes.itemData(row) for row in range(planes.count())] == ["current", "all", "range"]
    planes.setCurrentIndex(1)
    image.data = np.zeros((8, 64, 64), np.uint8)
    assert dock.extent.last.maximum() == 7
    assert planes.currentData() == "all"
    image.data = np.zeros((2, 8, 64, 64), np.uint8)
    assert planes.itemData(2) == "block"
    assert planes.currentData() == "current"
    image.data = np.zeros((64, 64), np.uint8)
    assert planes.count() == 1


def test_a_coarse_level_lies_on_the_image(dock, viewer, qtbot) -> None:
    fine = np.random.default_rng(0).random((128, 128))
    viewer.add_image([fine, fine[::2, ::2]], multiscale=True)
    dock.image.levels.setCurrentIndex(1)
    run(dock, qtbot)
    (layer,) = own_layers(viewer)
    assert layer.data.shape == (64, 64)
    np.testing.assert_allclose(layer.scale, (2, 2))


def test_a_damaged_file_is_said_and_not_run(dock, viewer, qtbot, tmp_path) -> None:
    viewer.add_image(np.zeros((64, 64)))
    broken = tmp_path / "broken.adapter.safetensors"
    broken.write_bytes(b"nothing")
    dock.open_model(broken)
    qtbot.waitUntil(lambda: "damaged" in dock.adapter.card.text(), timeout=WAIT_MS)
    assert not dock.start_button.isEnabled()


def texts(dock: Segment) -> set[str]:
    return {dock.adapter.models.itemText(row) for row in range(dock.adapter.models.count())}


def test_new_files_are_listed_and_the_choice_stays(
    dock, viewer, qtbot, saved_adapter, adapters_home
) -> None:
    viewer.add_image(np.zeros((64, 64)))
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    dock.settings.settings = dock.settings.settings.model_copy(update={"tile_size_px": 448})
    saved_adapter("newer", seed=1)
    (adapters_home / "bad.adapter.safetensors").write_bytes(b"no")
    wanted = {"cells", "newer", "bad – cannot be used"}
    qtbot.waitUntil(lambda: texts(dock) == wanted, timeout=WAIT_MS)
    assert dock.adapter.models.currentText() == "cells"
    assert dock.start_button.isEnabled()
    assert dock.settings.settings.tile_size_px == 448  # as somebody has set it
    dock.adapter.models.setCurrentIndex(dock.adapter.models.findText("newer"))
    qtbot.waitUntil(lambda: dock.settings.settings.tile_size_px == 64, timeout=WAIT_MS)


def test_the_first_choice_is_one_that_can_be_used(
    make_napari_viewer_proxy, qtbot, saved_adapter, adapters_home
) -> None:
    good = saved_adapter("good")
    bad = adapters_home / "bad.adapter.safetensors"
    bad.write_bytes(b"no")
    os.utime(good, (1, 1))
    dock = Segment(make_napari_viewer_proxy())
    qtbot.addWidget(dock)
    qtbot.waitUntil(lambda: dock.header is not None, timeout=WAIT_MS)
    assert dock.model == good
    assert dock.adapter.models.itemText(0) == "bad – cannot be used"
    dock.close()


def test_the_adapter_just_trained_is_chosen(dock, qtbot, saved_adapter) -> None:
    qtbot.waitUntil(lambda: dock.header is not None, timeout=WAIT_MS)
    trained = saved_adapter("trained", seed=1)
    os.utime(trained, (1, 1))  # not because it is the newest
    TRAINED.finished.emit(trained)
    assert dock.model == trained
    qtbot.waitUntil(lambda: dock.header is not None, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: texts(dock) == {"cells", "trained"}, timeout=WAIT_MS)
    assert dock.model == trained


def test_without_adapters_it_says_where_to_get_one(make_napari_viewer_proxy, qtbot) -> None:
    dock = Segment(make_napari_viewer_proxy())
    qtbot.addWidget(dock)
    assert "Fine-tune" in dock.reason.text()
    dock.close()


def test_large_results_stream_to_disk(monkeypatch) -> None:
    monkeypatch.setattr(arrays, "IN_MEMORY_BYTES", 1000)
    labels = new_label_array((3, 64, 64), np.dtype(np.uint8))
    assert not isinstance(labels, np.ndarray)
    labels[1, 3:5] = 7
    assert labels[1, 3:5].all()
    assert not labels[0].any()


def test_two_docks_work_one_after_the_other_in_one_layer(dock, viewer, qtbot, two_halves) -> None:
    other = Segment(viewer)
    viewer.add_image(two_halves[0], name="cells")
    for one in (dock, other):
        qtbot.waitUntil(one.start_button.isEnabled, timeout=WAIT_MS)
    viewer.dims.set_point(0, 0)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.start_button.click()
        assert "Another Segment dock is at work" in other.reason.text()
        assert not other.start_button.isEnabled()
        other.start()
        assert not other.job.running
    viewer.dims.set_point(0, 2)
    run(other, qtbot)
    (layer,) = own_layers(viewer)
    assert [bool(plane.any()) for plane in layer.data] == [True, False, True]
    other.close()
    other.deleteLater()


def test_the_stack_at_one_time(dock, viewer, qtbot, two_halves) -> None:
    movie = np.stack([two_halves[0], two_halves[0]])
    place = {"scale": (5, 2, 0.5, 0.5), "units": ("s", "um", "um", "um")}
    image = viewer.add_image(movie, axis_labels=("t", "z", "y", "x"), **place)
    dock.extent.planes.setCurrentIndex(dock.extent.planes.findText("the stack at this time"))
    viewer.dims.set_point(0, 5)
    run(dock, qtbot)
    (layer,) = own_layers(viewer)
    assert not layer.data[0].any()
    assert layer.data[1].all()
    np.testing.assert_allclose(layer.scale, image.scale)
    assert (layer.units, layer.axis_labels) == (image.units, image.axis_labels)
