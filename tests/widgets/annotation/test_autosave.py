"""Strokes outlive the program that they were painted in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import psutil
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtWidgets import QMenu

from napari_sam2_adapters import processes
from napari_sam2_adapters.atomic import machine_id
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import read_image, read_labels, write_array
from napari_sam2_adapters.processes import this_process
from napari_sam2_adapters.widgets.annotation.autosave import Autosave, find_lost, save_labels
from napari_sam2_adapters.widgets.annotation.class_names import classes_of_layer
from napari_sam2_adapters.widgets.annotation.restore import RestoreBanner
from napari_sam2_adapters.widgets.annotation.snapshots import (
    LabelsToSave,
    autosave_folder,
    list_snapshots,
)
from napari_sam2_adapters.widgets.docks.layers import world_matrix
from napari_sam2_adapters.widgets.docks.spread import spread_of
from napari_sam2_adapters.widgets.fine_tuning.data_form import DataForm
from napari_sam2_adapters.widgets.labels_writer import write_labels_layer
from napari_sam2_adapters.widgets.loading.file_layers import image_layer

KILLED = f"{machine_id()}-{2**30}-1-{this_process().system}-a"
"""A session of a process that is no more."""
PAINTER = """
import time
import numpy as np
from qtpy.QtWidgets import QApplication
app = QApplication([])
from napari.components import ViewerModel
from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.widgets.annotation.autosave import Autosave
from napari_sam2_adapters.widgets.annotation.class_names import name_classes
from napari_sam2_adapters.widgets.fine_tuning.data_form import DataForm

viewer = ViewerModel()
place = {"scale": (2, 0.5, 0.5), "translate": (1, 2, 3), "units": ("um",) * 3}
viewer.add_image(np.zeros((3, 20, 30), np.uint8), name="cells", **place)
strokes = viewer.add_labels(np.zeros((3, 20, 30), np.uint8), name="strokes", **place)
name_classes(strokes, [ClassInfo(value=1, name="nucleus", color="#123456")])
form = DataForm(viewer)
autosave = Autosave(form.to_save)
form.edited.connect(autosave.touch)
strokes.brush_size, strokes.selected_label = 4, 1
strokes.paint((1, 10, 10), 1)
app.processEvents()
autosave.done.connect(lambda: print("saved", int((strokes.data == 1).sum()), flush=True))
autosave._timer.timeout.emit()  # a minute later
while True:
    app.processEvents()
    time.sleep(0.01)
