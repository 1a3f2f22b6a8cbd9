"""What comes of a run: layers, where they lie, what they say of themselves, and what is never touched."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import dask.array as da
import napari
import numpy as np
import pytest
from napari.layers import Layer
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QCheckBox
from skimage.filters import gaussian

from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.inference.postprocess import clean_block, label_objects
from napari_sam2_adapters.inference.predict import predict
from napari_sam2_adapters.models.model_file import load_adapter
from napari_sam2_adapters.widgets.docks import arrays
from napari_sam2_adapters.widgets.docks.results import OURS, find_own
from napari_sam2_adapters.widgets.segmenting import segmenting

WAIT_MS = 120_000
TILES = PredictConfig(tile_size_px=64, probabilities=True, uncertainty=True)


def expected_of(dock, image, axes):
    segmenter, header = load_adapter(dock.model)
    return predict(
        segmenter.folded(), image, axes=axes, normalization=header.normalization, config=TILES
    )


def named(viewer, ending: str):
    return next(layer for layer in viewer.layers if layer.name.endswith(ending))


def set_rule(dock, row: int, smallest: int = 0, holes: int = 0, objects: bool = False) -> None:
    table = dock.tidying.table
    table.cellWidget(row, 1).setValue(smallest)
    table.cellWidget(row, 2).setValue(holes)
    table.cellWidget(row, 4).findChild(QCheckBox).setChecked(objects)


def test_a_rectangle_of_some_slices_is_that_part_of_the_whole(
    segment_dock, press, two_halves
) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    image = viewer.add_image(
        two_halves[0], name="cells", scale=(2, 0.5, 0.5), translate=(0, 9, -4), units=["um"] * 3
    )
    dock.extent.planes.setCurrentIndex(dock.extent.planes.findData("range"))
    dock.extent.first.setValue(1)
    dock.extent.area.setCurrentIndex(dock.extent.area.findData("rectangle"))
    assert not dock.start_button.isEnabled()
    dock.extent.draw.click()
    assert dock.extent.shapes.layer.mode == "add_rectangle"
    drawn = dock.extent.shapes.layer
    assert drawn.units == image.units[1:]  # else napari would show no units at all
    drawn.add_rectangles(np.array([[10, 20], [10, 80], [30, 80], [30, 20]]) - 0.5)
    press(dock, dock.start_button)
    expected = expected_of(dock, two_halves[0], "ZYX").labels
    inside = np.zeros(expected.shape, bool)
    inside[1:, 10:30, 20:80] = True
    layer = named(viewer, "SAM2 adapters")
    np.testing.assert_array_equal(layer.data, np.where(inside, expected, 0))
    run = layer.metadata[OURS]["runs"][-1]
    assert run["region"] == {"planes": [[1], [2]], "rows": [10, 30], "columns": [20, 80]}
    assert run["settings"]["tile_size_px"] == 64
    assert run["date"]
    assert run["package_version"]
    assert layer.metadata[OURS]["tensors_sha256"] == dock.header.tensors_sha256


def test_channels_between_the_slices_and_the_rows_line_up_with_the_sliders(
    segment_dock, press, qtbot, saved_adapter, monkeypatch
) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    dock.open_model(saved_adapter("two", input_channels=2))
    image = np.random.default_rng(0).integers(0, 255, (2, 2, 3, 64, 64), dtype=np.uint8)
    viewer.add_image(image, scale=(1, 1, 3, 0.5, 0.5), name="cells")
    for check_box in dock.wanted.boxes.values():
        check_box.setChecked(True)
    dock.extent.planes.setCurrentIndex(dock.extent.planes.findData("all"))
    monkeypatch.setattr(arrays, "IN_MEMORY_BYTES", 1000)  # into zarr
    press(dock, dock.start_button)
    expected = expected_of(dock, image, "TCZYX")
    layer = named(viewer, "SAM2 adapters")
    np.testing.assert_array_equal(np.asarray(layer.data)[:, 0], expected.labels)
    for time in (0, 1):
        for channel in (0, 1):
            for depth in (0, 2):
                viewer.dims.set_point(range(3), (time, channel, depth * 3))
                value = layer.get_value((time, channel, depth * 3, 7 / 2, 9 / 2), world=True)
                assert value == expected.labels[time, depth, 7, 9]
    first = named(viewer, "probability of class 1")
    np.testing.assert_allclose(np.asarray(first.data)[:, 0], expected.probabilities[0], atol=1e-3)
    uncertainty = named(viewer, "uncertainty")
    np.testing.assert_allclose(np.asarray(uncertainty.data)[:, 0], expected.uncertainty, atol=1e-3)
    assert [layer.name.rpartition(" – ")[2] for layer in viewer.layers[1:]] == [
        "probability of class 1",
        "probability of class 2",
        "uncertainty",
        "SAM2 adapters",
    ]
    assert viewer.layers.selection.active.name == layer.name
    assert not first.visible
    for other in (first, uncertainty):
        np.testing.assert_allclose(other.scale, layer.scale)
        np.testing.assert_allclose(other.translate, layer.translate)
        assert tuple(other.contrast_limits) == (0, 1)
    dock.measuring.labels.layer = layer
    press(dock, dock.measuring.measure_button)
    table = dock.measuring.table
    places = zip(table["t"], table["index"], strict=True)
    pixels = [(expected.labels[time] == value).sum() for time, value in places]
    assert list(table["pixels"]) == pixels
    assert sum(pixels) == expected.labels.size


def test_cleaning_up_can_be_tried_and_taken_back(segment_dock, press, two_halves) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    image = viewer.add_image(two_halves[0], scale=(2, 0.5, 0.5), units=["um"] * 3)
    dock.extent.planes.setCurrentIndex(1)
    press(dock, dock.start_button)
    layer = named(viewer, "SAM2 adapters")
    rng = np.random.default_rng(0)
    layer.data[:] = 1 + (
        gaussian(rng.random(layer.data.shape), 2) > 0.5
    )  # as if the network said so
    raw = layer.data.copy()
    set_rule(dock, 0, smallest=300, objects=True)
    set_rule(dock, 1, holes=300, objects=True)
    rules = dock.tidying.rules.rules
    expected = np.stack([clean_block(plane, rules, [1, 2]) for plane in raw])
    press(dock, dock.tidying.apply_button)
    np.testing.assert_array_equal(layer.data, expected)
    assert (expected != raw).any()
    objects = named(viewer, "objects")
    classes = np.concatenate([label_objects(plane, [1, 2])[1] for plane in expected])
    assert list(objects.features["class"]) == [f"class {value}" for value in classes]
    assert list(objects.features["index"]) == list(range(1, len(classes) + 1))
    assert f"{len(classes)} objects" in dock.status.text()
    np.testing.assert_allclose(objects.scale, image.scale)

    set_rule(dock, 0)
    set_rule(dock, 1)
    press(dock, dock.tidying.apply_button)
    np.testing.assert_array_equal(layer.data, raw)
    assert find_own(viewer, "objects", image) is None


def test_objects_of_other_slices_keep_their_numbers_and_all_are_measured(
    segment_dock, press, qtbot, two_halves, tmp_path
) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    viewer.add_image(two_halves[0], scale=(2, 0.5, 0.5), units=["um"] * 3)
    qtbot.waitUntil(lambda: dock.header is not None, timeout=WAIT_MS)
    set_rule(dock, 0, smallest=30, objects=True)
    set_rule(dock, 1, objects=True)
    dock.extent.planes.setCurrentIndex(1)
    press(dock, dock.start_button)
    layer, objects = named(viewer, "SAM2 adapters"), named(viewer, "objects")
    expected, before = layer.data.copy(), objects.data.copy()
    viewer.dims.set_point(0, 4)  # slice 2 anew: its objects get new numbers, the others keep theirs
    dock.extent.planes.setCurrentIndex(0)
    press(dock, dock.start_button)
    np.testing.assert_array_equal(objects.data[:2], before[:2])
    assert not set(np.unique(objects.data[2])) & set(np.unique(before))
    assert sorted(objects.features["index"]) == sorted(np.unique(objects.data))
    np.testing.assert_array_equal(layer.data, expected)

    assert dock.measuring.labels.layer is objects  # what was just made
    press(dock, dock.measuring.measure_button)
    numbers, pixels = np.unique(objects.data, return_counts=True)
    assert list(objects.features["index"]) == list(numbers)
    np.testing.assert_allclose(objects.features["area_um2"], pixels / 4)
    assert set(objects.features["class"]) <= {"class 1", "class 2"}
    assert "µm²" in dock.measuring.summary.text()
    dock.measuring.save_to(tmp_path / "table.csv")
    qtbot.waitUntil(lambda: "Saved" in dock.measuring.summary.text(), timeout=WAIT_MS)
    assert "area_um2" in (tmp_path / "table.csv").read_text()
    dock.measuring.by.activated.emit(0)  # other rows: that table is not theirs
    assert not dock.measuring.save_button.isEnabled()


def test_what_somebody_painted_in_or_copied_is_theirs(segment_dock, press, two_halves) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    viewer.add_image(two_halves[0][0], name="cells")
    press(dock, dock.start_button)
    painted = named(viewer, "SAM2 adapters")
    painted.selected_label = 9
    painted.paint((20, 20), 9)
    before = painted.data.copy()
    press(dock, dock.start_button)
    np.testing.assert_array_equal(painted.data, before)
    ours = [layer for layer in viewer.layers if layer.metadata.get(OURS)]
    assert len(ours) == 2
    second = next(layer for layer in ours if layer.unique_id != painted.unique_id)
    data, state, kind = second.as_layer_data_tuple()
    copy = Layer.create(data.copy(), {**state, "name": "copy"}, kind)  # as napari duplicates
    viewer.layers.insert(0, copy)
    copy.data[:] = 0
    press(dock, dock.start_button)
    assert not copy.data.any()
    assert len(viewer.layers) == 4


def test_another_level_or_channel_axis_takes_no_result_away(
    segment_dock, press, saved_adapter
) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    fine = np.random.default_rng(0).integers(0, 255, (3, 128, 128), dtype=np.uint8)
    viewer.add_image([fine, fine[:, ::2, ::2]], multiscale=True, name="cells")
    dock.image.levels.setCurrentIndex(1)
    dock.extent.planes.setCurrentIndex(dock.extent.planes.findData("all"))
    press(dock, dock.start_button)
    coarse = named(viewer, "SAM2 adapters")
    kept = coarse.data.copy()
    dock.image.levels.setCurrentIndex(0)
    dock.extent.planes.setCurrentIndex(dock.extent.planes.findData("current"))
    press(dock, dock.start_button)
    assert coarse.name == "cells – SAM2 adapters (cells, level 1)"
    np.testing.assert_array_equal(coarse.data, kept)
    second = named(viewer, "SAM2 adapters")
    assert second.data.shape == fine.shape
    dock.open_model(saved_adapter("other", seed=1))
    dock.image.levels.setCurrentIndex(1)  # all of it, but in larger pixels
    dock.extent.planes.setCurrentIndex(dock.extent.planes.findData("all"))
    press(dock, dock.start_button)
    assert second.name == "cells – SAM2 adapters (cells, level 0)"

    viewer.layers.clear()
    dock.open_model(saved_adapter("two", input_channels=2))
    viewer.add_image(fine[:2].repeat(2, axis=0).reshape(2, 2, 128, 128), name="dyes")
    for axis in (0, 1):
        dock.image.channels.setCurrentIndex(dock.image.channels.findData(axis))
        press(dock, dock.start_button)
    assert [layer.name for layer in viewer.layers[1:]] == [
        "dyes – SAM2 adapters (two, channels on axis 0)",
        "dyes – SAM2 adapters",
    ]


@pytest.fixture
def long_stack() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (200, 112, 112), dtype=np.uint8)


def begun(dock, qtbot, hold) -> Layer:
    """Segment the whole stack, and give the layer as soon as it grows."""
    hold(dock.job, 40)
    dock.extent.planes.setCurrentIndex(1)
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    dock.start_button.click()
    qtbot.waitUntil(lambda: dock.progress.value() > 0, timeout=WAIT_MS)
    return named(dock.viewer, "SAM2 adapters")


def test_nobody_paints_in_what_is_being_written(
    segment_dock, press, qtbot, long_stack, hold
) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    viewer.add_image(long_stack, name="cells")
    layer = begun(dock, qtbot, hold)
    assert not layer.editable
    assert "can be painted in then" in dock.status.text()
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.cancel_button.click()
    assert layer.editable
    dock.start_button.click()  # goes on in it
    assert not layer.editable
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.cancel_button.click()
    set_rule(dock, 0, smallest=5, objects=True)
    press(dock, dock.tidying.apply_button)
    objects = named(viewer, "objects")
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.tidying.apply_button.click()
        assert not layer.editable
        assert not objects.editable
    assert layer.editable
    assert objects.editable


def test_a_failed_run_leaves_its_layers_to_be_painted_in(
    segment_dock, press, qtbot, two_halves, monkeypatch
) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    viewer.add_image(two_halves[0], name="cells")
    press(dock, dock.start_button)

    def fail(*_: object) -> None:
        raise ValueError("no luck")

    monkeypatch.setattr(segmenting, "_limits", fail)
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.failed, timeout=WAIT_MS):
        dock.start_button.click()
    assert named(viewer, "SAM2 adapters").editable


@pytest.mark.parametrize("earlier", [False, True])
def test_a_run_that_fails_before_its_first_tile_leaves_the_layers_as_they_were(
    segment_dock, press, qtbot, two_halves, saved_adapter, earlier
) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    image = viewer.add_image(two_halves[0][0], name="cells")
    before = []
    if earlier:
        press(dock, dock.start_button)
        before = [(layer, layer.data.copy()) for layer in viewer.layers[1:]]
        dock.open_model(saved_adapter("other", seed=1))  # would give all of it anew
    else:
        image.data = two_halves[0][0][:1]
        image.name = "one row"
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    with pytest.MonkeyPatch.context() as patch:
        if earlier:
            patch.setattr(
                "napari_sam2_adapters.inference.predict.TiledRun.tiles",
                lambda _: (_ for _ in ()).throw(ValueError("no luck")),
            )
        with qtbot.waitSignal(dock.job.failed, timeout=WAIT_MS):
            dock.start_button.click()
    assert viewer.layers[1:] == [layer for layer, _ in before]
    for layer, data in before:
        assert data.any()
        np.testing.assert_array_equal(layer.data, data)
        assert layer.editable


def test_removing_the_result_on_another_image_does_not_stop_a_run(
    segment_dock, press, qtbot, long_stack
) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    viewer.add_image(long_stack[0], name="first")
    press(dock, dock.start_button)
    other = viewer.add_image(long_stack[:3], name="second")
    dock.image.choice.layer = other
    dock.extent.planes.setCurrentIndex(1)
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.start_button.click()
        viewer.layers.remove(named(viewer, "first – SAM2 adapters"))
    assert "Done" in dock.status.text()


def test_a_run_ends_when_something_else_paints_in_its_layer(
    segment_dock, press, qtbot, long_stack, hold
) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    viewer.add_image(long_stack, name="cells")
    layer = begun(dock, qtbot, hold)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        layer.data_setitem((np.full(50, 199), np.full(50, 20), np.arange(50)), 7)
    assert dock.status.text() == "Stopped, because its layer was painted in."
    assert (layer.data == 7).sum() == 50
    assert layer.editable
    kept = layer.data.copy()
    dock.extent.planes.setCurrentIndex(0)
    press(dock, dock.start_button)
    np.testing.assert_array_equal(layer.data, kept)
    assert viewer.layers[-1] is not layer
    assert "Done" in dock.status.text()


def test_objects_that_somebody_painted_in_are_theirs(segment_dock, press, two_halves) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    viewer.add_image(two_halves[0], name="cells")
    dock.extent.planes.setCurrentIndex(1)
    press(dock, dock.start_button)
    set_rule(dock, 0, smallest=3, objects=True)
    set_rule(dock, 1, objects=True)
    press(dock, dock.tidying.apply_button)
    painted = named(viewer, "objects")
    before = painted.data.copy()
    painted.data_setitem((np.zeros(50, int), np.full(50, 20), np.arange(50)), 999)
    press(dock, dock.tidying.apply_button)
    assert (painted.data == 999).sum() == 50
    fresh = viewer.layers[-1]
    assert fresh is not painted
    np.testing.assert_array_equal(fresh.data, before)


def test_another_adapter_takes_no_slice_away_that_it_does_not_give_anew(
    segment_dock, press, saved_adapter, two_halves
) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    viewer.add_image(two_halves[0], name="cells")
    viewer.dims.set_current_step(0, 1)
    press(dock, dock.start_button)
    first = named(viewer, "SAM2 adapters")
    kept = first.data.copy()
    assert kept[1].any()
    dock.open_model(saved_adapter("other", seed=1))
    viewer.dims.set_current_step(0, 2)
    press(dock, dock.start_button)
    second = named(viewer, "SAM2 adapters")
    assert second is not first
    assert first.name == "cells – SAM2 adapters (cells)"
    np.testing.assert_array_equal(first.data, kept)
    assert second.data[2].any()
    assert not second.data[1].any()
    dock.open_model(saved_adapter("third", seed=2))
    press(dock, dock.start_button)  # all of what the second gave: in its place
    assert [layer.name for layer in viewer.layers if layer.metadata.get(OURS)] == [
        "cells – SAM2 adapters (cells)",
        "cells – SAM2 adapters",
    ]


def test_a_run_outlives_what_happens_to_the_layers(segment_dock, qtbot, hold) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    rng = np.random.default_rng(0)
    lazy = da.from_array(rng.integers(0, 255, (60, 112, 112), dtype=np.uint8), chunks=(1, 112, 112))
    image = viewer.add_image(lazy, name="cells")
    dock.extent.planes.setCurrentIndex(1)
    hold(dock.job, 40)
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    dock.start_button.click()
    dock.start()  # a second start does nothing
    qtbot.waitUntil(lambda: dock.progress.value() > 0, timeout=WAIT_MS)
    layer = named(viewer, "SAM2 adapters")
    assert layer.data.any()  # while it runs
    assert not dock.start_button.isEnabled()
    layer.name, image.name = "renamed", "also"
    viewer.layers.move(0, 2)
    # napari 0.7 itself fails when an image gets one axis more.
    image.data = np.zeros((7, 8, 9) if napari.__version__.startswith("0.7.") else (5, 7, 8, 9))
    viewer.layers.remove(image)
    viewer.dims.ndisplay = 3
    hold(dock.job, 80)
    qtbot.waitUntil(lambda: dock.progress.value() > 40, timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        viewer.layers.remove(layer)
    assert "its layer was removed" in dock.status.text()
    assert not len(viewer.layers)


def test_a_dock_that_is_closed_stops_and_keeps_what_is_done(
    make_napari_viewer_proxy, qtbot, saved_adapter, hold
) -> None:
    from napari_sam2_adapters.widgets.segment import Segment

    saved_adapter()
    viewer = make_napari_viewer_proxy()
    dock = Segment(viewer)
    viewer.window.add_dock_widget(dock, name="Segment")
    rng = np.random.default_rng(0)
    viewer.add_image(rng.integers(0, 255, (200, 112, 112), dtype=np.uint8))
    hold(dock.job, 40)
    dock.extent.planes.setCurrentIndex(1)
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    dock.start_button.click()
    qtbot.waitUntil(lambda: dock.progress.value() > 0, timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        viewer.window.remove_dock_widget(dock)
        assert named(viewer, "SAM2 adapters").editable
    layer = named(viewer, "SAM2 adapters")
    assert layer.data.any()
    assert not layer.data[-1].any()


@pytest.mark.parametrize(
    "lazy",
    [
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(
                not hasattr(da.Array, "__weakref__"),
                reason="older dask arrays cannot be watched as they go",
            ),
        ),
    ],
)
def test_an_image_that_is_removed_leaves_the_memory(
    segment_dock, press, qtbot, two_halves, lazy: bool
) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    pixels = da.from_array(two_halves[0]) if lazy else two_halves[0].copy()
    held = weakref.ref(pixels)
    viewer.add_image(pixels, name="cells")
    del pixels
    set_rule_when_known(dock, qtbot)
    press(dock, dock.start_button)
    press(dock, dock.tidying.apply_button)
    press(dock, dock.measuring.measure_button)
    viewer.layers.remove("cells")

    def gone() -> bool:
        gc.collect()
        return held() is None

    qtbot.waitUntil(gone, timeout=WAIT_MS)
    assert named(viewer, "SAM2 adapters").data.any()  # its result stays
    result = weakref.ref(named(viewer, "SAM2 adapters").data)
    viewer.layers.clear()
    qtbot.waitUntil(lambda: gc.collect() >= 0 and result() is None, timeout=WAIT_MS)


def set_rule_when_known(dock, qtbot) -> None:
    qtbot.waitUntil(lambda: dock.header is not None, timeout=WAIT_MS)
    set_rule(dock, 0, smallest=3, objects=True)


def test_an_adapter_dropped_on_the_dock_is_chosen(segment_dock, qtbot, saved_adapter, tmp_path):
    dock = segment_dock
    elsewhere = tmp_path / "dropped.adapter.safetensors"
    saved_adapter("third").rename(elsewhere)
    content = QMimeData()
    content.setUrls(
        [QUrl.fromLocalFile(str(tmp_path / "x.tif")), QUrl.fromLocalFile(str(elsewhere))]
    )
    event = QDropEvent(
        QPointF(5, 5), Qt.DropAction.CopyAction, content, Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    dock.dropEvent(event)
    assert dock.model == elsewhere
    qtbot.waitUntil(lambda: dock.header is not None, timeout=WAIT_MS)
    assert "class 1" in dock.adapter.card.text()


@pytest.mark.parametrize("name", ["segment"])
def test_a_dock_opens_without_pytorch(name: str) -> None:
    code = f"import sys, napari_sam2_adapters.widgets.{name}; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True, timeout=120
    )
    assert done.stdout.strip() == "False"


def test_the_network_begins_as_soon_as_the_window_shows_the_result(
    segment_dock, press, two_halves, monkeypatch
) -> None:
    monkeypatch.setattr(segmenting, "_LONGEST_SHOWING_S", WAIT_MS)  # it need not be waited for
    dock, viewer = segment_dock, segment_dock.viewer
    viewer.add_image(two_halves[0], name="cells")
    theirs = viewer.add_labels(np.zeros(two_halves[0].shape, np.uint8), name="mine")
    assert viewer.layers.selection.active == theirs
    press(dock, dock.start_button)
    layer = named(viewer, "SAM2 adapters")
    assert viewer.layers[-1] == layer
    assert viewer.layers.selection.active == layer
    assert dock.measuring.labels.layer == layer  # “mine” was there first, and chosen by nobody


def test_slices_of_a_run_that_was_cancelled_are_cleaned_up_with_the_next_one(
    segment_dock, press, hold, qtbot, two_halves
) -> None:
    dock, viewer = segment_dock, segment_dock.viewer
    image = np.tile(two_halves[0], 2)  # four tiles a slice
    viewer.add_image(image, name="cells")
    qtbot.waitUntil(lambda: dock.tidying.table.rowCount() == 2, timeout=WAIT_MS)
    set_rule(dock, 0, smallest=20_000)  # larger than a slice: all of class 1 becomes class 2
    press(dock, dock.start_button)
    dock.extent.planes.setCurrentIndex(dock.extent.planes.findData("all"))
    hold(dock.job, 8)  # the second slice is done then
    dock.start_button.click()
    qtbot.waitUntil(lambda: "Tile 8" in dock.status.text(), timeout=WAIT_MS)
    press(dock, dock.cancel_button)
    assert dock.status.text().startswith("Cancelled")
    hold(dock.job, 1000)
    dock.extent.planes.setCurrentIndex(dock.extent.planes.findData("current"))
    viewer.dims.set_current_step(0, 2)
    press(dock, dock.start_button)
    raw = expected_of(dock, image, "ZYX").labels
    rules = dock.tidying.rules.rules
    tidy = np.stack([clean_block(plane, rules, [1, 2]) for plane in raw])
    assert not np.array_equal(tidy, raw)
    np.testing.assert_array_equal(named(viewer, "SAM2 adapters").data, tidy)
