"""Pairs, classes and keys, without training: on napari's model of a viewer, which needs no window."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.utils.colormaps import DirectLabelColormap
from napari.utils.key_bindings import coerce_keybinding
from napari.utils.notifications import notification_manager

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.widgets.annotation import autosave, class_book, pair_row
from napari_sam2_adapters.widgets.annotation.class_names import name_classes
from napari_sam2_adapters.widgets.annotation.pairing import best_labels, guess_pairs
from napari_sam2_adapters.widgets.annotation.snapshots import (
    autosave_folder,
    list_snapshots,
    read_snapshot,
)
from napari_sam2_adapters.widgets.docks.spread import spread_of
from napari_sam2_adapters.widgets.fine_tuning.data_form import DataForm

WAIT_MS = 120_000


@pytest.fixture
def form(qtbot):
    made = DataForm(ViewerModel())
    qtbot.addWidget(made)
    yield made
    made.stop_following()


def strokes(shape=(20, 30), **values):
    labels = np.zeros(shape, np.uint8)
    labels[..., :4, :4], labels[..., 8:12, 8:12] = values.get("one", 1), values.get("two", 2)
    return labels


def settled(form: DataForm, qtbot) -> str:
    qtbot.waitUntil(lambda: "Counting" not in form.missing(), timeout=WAIT_MS)
    form.show_classes()
    return form.missing()


def keys_of(layer) -> set[str]:
    return {str(key) for key in layer.keymap}


def test_pairs_are_found_by_name_and_shape(form, qtbot) -> None:
    for name, shape in (("a 1", (20, 30)), ("a 2", (20, 30)), ("b", (40, 30))):
        form.viewer.add_image(np.zeros(shape, np.uint8), name=name)
    for name, shape in (("b mask", (40, 30)), ("a 2 strokes", (20, 30)), ("a 1 strokes", (20, 30))):
        form.viewer.add_labels(strokes(shape), name=name)
    form.find_button.click()
    pairs = {row.image.layer.name: row.labels.layer.name for row in form.rows}
    assert pairs == {"a 1": "a 1 strokes", "a 2": "a 2 strokes", "b": "b mask"}
    assert settled(form, qtbot) == ""
    assert [pair.name for pair in form.pairs] == [row.image.layer.name for row in form.rows]
    assert form.totals[1] == 3 * 16


def test_labels_that_were_put_back_are_learnt_from(form, qtbot) -> None:
    for name in ("cells", "other"):
        form.viewer.add_image(np.zeros((20, 30), np.uint8), name=name)
    form.viewer.add_labels(strokes(), name="strokes of cells")
    form.rows[0].choose(form.viewer.layers["cells"], form.viewer.layers["strokes of cells"])
    restored = form.viewer.add_labels(strokes(), name="restored")
    form.rows[0].take_restored(restored, "another image")
    assert form.rows[0].labels.layer.name == "strokes of cells"
    form.rows[0].take_restored(restored, "cells")
    assert form.rows[0].labels.layer is restored
    assert settled(form, qtbot) == ""


def test_names_decide_between_images_of_one_shape() -> None:
    viewer = ViewerModel()
    images = [viewer.add_image(np.zeros((4, 4)), name=name) for name in ("cell 1", "cell 10")]
    labels = [
        viewer.add_labels(np.zeros((4, 4), int), name=name) for name in ("cell 10 x", "cell 1 x")
    ]
    assert guess_pairs(images, labels) == [(images[0], labels[1]), (images[1], labels[0])]


def test_the_wrong_pair_is_marked_with_the_reason(form, qtbot) -> None:
    form.viewer.add_image(np.zeros((20, 30), np.uint8), name="grey")
    form.viewer.add_labels(strokes(), name="grey strokes")
    form.viewer.add_image(np.zeros((20, 30, 3), np.uint8), name="rgb", rgb=True)
    form.viewer.add_labels(strokes(), name="rgb strokes")
    row = form.add_row()
    row.image.choice.layer = form.viewer.layers["rgb"]
    row.labels.layer = form.viewer.layers["rgb strokes"]
    assert "Pair 2" in settled(form, qtbot)
    assert "3 channels, but that of pair 1 has 1" in row.problem_line.text()
    assert row.image.choice.styleSheet()
    assert not form.rows[0].image.choice.styleSheet()
    row.image.choice.layer = form.viewer.layers["grey"]
    row.labels.layer = form.rows[0].labels.layer
    assert "those of pair 1 already" in form.missing()
    row.remove_button.click()
    assert settled(form, qtbot) == ""
    assert len(form.viewer.layers) == 4


@pytest.mark.parametrize(
    "place",
    [
        {},  # without the pixel size of its image
        {"scale": (2, 0.5, 0.5), "translate": (0, 10, 5)},
        {"scale": (2, 0.5, 0.5), "affine": np.diag([1, -1, 1, 1])},
        {"scale": (2, 0.5, 0.5), "rotate": (0, 0, 30)},
        {"scale": (2, 0.5, 0.5), "units": ("nm",) * 3},
    ],
)
def test_labels_that_are_shown_elsewhere_than_their_image_are_told(form, qtbot, place) -> None:
    there = {"scale": (2, 0.5, 0.5), "translate": (0, 0, 5), "units": ("um",) * 3}
    form.viewer.add_image(np.zeros((3, 20, 30), np.uint8), name="brain", **there)
    labels = form.viewer.add_labels(strokes((3, 20, 30)), name="brain mask", **place)
    assert settled(form, qtbot) == ""  # learnt from all the same
    line = form.rows[0].problem_line
    assert "brain mask lies elsewhere than brain" in line.text()
    assert not line.isHidden()
    form.changed.connect(form.missing)  # as the dock does
    labels.affine, labels.rotate = np.eye(4), (0, 0, 0)
    for name, value in there.items():
        setattr(labels, name, value)
    assert line.text() == ""  # at once
    form.viewer.layers["brain"].translate = (0, 0, 5.4)  # less than a pixel
    assert line.text() == ""
    form.viewer.layers["brain"].translate = (4, 0, 5)
    assert "by up to 2 px" in line.text()


def test_labels_on_one_level_or_channel_of_their_image_lie_on_it(form, qtbot) -> None:
    levels = [np.zeros((40, 60), np.uint8), np.zeros((20, 30), np.uint8)]
    form.viewer.add_image(levels, name="pyramid", scale=(0.5, 0.5))
    row = form.rows[0]
    row.image.levels.setCurrentIndex(1)
    row.add_labels()
    row.labels.layer.data = strokes()
    settled(form, qtbot)
    assert row.problem_line.text() == ""
    row.labels.layer.scale = (0.5, 0.5)
    settled(form, qtbot)
    assert "lies elsewhere than pyramid" in row.problem_line.text()


def test_an_image_that_cannot_be_painted_on_is_refused_in_a_sentence(form, monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(pair_row, "show_failure", said.append)
    form.viewer.add_image(np.zeros((2, 2, 2, 2, 8, 8), np.uint8), name="too many")
    form.rows[0].add_button.click()
    assert "The layer has 6 axes besides channels" in said[0]
    assert len(form.viewer.layers) == 1


def test_two_stacks_with_channels_and_dask_make_pairs(form, qtbot) -> None:
    form.viewer.add_image(da.zeros((3, 2, 20, 30), chunks=(1, 2, 20, 30)), name="one")
    form.viewer.add_labels(strokes((3, 1, 20, 30)), name="one s")
    form.viewer.add_image(np.zeros((5, 2, 20, 30), np.float32), name="two")
    form.viewer.add_labels(strokes((5, 1, 20, 30)), name="two s")
    form.find_button.click()
    assert settled(form, qtbot) == ""
    assert [pair.axes for pair in form.pairs] == ["ZCYX", "ZCYX"]
    assert [pair.labels.shape for pair in form.pairs] == [(3, 20, 30), (5, 20, 30)]


def with_channels_inside(form, **more):
    """An image whose sliders are depth and channel, and the strokes that + adds."""
    data = np.zeros((12, 2, 64, 64), np.uint8)
    image = form.viewer.add_image(data, name="cells", axis_labels=tuple("zcyx"), **more)
    form.rows[0].add_button.click()
    return image, form.viewer.layers["cells – strokes"]


def test_strokes_on_slices_with_channels_go_to_the_slice_on_show(form, qtbot) -> None:
    image, layer = with_channels_inside(form, scale=(3, 1, 0.5, 0.5), translate=(7, 0, 1, 2))
    form.viewer.dims.set_current_step(0, 10)
    for channel in (0, 1):
        form.viewer.dims.set_current_step(1, channel)
        for value, at in ((1, 10), (2, 40)):
            z, _, y, x = layer.world_to_data(image.data_to_world((10, channel, at, at)))
            layer.paint((z, layer.world_to_data(form.viewer.dims.point)[1], y, x), value)
    assert np.flatnonzero(layer.data.any((1, 2, 3))).tolist() == [10]
    qtbot.waitUntil(lambda: form.totals.get(2, 0) > 10, timeout=WAIT_MS)
    assert settled(form, qtbot) == ""
    assert form.rows[0].counter.on_show[2] == form.totals[2]
    [pair] = form.pairs
    assert (pair.axes, pair.labels.shape) == ("ZCYX", (12, 64, 64))
    assert pair.labels[10, 10, 10] == 1
    [saved] = form.to_save()
    assert (saved.labels.shape, saved.spread) == ((12, 64, 64), 1)


def test_labels_of_a_script_say_for_good_which_axis_stands_for_the_channels(form, qtbot) -> None:
    labels = form.viewer.add_labels(strokes((4, 1, 20, 30)), metadata={"mine": 1})
    assert spread_of(labels) is None  # four axes may well be a time series
    form.viewer.add_image(np.zeros((4, 2, 20, 30), np.uint8))
    row = form.rows[0]
    row.image.channels.setCurrentIndex(row.image.channels.findData(1))
    assert spread_of(labels) == 1
    assert labels.metadata["mine"] == 1
    assert settled(form, qtbot) == ""
    assert form.totals[1] == 4 * 16  # each slice once
    form.viewer.dims.set_point((0, 1), (2, 1))
    assert row.counter.on_show[2] == 16


@pytest.mark.parametrize(
    ("shape", "axis", "up", "down"),
    [
        ((4, 2, 20, 30), 1, [2, 4], [4, 2]),
        ((3, 4, 2, 20, 30), 2, [2, 4, 5], [5, 4, 2]),
        ((3, 2, 4, 20, 30), 1, [2, 3, 5], [5, 3, 2]),
        ((4, 20, 30), None, [2, 3], [3, 2]),
    ],
)
def test_the_axis_in_place_of_channels_is_no_dimension_to_paint_in(
    form, shape: tuple[int, ...], axis: int | None, up: list[int], down: list[int]
) -> None:
    form.viewer.add_image(np.zeros(shape, np.uint8))
    row = form.rows[0]
    row.image.channels.setCurrentIndex(row.image.channels.findData(axis))
    row.add_button.click()
    layer = row.labels.layer
    for step, expected in ((1, up), (-1, down)):
        found = [layer.n_edit_dimensions]
        while found[-1] != expected[-1]:
            layer.n_edit_dimensions += step
            found.append(layer.n_edit_dimensions)
        assert found == expected


def test_labels_that_napari_shows_on_wrong_slices_are_refused(form, qtbot) -> None:
    _, layer = with_channels_inside(form)
    form.viewer.add_labels(strokes((12, 64, 64)), name="cells mine")
    form.rows[0].labels.layer = form.viewer.layers["cells mine"]
    assert "cells mine has no axis in place of the channels of cells" in settled(form, qtbot)
    first = form.viewer.add_image(
        np.zeros((2, 12, 64, 64)), name="first", axis_labels=tuple("czyx")
    )
    form.rows[0].choose(first, form.viewer.layers["cells mine"])
    assert settled(form, qtbot) == ""
    assert form.pairs[0].axes == "CZYX"
    form.rows[0].labels.layer = layer
    assert "has the shape (12, 1, 64, 64), but the image needs" in form.missing()


def test_labels_that_lack_the_axis_of_the_channels_are_lined_up_in_a_layer_of_their_own(
    form, qtbot
) -> None:
    image = form.viewer.add_image(
        np.zeros((3, 2, 4, 64, 64), np.uint8), name="cells", scale=(1, 1, 2, 0.5, 0.5)
    )
    before = np.zeros((3, 4, 64, 64), np.uint8)
    before[1, 2, :8] = 1
    before[1, 3, :8] = 2
    mine = form.viewer.add_labels(before, name="mine", scale=(1, 2, 0.5, 0.5))
    name_classes(mine, [ClassInfo(value=1, name="axon")])
    row = form.rows[0]
    row.labels.layer = mine
    assert "Press Line up" in settled(form, qtbot)
    assert row.line_up_button.isVisibleTo(form)
    row.line_up_button.click()
    assert settled(form, qtbot) == ""
    assert not row.line_up_button.isVisibleTo(form)
    lined_up = row.labels.layer
    assert lined_up is not mine
    assert lined_up.data.shape == (3, 1, 4, 64, 64)
    assert mine in form.viewer.layers
    assert not mine.visible
    assert form.pairs[0].axes == "TCZYX"
    np.testing.assert_array_equal(form.pairs[0].labels, before)
    assert [info.name for info in form.classes] == ["axon", "class 2"]
    for channel in (0, 1):
        form.viewer.dims.set_point(range(3), (1, channel, 2 * 2))
        assert row.counter.on_show[1] == 8 * 64
        for layer in (image, lined_up):
            assert layer.world_to_data((1, channel, 4, 3, 3))[-1] == 6
        assert lined_up.get_value((1, channel, 4, 3, 3), world=True) == 1
    lined_up.data_setitem(
        (np.array([0]), np.array([0]), np.array([0]), np.array([5]), np.array([6])), 2
    )
    assert form.pairs[0].labels[0, 0, 5, 6] == 2
    assert mine.data[0, 0, 5, 6] == 0, "the user's own layer stays as it is"


def test_a_class_of_slices_with_channels_is_deleted(form, qtbot, monkeypatch) -> None:
    _, layer = with_channels_inside(form)
    layer.data = strokes((12, 1, 64, 64))
    settled(form, qtbot)
    monkeypatch.setattr(class_book, "ask_what_becomes", lambda *_: 1)
    form.book.table.choose(2)
    form.book.delete()
    qtbot.waitUntil(lambda: 2 not in layer.data, timeout=WAIT_MS)
    assert (layer.data == 1).sum() == 12 * 32
    layer.undo()
    np.testing.assert_array_equal(layer.data, strokes((12, 1, 64, 64)))


def test_labels_that_lie_on_their_slices_are_guessed_first() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((12, 2, 20, 30)), name="cells")
    labels = [
        viewer.add_labels(np.zeros(shape, np.uint8), name=f"cells {number}")
        for number, shape in enumerate(((12, 20, 30), (12, 1, 20, 30)))
    ]
    assert best_labels(image, labels) is labels[1]
    assert guess_pairs([image], labels) == [(image, labels[1])]


def test_layers_may_be_renamed_reordered_reshaped_and_removed(form, qtbot) -> None:
    image = form.viewer.add_image(np.zeros((20, 30), np.uint8), name="cells")
    labels = form.viewer.add_labels(strokes(), name="strokes")
    assert settled(form, qtbot) == ""
    image.name, labels.name = "other", "painted"
    form.viewer.layers.move(0, 2)
    assert (form.rows[0].image.layer, form.rows[0].labels.layer) == (image, labels)
    assert settled(form, qtbot) == ""
    image.data = np.zeros((25, 30), np.uint8)
    assert "has the shape (20, 30), but the image needs (25, 30)" in form.missing()
    image.data = np.zeros((20, 30), np.uint8)
    assert settled(form, qtbot) == ""
    form.viewer.layers.remove(labels)
    assert "Choose a labels layer" in form.missing()


def test_an_image_of_too_many_axes_is_refused_in_a_sentence(form) -> None:
    image = form.viewer.add_image(np.zeros((2, 2, 2, 2, 9, 9), np.uint8), name="cells")
    form.rows[0].image.choice.layer = image
    assert "Split Stack" in form.missing()
    seen = len(notification_manager.records)
    form.rows[0].add_button.click()
    assert "Split Stack" in notification_manager.records[seen].message
    assert list(form.viewer.layers) == [image]


def test_a_class_is_added_named_and_painted_with(form, qtbot) -> None:
    form.viewer.add_image(np.zeros((20, 30), np.uint8), name="cells")
    layer = form.viewer.add_labels(strokes(), name="strokes")
    settled(form, qtbot)
    form.book.add_button.click()
    assert layer.selected_label == 3
    form.book.table.item(2, 1).setText("vessel")
    layer.data_setitem((np.array([15]), np.array([15])), 3)
    assert "vessel" in layer.get_status((15, 15), world=True)["coordinates"]
    assert layer.get_color(3)[:3] == pytest.approx(
        [int(form.book.classes[2].color[i : i + 2], 16) / 255 for i in (1, 3, 5)], abs=0.01
    )
    qtbot.waitUntil(lambda: form.totals.get(3) == 1, timeout=WAIT_MS)
    assert [info.name for info in form.classes] == ["class 1", "class 2", "vessel"]


@pytest.mark.parametrize("answer", [None, 0, 1])
def test_pixels_of_a_deleted_class_go_only_where_the_user_says(
    form, qtbot, monkeypatch, answer
) -> None:
    form.viewer.add_image(np.zeros((20, 30), np.uint8), name="cells")
    layer = form.viewer.add_labels(strokes(), name="strokes")
    settled(form, qtbot)
    monkeypatch.setattr(class_book, "ask_what_becomes", lambda *_: answer)
    form.book.table.choose(2)
    before = layer.data.copy()
    layer.selected_label = 2
    form.book.delete()
    if answer is None:
        qtbot.wait(100)
        np.testing.assert_array_equal(layer.data, before)
        return
    qtbot.waitUntil(lambda: 2 not in layer.data, timeout=WAIT_MS)
    np.testing.assert_array_equal(layer.data, np.where(before == 2, answer, before))
    assert layer.selected_label == 1  # a deleted class is not painted with
    assert [saved.pixels for saved in list_snapshots(autosave_folder())] == [32]
    qtbot.waitUntil(lambda: [i.value for i in form.book.classes] == [1], timeout=WAIT_MS)
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)


def named_and_deleted(form, qtbot, monkeypatch):
    """A layer whose class 2, "axon" in red, was deleted and is counted no more."""
    form.viewer.add_image(np.zeros((20, 30), np.uint8), name="cells")
    layer = form.viewer.add_labels(strokes(), name="strokes")
    red = ClassInfo(value=2, name="axon", color="#ff0000")
    name_classes(layer, (ClassInfo(value=1, name="myelin", color="#00ff00"), red))
    settled(form, qtbot)
    monkeypatch.setattr(class_book, "ask_what_becomes", lambda *_: 0)
    form.book.table.choose(2)
    form.book.delete()
    qtbot.waitUntil(lambda: form.totals.get(2, 0) == 0, timeout=WAIT_MS)
    settled(form, qtbot)
    assert [info.name for info in form.book.classes] == ["myelin"]
    return layer, red


def test_an_undone_deletion_brings_back_the_class_with_its_name(form, qtbot, monkeypatch) -> None:
    layer, red = named_and_deleted(form, qtbot, monkeypatch)
    layer.undo()
    qtbot.waitUntil(lambda: form.totals.get(2) == 16, timeout=WAIT_MS)
    settled(form, qtbot)
    assert form.book.classes[1] == red
    assert "axon" in layer.get_status((9, 9), world=True)["coordinates"]
    assert layer.get_color(2) == pytest.approx([1, 0, 0, 1])


def test_a_name_given_away_since_is_not_taken_back(form, qtbot, monkeypatch) -> None:
    layer, _ = named_and_deleted(form, qtbot, monkeypatch)
    form.book.table.item(0, 1).setText("axon")
    layer.undo()
    qtbot.waitUntil(lambda: form.totals.get(2) == 16, timeout=WAIT_MS)
    settled(form, qtbot)
    assert [info.name for info in form.book.classes] == ["axon", "class 2"]


def test_a_new_class_is_not_called_as_the_deleted_one(form, qtbot, monkeypatch) -> None:
    layer, _ = named_and_deleted(form, qtbot, monkeypatch)
    form.book.add_button.click()
    layer.data_setitem((np.array([15]), np.array([15])), 2)
    qtbot.waitUntil(lambda: form.totals.get(2) == 1, timeout=WAIT_MS)
    settled(form, qtbot)
    assert [info.name for info in form.book.classes] == ["myelin", "class 2"]


def test_pixels_go_only_to_a_class_that_every_layer_can_hold(form, qtbot, monkeypatch) -> None:
    for name in ("one", "two"):
        form.viewer.add_image(np.zeros((20, 30), np.uint8), name=name)
    form.viewer.add_labels(strokes(), name="one s")  # 8 bits
    form.viewer.add_labels(strokes().astype(np.uint16) * 150, name="two s")
    form.find_pairs()
    settled(form, qtbot)
    assert [info.value for info in form.classes] == [1, 2, 150, 300]
    offered = []
    monkeypatch.setattr(
        class_book, "ask_what_becomes", lambda *args: offered.extend(i.value for i in args[-1])
    )
    form.book.table.choose(2)
    form.book.delete()
    assert offered == [1, 2, 150]


def test_strokes_are_saved_also_when_their_layer_is_chosen_no_more(form, qtbot) -> None:
    form.viewer.add_image(np.zeros((20, 30), np.uint8), name="cells")
    first, second, third = (form.viewer.add_labels(strokes(), name=name) for name in "ABC")
    name_classes(first, (ClassInfo(value=1, name="nucleus"),))
    row = form.rows[0]
    for layer, others in ((first, second), (second, third)):
        row.labels.layer = layer
        layer.data_setitem((np.arange(15), np.arange(15)), 1)
        row.labels.layer = others
    form.viewer.layers.remove(second)
    saved = {layer.name: layer for layer in form.to_save()}
    assert sorted(saved) == ["A", "B", "C"]
    assert (saved["A"].image, saved["A"].classes[0].name) == ("cells", "nucleus")
    assert saved["B"].labels is second.data

    row.labels.layer = first
    first.data_setitem((np.array([16]), np.array([16])), 1)  # while that is being saved
    row.labels.layer = third
    form.touched.take_saved()
    assert sorted(layer.name for layer in form.to_save()) == ["A", "C"]
    form.touched.take_saved()
    assert [layer.name for layer in form.to_save()] == ["C"]


def test_large_labels_on_disk_are_saved_before_a_class_of_them_is_deleted(
    form, qtbot, monkeypatch, tmp_path
) -> None:
    monkeypatch.setattr(autosave, "_LARGEST_LAZY_BYTES", 100)
    labels = zarr.create_array(tmp_path / "labels", shape=(20, 30), dtype="u1", chunks=(10, 30))
    labels[:] = strokes()
    form.viewer.add_image(np.zeros((20, 30), np.uint8), name="cells")
    form.viewer.add_labels(labels, name="strokes")
    settled(form, qtbot)
    autosave.save_labels(form.to_save(), "", {})
    assert list_snapshots(autosave_folder()) == []
    monkeypatch.setattr(class_book, "ask_what_becomes", lambda *_: 0)
    form.book.table.choose(2)
    with qtbot.waitSignal(form.book._deletion.done, timeout=WAIT_MS):
        form.book.delete()
    assert 2 not in labels[:]
    [saved] = list_snapshots(autosave_folder())
    np.testing.assert_array_equal(read_snapshot(saved.path)[1], strokes())


def test_with_several_images_open_the_first_pair_is_guessed_too(qtbot) -> None:
    viewer = ViewerModel()
    for name in ("sections", "second"):
        viewer.add_image(np.zeros((20, 30), np.uint8), name=name)
        viewer.add_labels(strokes(), name=f"{name} – labels")
    made = DataForm(viewer)
    qtbot.addWidget(made)
    made.add_row()
    assert [(row.image.layer.name, row.labels.layer.name) for row in made.rows] == [
        ("sections", "sections – labels"),
        ("second", "second – labels"),
    ]
    made.stop_following()


def test_a_class_without_pixels_is_deleted_at_once(form, qtbot) -> None:
    form.viewer.add_image(np.zeros((20, 30), np.uint8), name="cells")
    form.viewer.add_labels(strokes(), name="strokes")
    settled(form, qtbot)
    form.book.add()
    form.book.table.choose(3)
    form.book.delete()
    assert [info.value for info in form.book.classes] == [1, 2]


def test_a_class_that_is_painted_nowhere_is_named(form, qtbot) -> None:
    form.viewer.add_image(np.zeros((20, 30), np.uint8), name="cells")
    layer = form.viewer.add_labels(strokes(), name="strokes")
    settled(form, qtbot)
    assert form.book.note.isHidden()
    form.book.add()
    form.book.table.item(2, 1).setText("axon")
    assert settled(form, qtbot) == ""  # two classes are enough to learn
    assert form.book.note.text().startswith("“axon” is painted nowhere yet")
    layer.data = np.where(layer.data == 2, 0, layer.data)
    assert "“class 2” and “axon” are painted nowhere yet" in settled(form, qtbot)
    form.book.table.item(2, 1).setText("class 2")
    assert "is called “class 2” already" in form.book.note.text()
    form.book.table.item(2, 1).setText("myelin")
    assert "“myelin” are painted nowhere" in form.book.note.text()


def test_labels_without_names_that_join_others_are_shown_in_the_colours_of_the_table(
    form, qtbot
) -> None:
    for name in ("a 1", "a 2"):
        form.viewer.add_image(np.zeros((20, 30), np.uint8), name=name)
    first, second = (form.viewer.add_labels(strokes(), name=f"a {n} strokes") for n in (1, 2))
    red = ClassInfo(value=1, name="cell", color="#ff0000")
    name_classes(first, (red, ClassInfo(value=2, name="wall", color="#00ff00")))
    form.find_button.click()
    assert settled(form, qtbot) == ""
    assert [info.name for info in form.classes] == ["cell", "wall"]
    for layer in (first, second):
        assert layer.get_color(1).tolist() == [1, 0, 0, 1]
        assert list(layer.features["class"]) == ["cell", "wall"]


def test_labels_that_are_alone_or_number_objects_keep_their_look(form, qtbot) -> None:
    for name in ("a 1", "a 2"):
        form.viewer.add_image(np.zeros((20, 30), np.uint8), name=name)
    alone = form.viewer.add_labels(strokes(), name="a 1 strokes")
    assert settled(form, qtbot) == ""
    objects = np.arange(600, dtype=np.uint16).reshape(20, 30)
    numbered = form.viewer.add_labels(objects, name="a 2 objects")
    assert alone.features.empty
    form.find_button.click()
    assert "599 values" in settled(form, qtbot)
    assert not isinstance(numbered.colormap, DirectLabelColormap)
    assert numbered.features.empty


def test_an_image_without_a_number_is_refused_where_it_was_looked_at(form, qtbot) -> None:
    empty = form.viewer.add_image(np.full((20, 30), np.nan, np.float32), name="a 1")
    form.viewer.add_labels(strokes(), name="a 1 strokes")
    assert settled(form, qtbot) == ""
    form.judged.emit(np.zeros((20, 30), np.float32), True)
    assert settled(form, qtbot) == ""
    form.judged.emit(empty.data, True)
    assert "NaN or infinite" in form.missing()
    assert form.rows[0].image.choice.styleSheet()
    empty.data = np.zeros((20, 30), np.float32)
    assert settled(form, qtbot) == ""
    assert not form.rows[0].image.choice.styleSheet()


def test_a_pair_with_nothing_painted_says_so_and_stops_nobody(form, qtbot) -> None:
    for name in ("a", "b"):
        form.viewer.add_image(np.zeros((20, 30), np.uint8), name=name)
    form.viewer.add_labels(strokes(), name="a strokes")
    form.viewer.add_labels(np.zeros((20, 30), np.uint8), name="b strokes")
    form.find_button.click()
    assert settled(form, qtbot) == ""
    lines = {row.image.layer.name: row.problem_line for row in form.rows}
    assert lines["a"].isHidden()
    assert lines["b"].text().startswith("Nothing is painted here yet")
    form.zero.setCurrentIndex(1)
    assert settled(form, qtbot) == ""
    assert lines["b"].isHidden()


def test_number_keys_pick_classes_only_while_painting(form, qtbot) -> None:
    form.viewer.add_image(np.zeros((20, 30), np.uint8), name="cells")
    layer = form.viewer.add_labels(strokes(one=4, two=9), name="strokes")
    settled(form, qtbot)
    theirs = keys_of(layer)
    layer.mode = "paint"
    assert keys_of(layer) - theirs == {"1", "2"}
    layer.keymap[coerce_keybinding("2")](layer)
    assert layer.selected_label == 9
    assert form.book.table.chosen.value == 9
    layer.mode = "erase"
    layer.keymap[coerce_keybinding("1")](layer)
    assert (layer.selected_label, layer.mode) == (4, "paint")
    layer.mode = "pan_zoom"
    assert keys_of(layer) == theirs
    layer.mode = "paint"
    form.stop_following()
    assert keys_of(layer) == theirs
    form.viewer.layers.events.inserted.connect(form._guess_labels)
    form.viewer.dims.events.current_step.connect(form._look_soon)
    form.viewer.layers.selection.events.active.connect(form._look_soon)


def test_a_new_labels_layer_has_two_classes_and_the_brush_ready(form, qtbot) -> None:
    form.viewer.add_image(np.zeros((3, 20, 30), np.uint8), name="cells", scale=(2, 1, 1))
    form.rows[0].add_button.click()
    layer = form.viewer.layers["cells – strokes"]
    assert layer.mode == "paint"
    assert [info.name for info in form.book.classes] == ["class 1", "class 2"]
    assert {"1", "2"} <= keys_of(layer)
    assert "Nothing is labelled" in settled(form, qtbot)


def test_choosing_a_row_paints_with_that_class(form, qtbot) -> None:
    image = form.viewer.add_image(np.zeros((20, 30), np.uint8), name="cells")
    layer = form.viewer.add_labels(strokes(), name="strokes")
    settled(form, qtbot)
    form.viewer.layers.selection.active = image
    form.book.table.selectRow(1)
    assert layer.selected_label == 2
    assert form.viewer.layers.selection.active is layer


def test_pixels_of_the_slice_on_show(form, qtbot) -> None:
    labels = strokes((3, 20, 30))
    labels[2] = 0
    form.viewer.add_image(np.zeros((3, 20, 30), np.uint8), name="cells")
    form.viewer.add_labels(labels, name="strokes")
    settled(form, qtbot)
    for plane, on_slice in ((0, "16"), (2, "0")):
        form.viewer.dims.set_point(0, plane)
        table = form.book.table
        qtbot.waitUntil(
            lambda t=table, wanted=on_slice: t.item(0, 3).text() == wanted, timeout=WAIT_MS
        )
        assert form.book.table.item(0, 4).text() == "32"
