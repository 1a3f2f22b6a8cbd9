"""The Load dock as a person uses it."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from qtpy.QtCore import QMimeData, QPoint, Qt, QUrl
from qtpy.QtGui import QDropEvent

from napari_sam2_adapters.batch.job import BatchJob, JobFile, write_job_file
from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data import stacks
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.io import write_array, write_labels
from napari_sam2_adapters.widgets.load import Load
from napari_sam2_adapters.widgets.loading import loading
from napari_sam2_adapters.widgets.loading.axes_form import AxesForm
from napari_sam2_adapters.widgets.loading.label_guess import look_like_labels

WAIT_MS = 120_000


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def dock(viewer, qtbot):
    made = Load(viewer)
    yield made
    qtbot.waitUntil(lambda: not made.job.running and not made.form.waiting, timeout=WAIT_MS)
    made.close()
    made.deleteLater()


def write_sections(folder: Path, number: int = 11, dtype: str = "uint8") -> Path:
    folder.mkdir(parents=True)
    for i in range(number):
        tifffile.imwrite(
            folder / f"section_{i}.tif",
            np.full((30, 40), i, dtype),
            imagej=True,
            resolution=(100.0, 100.0),
            metadata={"unit": "um"},
        )
    return folder


def settled(dock: Load, qtbot) -> str:
    """What the dock says when it has looked at the files."""
    qtbot.waitUntil(lambda: not dock.form.waiting, timeout=WAIT_MS)
    return dock.reason.text()


def load(dock: Load, qtbot) -> None:
    assert settled(dock, qtbot) == ""
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.start_button.click()


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_damaged_file_keeps_nobody_from_the_other_images(
    dock, viewer, qtbot, tmp_path, damaged
) -> None:
    folder = write_sections(tmp_path / "block", number=3)
    (folder / f"section_{damaged}.tif").write_bytes(b"damaged")
    dock.form.folder.path = folder
    dock.form.kind.setCurrentIndex(dock.form.kind.findData(False))
    load(dock, qtbot)
    others = [f"section_{i}.tif" for i in range(3) if i != damaged]
    assert [layer.name for layer in viewer.layers] == others
    said = dock.status.text()
    assert said.startswith(f"2 layers added. Left out: section_{damaged}.tif.")
    assert "cannot be read" in said


def test_of_several_damaged_files_the_first_is_explained(dock, viewer, qtbot, tmp_path) -> None:
    folder = write_sections(tmp_path / "block", number=4)
    for number in (0, 1, 3):
        (folder / f"section_{number}.tif").write_bytes(b"damaged")
    dock.form.folder.path = folder
    dock.form.kind.setCurrentIndex(dock.form.kind.findData(False))
    load(dock, qtbot)
    assert [layer.name for layer in viewer.layers] == ["section_2.tif"]
    said = dock.status.text()
    assert said.startswith("1 layer added. Left out: section_0.tif.")
    assert "2 other files could not be opened either; the log names them." in said


def test_sections_become_one_lazy_stack_with_what_is_set(dock, viewer, qtbot, tmp_path) -> None:
    assert "Choose images" in dock.reason.text()
    assert not dock.start_button.isEnabled()
    dock.form.folder.path = write_sections(tmp_path / "block")
    settled(dock, qtbot)
    axes = dock.form.axes
    assert axes.axes == "ZYX"
    assert [size.value() for size in axes.sizes] == pytest.approx([0.01] * 3)
    assert axes.unit.currentText() == "micrometer"
    assert "check the pixel size of Z" in axes.about.text()
    assert dock.form.inside.isHidden()  # these files hold no labels
    assert dock.form.list.item(2).text() == "section_2.tif"
    axes.sizes[0].setValue(0.05)
    load(dock, qtbot)
    (layer,) = viewer.layers
    assert layer.name == "block"
    assert layer.data.shape == (11, 30, 40)
    assert not isinstance(layer.data, np.ndarray)
    np.testing.assert_allclose(layer.scale, (0.05, 0.01, 0.01))
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
    assert layer.axis_labels == ("z", "y", "x")
    assert np.asarray(layer.data[10]).max() == 10
    assert dock.status.text() == "1 layer added."


def test_of_many_sections_only_heads_and_what_is_on_show_are_read(
    dock, viewer, qtbot, tmp_path, monkeypatch
) -> None:
    read = []
    real = stacks.read_image
    monkeypatch.setattr(
        loading,
        "open_stack",
        lambda paths: stacks.open_stack(paths, read=lambda p: read.append(p.name) or real(p)),
    )
    dock.form.folder.path = write_sections(tmp_path / "block", 500, "uint16")
    load(dock, qtbot)
    assert viewer.layers[0].data.shape == (500, 30, 40)
    opened = len(read)
    assert opened < 30  # a sample for the grey values among them
    viewer.dims.set_point(0, 321 * viewer.layers[0].scale[0])
    assert set(read[opened:]) == {"section_321.tif"}


def test_files_without_a_tick_stay_out(dock, viewer, qtbot, tmp_path) -> None:
    folder = write_sections(tmp_path / "block")
    (folder / "section_3.tif").write_bytes(b"broken")
    dock.form.folder.path = folder
    qtbot.waitUntil(lambda: "section_3.tif cannot be read" in dock.reason.text(), timeout=WAIT_MS)
    assert not dock.start_button.isEnabled()
    dock.form.list.item(3).setCheckState(Qt.CheckState.Unchecked)
    settled(dock, qtbot)
    assert dock.form.found.text() == "10 of 11 files."
    load(dock, qtbot)
    assert viewer.layers[0].data.shape == (10, 30, 40)
    dock.form.none_button.click()
    assert "Tick the files" in settled(dock, qtbot)
    dock.form.all_button.click()
    qtbot.waitUntil(lambda: "section_3.tif" in dock.reason.text(), timeout=WAIT_MS)


def test_a_corrected_size_outlives_a_change_of_ticks(dock, qtbot, tmp_path) -> None:
    dock.form.folder.path = write_sections(tmp_path / "block")
    settled(dock, qtbot)
    dock.form.axes.sizes[0].setValue(0.05)
    dock.form.axes.unit.setCurrentText("nanometer")
    dock.form.list.item(3).setCheckState(Qt.CheckState.Unchecked)
    settled(dock, qtbot)
    assert dock.form.axes.file.array.shape[0] == 10
    assert [size.value() for size in dock.form.axes.sizes] == pytest.approx([0.05, 0.01, 0.01])
    assert dock.form.axes.unit.currentText() == "nanometer"
    dock.form.kind.setCurrentIndex(
        1 - dock.form.kind.currentIndex()
    )  # other axes: what the files say
    settled(dock, qtbot)
    assert [size.value() for size in dock.form.axes.sizes] == pytest.approx([0.01, 0.01])


def test_separate_images_keep_their_own_sizes_unless_one_is_set(
    dock, viewer, qtbot, tmp_path
) -> None:
    folder = write_sections(tmp_path / "images", 2)
    coarse = {"imagej": True, "resolution": (1.0, 1.0), "metadata": {"unit": "um"}}
    tifffile.imwrite(folder / "coarse.tif", np.zeros((20, 20), np.uint16), **coarse)
    dock.form.folder.path = folder
    qtbot.waitUntil(lambda: "of one kind" in dock.reason.text(), timeout=WAIT_MS)
    dock.form.kind.setCurrentIndex(1)
    load(dock, qtbot)
    assert [layer.scale[0] for layer in viewer.layers] == pytest.approx([1, 0.01, 0.01])
    viewer.layers.clear()
    for size in dock.form.axes.sizes:
        size.setValue(7)
    load(dock, qtbot)
    assert [layer.scale[0] for layer in viewer.layers] == [7, 7, 7]


def test_sizes_of_many_digits_are_kept_and_go_for_no_other_image(
    dock, viewer, qtbot, tmp_path
) -> None:
    sizes = [(0.4296875, 0.4296875), (0.9, 0.9), (3.25e-7, 0.00016125)]  # 220 mm on 512 pixels
    for number, size in enumerate(sizes):
        place = Geometry(size, "millimeter", (0.0, 0.0))
        write_array(
            tmp_path / f"{number}.nrrd", np.zeros((8, 8), np.uint8), axes="YX", geometry=place
        )
    dock.form.folder.path = tmp_path
    dock.form.kind.setCurrentIndex(1)
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)
    form = dock.form.axes
    assert form.sizes[0].text() == form.sizes[0].locale().toString(0.429688)
    for box in form.sizes:
        box.interpretText()  # as a click on Load does with the box that has the focus
    assert not form.edited
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.start_button.click()
    assert [tuple(layer.scale) for layer in viewer.layers] == sizes
    form.sizes[0].setValue(0.5)
    assert form.edited
    assert form.settings.sizes == (0.5, 0.4296875)


def test_axes_that_make_no_sense_are_refused(dock, qtbot, tmp_path) -> None:
    dock.form.folder.path = write_sections(tmp_path / "block")
    settled(dock, qtbot)
    box = dock.form.axes.letters[0]
    box.setCurrentIndex(box.findData("Y"))
    assert "each at most once" in dock.reason.text()
    assert not dock.start_button.isEnabled()
    box.setCurrentIndex(box.findData("T"))
    assert dock.start_button.isEnabled()


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_an_image_in_an_unknown_unit_opens_in_pixels_and_says_so(
    viewer, dock, qtbot, tmp_path, name
):
    plane = np.arange(1200, dtype=np.uint8).reshape(30, 40)
    unit = "blah" if name == "a.tif" else "reference frame"
    if name == "a.tif":
        settings = {"imagej": True, "resolution": (4.0, 2.0), "metadata": {"unit": unit}}
    else:
        sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
        settings = {"metadata": {**sizes, "PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}}
    tifffile.imwrite(tmp_path / name, plane, **settings)
    dock.form.folder.path = tmp_path / name
    assert settled(dock, qtbot) == ""
    assert f"in '{unit}', which is no unit of length" in dock.form.axes.about.text()
    dock.start_button.click()
    qtbot.waitUntil(lambda: not dock.job.running, timeout=WAIT_MS)
    (layer,) = viewer.layers
    np.testing.assert_allclose(layer.scale, (0.5, 0.25))
    assert [str(each) for each in layer.units] == ["pixel", "pixel"]
    assert dock.status.text() == (
        f"1 layer added. The unit '{unit}' of {name} is not known: it is shown in pixels, with the numbers as they are."
    )


def test_channels_are_colours_layers_or_an_axis(dock, viewer, qtbot, tmp_path) -> None:
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "tissue.png")
    dock.form.folder.path = tmp_path / "tissue.png"
    settled(dock, qtbot)
    assert dock.form.axes.channel_choice == "rgb"
    load(dock, qtbot)
    assert viewer.layers[0].rgb

    rng = np.random.default_rng(0)
    array = rng.integers(0, 4000, (2, 20, 30), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "two.tif", array, imagej=True, metadata={"axes": "CYX"})
    dock.form.folder.path = tmp_path / "two.tif"
    settled(dock, qtbot)
    assert dock.form.axes.axes == "CYX"
    assert dock.form.axes.channel_choice == "layers"
    load(dock, qtbot)
    assert [layer.name for layer in viewer.layers[1:]] == [
        "two.tif – channel 1",
        "two.tif – channel 2",
    ]
    low, high = viewer.layers[1].contrast_limits
    assert 0 <= low < 100
    assert 3900 < high <= 4000
    choice = dock.form.axes.channels
    choice.setCurrentIndex(choice.findData("axis"))
    load(dock, qtbot)
    assert viewer.layers[-1].axis_labels == ("c", "y", "x")


def test_grey_stacks_of_three_planes_can_be_called_what_they_are(
    dock, viewer, qtbot, tmp_path
) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((3, 20, 30), np.uint8), photometric="minisblack")
    dock.form.folder.path = tmp_path / "x.tif"
    settled(dock, qtbot)
    box = dock.form.axes.letters[0]
    box.setCurrentIndex(box.findData("Z"))
    load(dock, qtbot)
    assert not viewer.layers[0].rgb
    assert viewer.layers[0].axis_labels == ("z", "y", "x")


def test_labels_lie_on_their_image_with_their_classes(dock, viewer, qtbot, tmp_path) -> None:
    folder = write_sections(tmp_path / "block")
    labels = np.zeros((11, 30, 40), np.uint8)
    labels[:, 5:10] = 1
    labels[:, 15:20] = 4
    (tmp_path / "done").mkdir()
    tifffile.imwrite(tmp_path / "done" / "labels.tif", labels)
    job = BatchJob(model=Path("m"), folder=folder, output=tmp_path / "done")
    known = ClassInfo(value=4, name="membrane", color="#ff0000")
    write_job_file(
        JobFile(job=job, model_sha256="", settings_sha256="", classes=(known,), package_version="0")
    )
    dock.form.folder.path = folder
    dock.form.labels.path = tmp_path / "done" / "labels.tif"
    settled(dock, qtbot)
    dock.form.axes.sizes[0].setValue(0.05)
    load(dock, qtbot)
    image, layer = viewer.layers
    np.testing.assert_array_equal(layer.data, labels)
    np.testing.assert_allclose(layer.scale, image.scale)
    assert list(layer.features["index"]) == [1, 4]
    assert list(layer.features["class"]) == ["class 1", "membrane"]
    np.testing.assert_allclose(layer.colormap.map(4)[:3], (1, 0, 0))
    layer.data_setitem((np.array([0]), np.array([0]), np.array([0])), 1)  # it can be painted in
    assert layer.data[0, 0, 0] == 1


def test_label_files_of_a_folder_are_found_by_name(dock, viewer, qtbot, tmp_path) -> None:
    folder = write_sections(tmp_path / "block", 3)
    for i in range(3):
        path = tmp_path / "labels" / f"section_{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((30, 40), i + 1, np.uint8)).save(path)
    dock.form.folder.path = folder
    dock.form.labels.path = tmp_path / "labels"
    load(dock, qtbot)
    assert viewer.layers[1].data[:, 0, 0].tolist() == [1, 2, 3]
    viewer.layers.clear()
    dock.form.kind.setCurrentIndex(1)
    load(dock, qtbot)
    assert [type(layer).__name__ for layer in viewer.layers] == ["Image", "Labels"] * 3


def test_labels_given_as_an_image_are_offered_as_labels(dock, viewer, qtbot, tmp_path) -> None:
    labels = np.zeros((20, 30), np.uint16)
    labels[4:9], labels[12:15] = 1, 3
    for place in ("cell_mask.tif", "masks/cell.tif", "raw/cell.tif", "raw/unmasked.tif"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        size = {"resolution": (2.0, 2.0), "metadata": {"unit": "um"}}
        content = labels * 50 if "raw" in place else labels
        tifffile.imwrite(tmp_path / place, content, imagej=True, **size)
        dock.form.folder.path = tmp_path / place
        settled(dock, qtbot)
        assert dock.form.as_labels.isVisibleTo(dock) == ("raw" not in place)
    dock.form.folder.path = tmp_path / "cell_mask.tif"
    settled(dock, qtbot)
    dock.form.as_labels.click()
    assert dock.form.on_it.isHidden()
    load(dock, qtbot)
    (layer,) = viewer.layers
    assert type(layer).__name__ == "Labels"
    np.testing.assert_array_equal(layer.data, labels)
    np.testing.assert_allclose(layer.scale, (0.5, 0.5))
    assert list(layer.features["index"]) == [1, 3]


def test_grey_values_in_a_folder_called_labels_stay_an_image(dock, qtbot, tmp_path) -> None:
    (tmp_path / "labels").mkdir()
    tifffile.imwrite(tmp_path / "labels" / "a.tif", np.arange(600, dtype=np.uint16).reshape(20, 30))
    dock.form.folder.path = tmp_path / "labels" / "a.tif"
    settled(dock, qtbot)
    assert not dock.form.as_labels.isVisibleTo(dock)


@pytest.mark.parametrize("number", [32, 33])
def test_more_nameless_values_than_a_training_takes_are_objects(
    dock, viewer, qtbot, tmp_path, number
) -> None:
    values = np.arange(1, number + 1, dtype=np.uint16).reshape(1, -1).repeat(20, axis=0)
    tifffile.imwrite(tmp_path / "cell_labels.tif", values)
    dock.form.folder.path = tmp_path / "cell_labels.tif"
    settled(dock, qtbot)
    dock.form.as_labels.click()
    load(dock, qtbot)
    assert ("class" in viewer.layers[0].features) == (number == 32)


def test_labels_that_do_not_fit_are_refused(dock, viewer, qtbot, tmp_path) -> None:
    tifffile.imwrite(tmp_path / "labels.tif", np.zeros((5, 5), np.uint8))
    dock.form.folder.path = write_sections(tmp_path / "block", 3)
    dock.form.labels.path = tmp_path / "labels.tif"
    settled(dock, qtbot)
    with qtbot.waitSignal(dock.job.failed, timeout=WAIT_MS):
        dock.start_button.click()
    assert "needs (3, 30, 40)" in dock.status.text()
    assert len(viewer.layers) == 0
    dock.form.labels.path = tmp_path / "nowhere.tif"
    assert "There are no labels" in dock.reason.text()
    assert dock.status.text() == ""  # what was said of the labels before


def drop(dock: Load, *paths: Path) -> bool:
    """Drop files on the dock; whether it took them."""
    content = QMimeData()
    content.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    event = QDropEvent(
        QPoint(5, 5).toPointF(),
        Qt.DropAction.CopyAction,
        content,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    dock.dropEvent(event)
    return event.isAccepted()


def test_several_files_dropped_on_the_dock_are_ticked(dock, qtbot, tmp_path) -> None:
    folder = write_sections(tmp_path / "block", 4)
    assert drop(dock, *(folder / f"section_{i}.tif" for i in (1, 3)))
    settled(dock, qtbot)
    assert [path.name for path in dock.form.paths] == ["section_1.tif", "section_3.tif"]


def test_what_is_set_or_dropped_while_images_are_read_does_not_reach_them(
    dock, viewer, qtbot, tmp_path, monkeypatch
) -> None:
    folder = write_sections(tmp_path / "images", 3)
    read, go_on = threading.Event(), threading.Event()
    real = loading.read_image

    def slow(path: Path) -> ImageFile:
        if path.name != "section_0.tif":
            read.set()
            assert go_on.wait(WAIT_MS / 1000)
        return real(path)

    dock.form.folder.path = folder
    settled(dock, qtbot)
    dock.form.kind.setCurrentIndex(1)
    settled(dock, qtbot)
    for size in dock.form.axes.sizes:
        size.setValue(0.25)
    monkeypatch.setattr(loading, "read_image", slow)
    dock.start_button.click()
    try:
        qtbot.waitUntil(read.is_set, timeout=WAIT_MS)
        assert not drop(dock, folder / "section_1.tif")
        assert dock.form.folder.path == folder
        for size in dock.form.axes.sizes:
            size.setValue(7)
    finally:
        go_on.set()
    qtbot.waitUntil(lambda: not dock.job.running, timeout=WAIT_MS)
    assert [layer.scale.tolist() for layer in viewer.layers] == [[0.25, 0.25]] * 3


def test_what_is_no_image_is_said(dock, qtbot, tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    dock.form.folder.path = tmp_path / "notes.txt"
    assert "no image that can be read" in settled(dock, qtbot)
    dock.form.folder.path = tmp_path
    qtbot.waitUntil(lambda: "No image fits" in dock.reason.text(), timeout=WAIT_MS)


def test_an_ome_zarr_offers_its_labels_and_keeps_its_pyramid(dock, viewer, qtbot, tmp_path) -> None:
    values = np.random.default_rng(0).integers(0, 4, (3, 700, 600)).astype(np.uint16)
    geometry = Geometry((2, 0.5, 0.5), "micrometer", (0, 7, -8))
    path = write_array(tmp_path / "a.ome.zarr", values * 1000, axes="ZYX", geometry=geometry)
    classes = (ClassInfo(value=2, name="membrane", color="#ff0000"),)
    write_labels(path / "labels" / "cells", values, axes="ZYX", classes=classes)
    dock.form.folder.path = path
    settled(dock, qtbot)
    assert dock.form.labels.path == path / "labels" / "cells"
    assert not dock.form.rows.isVisibleTo(dock.form)
    load(dock, qtbot)
    image, labels = viewer.layers
    assert image.multiscale
    assert [level.shape for level in image.data] == [(3, 700, 600), (3, 350, 300)]
    np.testing.assert_array_equal(labels.data, values)  # in memory, to be painted in
    for layer in (image, labels):
        np.testing.assert_allclose(layer.translate, (0, 7, -8))
        np.testing.assert_allclose(layer.scale, (2, 0.5, 0.5))
    assert "membrane" in labels.features["class"].tolist()
    write_labels(path / "labels" / "more", values, axes="ZYX")
    dock.form.labels.path = None
    dock.form.folder.path = tmp_path
    settled(dock, qtbot)  # the folder has this one image
    assert [dock.form.inside.itemText(row) for row in (1, 2)] == ["cells", "more"]
    assert dock.form.labels.path is None
    dock.form.inside.setCurrentIndex(2)
    dock.form.inside.activated.emit(2)
    assert dock.form.labels.path == path / "labels" / "more"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (np.pad(np.full((4, 4), 2, np.uint8), 9), True),
        (np.zeros((22, 22), np.uint8), False),
        (np.pad(np.full((4, 4), 200, np.uint8), 9), False),
        (np.arange(484, dtype=np.uint16).reshape(22, 22), False),
    ],
)
def test_small_whole_numbers_look_like_labels_whatever_they_are_called(
    tmp_path: Path, content: np.ndarray, expected: bool
) -> None:
    tifffile.imwrite(tmp_path / "cells.tif", content)
    assert look_like_labels([tmp_path / "cells.tif"]) is expected


def test_what_is_odd_about_a_file_is_said(qtbot, tmp_path: Path) -> None:
    form = AxesForm()
    qtbot.addWidget(form)
    plane = np.zeros((8, 9), np.uint8)
    form.show_file(ImageFile(plane, "YX", tmp_path / "a.dcm", notices=("Slices lie unevenly.",)))
    assert form.about.text().endswith("pixel size. Slices lie unevenly.")


def test_each_axis_is_shown_with_its_own_pixel_size(qtbot, tmp_path: Path) -> None:
    """A geometry is in the order Z, Y, X, whatever that of the file is."""
    form = AxesForm()
    qtbot.addWidget(form)
    place = Geometry((5.0, 2.0, 0.5), "micrometer")
    file = ImageFile(np.zeros((8, 9, 3), np.uint8), "YXZ", tmp_path / "a.npz", geometry=place)
    form.show_file(file)
    assert [size.value() for size in form.sizes] == [2, 0.5, 5]
    assert not form.edited
    form.sizes[2].setValue(7.0)
    assert form.apply(file).pixel_size == (7, 2, 0.5)


def test_labels_of_one_image_are_not_laid_on_the_next(dock, viewer, qtbot, tmp_path: Path) -> None:
    """Images of two patients often have one shape."""
    for name in ("patient 1", "patient 2", "patient 1 seg"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.eye(30, dtype=np.uint8))
    (tmp_path / "labels").mkdir()
    dock.form.folder.path = tmp_path / "patient 1.tif"
    dock.form.labels.path = tmp_path / "patient 1 seg.tif"
    load(dock, qtbot)
    dock.form.folder.take([tmp_path / "patient 1.tif"])
    assert dock.form.labels.path is not None  # the same image
    dock.form.folder.path = tmp_path / "patient 2.tif"
    assert dock.form.labels.path is None
    load(dock, qtbot)
    assert [layer.name for layer in viewer.layers][-1] == "patient 2.tif"
    dock.form.labels.path = tmp_path / "labels"
    dock.form.folder.path = tmp_path / "patient 1.tif"
    assert dock.form.labels.path == tmp_path / "labels"  # by name