"""


@pytest.fixture
def killed(adapters_home) -> int:
    """A program that painted, was saved by the timer and then killed; gives the pixels that it painted."""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    painter = subprocess.Popen(
        [sys.executable, "-c", PAINTER], stdout=subprocess.PIPE, encoding="utf-8", env=environment
    )
    with painter:
        line = painter.stdout.readline()
        painter.send_signal(signal.SIGKILL)
    assert line.startswith("saved ")
    return int(line.split()[1])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_what_a_killed_program_left_is_offered_and_restored(killed, qtbot) -> None:
    viewer = ViewerModel()
    banner = RestoreBanner(viewer)
    qtbot.addWidget(banner)
    banner.look()
    qtbot.waitUntil(lambda: not banner.isHidden(), timeout=60_000)
    assert f"strokes ({killed:,} px" in banner.text.text()
    with qtbot.waitSignal(banner.restored, timeout=60_000):
        banner.restore_button.click()
    layer = viewer.layers[0]
    assert layer.name == "strokes – restored"
    assert (layer.data[1] == 1).sum() == killed > 5
    assert not layer.data[[0, 2]].any()
    np.testing.assert_allclose(layer.scale, (2, 0.5, 0.5))
    np.testing.assert_allclose(layer.translate, (1, 2, 3))
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
    [info] = classes_of_layer(layer, [1], "unlabelled")
    assert (info.name, info.color) == ("nucleus", "#123456")
    qtbot.waitUntil(lambda: not find_lost(), timeout=60_000)  # not offered again
    assert list_snapshots(autosave_folder())  # but still listed


def layer_of(labels, layer_id="1"):
    return LabelsToSave("strokes", labels, (), {}, "cells", layer_id)


def test_a_session_that_ends_as_it_should_leaves_nothing_lost(qtbot) -> None:
    labels = np.ones((4, 4), np.uint8)
    autosave = Autosave(lambda: [layer_of(labels)])
    autosave.touch()
    with qtbot.waitSignal(autosave.done, timeout=60_000):
        autosave.save()
    assert list(autosave_folder().glob("open-*.json"))
    labels[0, 0] = 2
    autosave.touch()
    autosave.end()
    qtbot.waitUntil(lambda: len(list_snapshots(autosave_folder())) == 2, timeout=60_000)
    qtbot.waitUntil(lambda: not list(autosave_folder().glob("open-*.json")), timeout=60_000)
    assert find_lost() == []


def test_a_save_that_comes_as_the_session_ends_does_not_open_it_again(qtbot, monkeypatch) -> None:
    ended = threading.Event()

    def save_late(*arguments: object) -> dict[str, int]:
        assert ended.wait(60)
        return save_labels(*arguments)

    monkeypatch.setattr("napari_sam2_adapters.widgets.annotation.autosave.save_labels", save_late)
    saving = Autosave(lambda: [layer_of(np.ones((4, 4), np.uint8))])
    saving.touch()
    saving.save()  # as a window does when it closes
    saving.end()
    for thread in threading.enumerate():
        if "_save_and_close" in thread.name:
            thread.join(60)
    ended.set()
    qtbot.waitUntil(lambda: not saving.saving, timeout=60_000)
    assert list_snapshots(autosave_folder())
    assert not list(autosave_folder().glob("open-*.json"))
    saving.touch()
    saving.save()  # somebody did not want to close after all
    qtbot.waitUntil(lambda: not saving.saving, timeout=60_000)
    assert list(autosave_folder().glob("open-*.json"))


def test_what_has_not_changed_is_not_saved_again() -> None:
    labels = np.ones((4, 4), np.uint8)
    checksums = save_labels([layer_of(labels)], KILLED, {})
    save_labels([layer_of(labels)], KILLED, checksums)
    assert len(list_snapshots(autosave_folder())) == 1
    assert [saved.name for saved in find_lost()] == ["strokes"]


def test_a_process_that_says_nothing_of_itself_is_another_one(monkeypatch) -> None:
    save_labels([layer_of(np.ones((4, 4), np.uint8))], KILLED, {})

    def refuse(pid: int) -> float:
        raise psutil.AccessDenied(pid)

    monkeypatch.setattr(processes, "_started", refuse)
    assert [saved.name for saved in find_lost()] == ["strokes"]


def test_a_session_that_may_be_open_on_another_machine_is_lost_after_an_hour() -> None:
    elsewhere = f"{'0' * 8}-1-1--a"
    save_labels([layer_of(np.ones((4, 4), np.uint8))], elsewhere, {})
    assert find_lost() == []
    marker = autosave_folder() / f"open-{elsewhere}.json"
    for age, lost in ((3000, 0), (4000, 1)):
        os.utime(marker, (time.time() - age,) * 2)
        assert len(find_lost()) == lost


def test_a_copy_that_a_cloud_drive_made_hides_nothing_that_is_lost() -> None:
    save_labels([layer_of(np.ones((4, 4), np.uint8))], KILLED, {})
    (autosave_folder() / f"open-conflict of {KILLED}.json").touch()
    assert [saved.name for saved in find_lost()] == ["strokes"]


def test_every_layer_of_a_killed_session_is_offered_however_much_was_saved_of_others() -> None:
    layers = [np.zeros((8, 8), np.uint8) for _ in range(12)]
    checksums: dict[str, int] = {}
    for number, labels in enumerate(layers):  # painted one after the other, each saved three times
        for column in range(3):
            labels[number % 8, column] = 1
            described = [layer_of(array, str(i)) for i, array in enumerate(layers)]
            checksums = save_labels(described, KILLED, checksums)
    assert sorted(saved.layer_id for saved in find_lost()) == sorted(map(str, range(12)))
    assert {saved.pixels for saved in find_lost()} == {3}


def test_labels_on_disk_that_are_huge_are_left_to_their_file() -> None:
    class Huge:
        shape, dtype = (1000, 4096, 4096), np.dtype("u1")

        def __getitem__(self, key):
            raise AssertionError("read")

    save_labels([layer_of(Huge())], KILLED, {})
    assert list_snapshots(autosave_folder()) == []


def test_the_dock_form_says_what_to_save(qtbot) -> None:
    viewer = ViewerModel()
    form = DataForm(viewer)
    qtbot.addWidget(form)
    assert form.to_save() == []
    viewer.add_image(np.zeros((3, 20, 30), np.uint8), name="cells")
    layer = viewer.add_labels(np.zeros((3, 20, 30), np.uint8), name="strokes")
    [saved] = form.to_save()
    assert (saved.name, saved.image) == ("strokes", "cells")
    assert saved.labels is layer.data
    form.stop_following()


def test_strokes_on_slices_with_channels_are_restored_as_they_lay(qtbot) -> None:
    viewer = ViewerModel()
    form = DataForm(viewer)
    qtbot.addWidget(form)
    viewer.add_image(np.zeros((3, 2, 20, 30), np.uint8), name="cells", axis_labels=tuple("zcyx"))
    form.rows[0].add_button.click()
    strokes = form.rows[0].labels.layer
    strokes.data[2, 0, 5:9] = 1
    save_labels(form.to_save(), "", {})
    banner = RestoreBanner(viewer)
    qtbot.addWidget(banner)
    banner.restored.connect(form.take_restored)
    with qtbot.waitSignal(banner.restored, timeout=60_000):
        banner.restore(*list_snapshots(autosave_folder()))
    layer = form.rows[0].labels.layer
    assert layer.name == "cells – strokes – restored"
    np.testing.assert_array_equal(layer.data, strokes.data)
    np.testing.assert_allclose(layer.scale, strokes.scale)
    assert spread_of(layer) == 1
    assert form.pairs[0].labels.shape == (3, 20, 30)
    form.stop_following()


def put_back(form: DataForm, qtbot) -> Labels:
    """The first strokes of a form as they are restored from their copy."""
    form.rows[0].add_button.click()
    form.rows[0].labels.layer.data[1, 5:9] = 1
    save_labels(form.to_save(), "", {})
    banner = RestoreBanner(form.viewer)
    qtbot.addWidget(banner)
    with qtbot.waitSignal(banner.restored, timeout=60_000):
        banner.restore(*list_snapshots(autosave_folder()))
    form.stop_following()
    return form.viewer.layers[-1]


def test_strokes_are_restored_with_all_of_their_place(qtbot) -> None:
    viewer = ViewerModel()
    form = DataForm(viewer)
    qtbot.addWidget(form)
    image = viewer.add_image(
        np.zeros((3, 20, 30), np.uint8),
        scale=(3, 2, 1),
        translate=(7, 8, 9),
        rotate=(10, 20, 30),
        shear=(0.1, 0.2, 0.3),
        affine=np.array([[1, 0.1, 0, 4], [0, 1, 0.2, 5], [0, 0, 1, 6], [0, 0, 0, 1]]),
        units=("mm", "mm", "mm"),
        axis_labels=("z", "y", "x"),
    )
    layer = put_back(form, qtbot)
    np.testing.assert_allclose(world_matrix(layer), world_matrix(image))
    assert (layer.units, layer.axis_labels) == (image.units, image.axis_labels)


def test_strokes_on_a_sagittal_volume_are_restored_with_its_direction(tmp_path, qtbot) -> None:
    viewer = ViewerModel()
    form = DataForm(viewer)
    qtbot.addWidget(form)
    lies = Geometry(
        (3.0, 2.0, 1.0), "millimeter", (7.0, 8.0, 9.0), ((0, 0, 1), (0.8, 0.6, 0), (-0.6, 0.8, 0))
    )
    path = write_array(tmp_path / "a.nrrd", np.zeros((3, 20, 30)), axes="ZYX", geometry=lies)
    image_layer(read_image(path)).add_to(viewer)
    layer = put_back(form, qtbot)
    (saved,) = write_labels_layer(str(tmp_path / "b.nrrd"), *layer.as_layer_data_tuple()[:2])
    np.testing.assert_allclose(read_labels(saved).geometry.affine(), lies.affine(), atol=1e-9)


def test_all_copies_that_can_be_read_are_put_back(qtbot) -> None:
    viewer = ViewerModel()
    banner = RestoreBanner(viewer)
    qtbot.addWidget(banner)
    layers = [
        LabelsToSave(name, np.full((4, 4), value, np.uint8), (), {}, "cells", name)
        for value, name in enumerate("abc", 1)
    ]
    save_labels(layers, "", {})
    a, b, c = sorted(list_snapshots(autosave_folder()), key=lambda saved: saved.name)
    with zipfile.ZipFile(b.path) as whole:
        about = whole.read("about.json")
    with zipfile.ZipFile(b.path, "w") as damaged:
        damaged.writestr("about.json", about)
    banner.restore(a, b)
    banner.restore(c)  # while the others are read
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=60_000)
    assert {layer.name: int(layer.data[0, 0]) for layer in viewer.layers} == {
        "a – restored": 1,
        "c – restored": 3,
    }
    banner.restore(a)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=60_000)


def test_copies_are_listed_by_the_names_that_their_layers_have(qtbot) -> None:
    banner = RestoreBanner(ViewerModel())
    qtbot.addWidget(banner)
    save_labels([LabelsToSave("H&E", np.ones((4, 4), np.uint8), (), {}, "", "1")], "", {})
    banner.open_menu(banner)
    qtbot.waitUntil(lambda: bool(banner.findChildren(QMenu)), timeout=60_000)
    (menu,) = banner.findChildren(QMenu)
    assert "H&&E" in menu.actions()[0].text()  # which Qt writes as H&E
    menu.close()
