"""The Batch folder dock as a person uses it, with fresh adapters on the built-in backbone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.qt import get_stylesheet
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt

from napari_sam2_adapters.batch import run as run_module
from napari_sam2_adapters.widgets.batch import BatchFolder

WAIT_MS = 120_000


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Five images of 0.5 µm pixels and a broken one."""
    folder = tmp_path / "screen 7"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        image = rng.integers(0, 60, (40, 48), dtype=np.uint8)
        image[:, 24:] += 150
        size = {"resolution": (2.0, 2.0), "metadata": {"unit": "um"}}
        tifffile.imwrite(folder / f"cell {number}.tif", image, imagej=True, **size)
    (folder / "broken.tif").write_bytes(b"broken")
    return folder


@pytest.fixture
def dock(viewer, qtbot, saved_adapter):
    """A dock that finds one adapter."""
    saved_adapter()
    made = BatchFolder(viewer)
    yield made
    made.job.stop()
    qtbot.waitUntil(lambda: not made.job.running, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: made.start_button.isEnabled() or bool(made.missing()), timeout=WAIT_MS)
    made.close()
    made.deleteLater()


def ready(dock: BatchFolder, qtbot) -> None:
    qtbot.waitUntil(dock.start_button.isEnabled, timeout=WAIT_MS)


def settled(dock: BatchFolder, qtbot) -> str:
    """What the dock says when it has looked at the folder."""
    qtbot.waitUntil(
        lambda: not dock.job.running and "Looking" not in dock.missing(), timeout=WAIT_MS
    )
    return dock.reason.text()


def run(dock: BatchFolder, qtbot) -> None:
    ready(dock, qtbot)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.start_button.click()
    settled(dock, qtbot)


def column(dock: BatchFolder, number: int) -> list[str]:
    model = dock.table.model()
    return [model.index(row, number).data() for row in range(model.rowCount())]


def test_the_images_come_into_sight_of_a_low_window_when_they_are_segmented(
    dock, qtbot, images
) -> None:
    dock.resize(400, 300)
    dock.show()
    dock.form.folder.path = images
    ready(dock, qtbot)
    assert dock.table.visibleRegion().isEmpty()
    dock.start_button.click()
    qtbot.waitUntil(lambda: not dock.table.visibleRegion().isEmpty(), timeout=WAIT_MS)
    dock.cancel_button.click()


def test_views_that_an_adapter_cannot_know_are_advised_against(
    dock, qtbot, images, saved_adapter, monkeypatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("napari_sam2_adapters.widgets.batch.show_warning", said.append)
    upright = saved_adapter("upright", training={"settings": {"recipe": "upright"}})
    dock.form.adapter.open_model(upright)
    dock.form.folder.path = images
    views = dock.findChild(object, "test_time_augmentation")
    views.setCurrentText("flips and turns")
    ready(dock, qtbot)
    dock.start_button.click()
    dock.cancel_button.click()
    assert [line for line in said if "the same way round" in line]


def test_a_folder_from_its_preview_to_a_result_in_the_viewer(dock, viewer, qtbot, images) -> None:
    assert "Choose a folder" in dock.reason.text()
    dock.form.folder.path = images
    ready(dock, qtbot)
    assert column(dock, 0) == ["broken.tif", *(f"cell {n}.tif" for n in range(5))]
    assert set(column(dock, 1)) == {"waiting"}
    assert dock.form.found.text() == "6 images."
    assert not dock.open_button.isEnabled()
    run(dock, qtbot)
    assert "5 of 6 images done, 1 failed" in dock.status.text()
    assert column(dock, 1) == ["failed", *["done"] * 5]
    assert dock.status.toolTip().startswith("Memory plan: 1 tile of ")
    assert "cannot be read" in column(dock, 3)[0]
    assert "class 1" in column(dock, 3)[1]
    assert "Retry failed" in dock.reason.text()
    assert dock.open_button.isEnabled()
    assert (images / "segmented" / "report.csv").is_file()

    result = dock.table.model().index(1, 3).data(Qt.ItemDataRole.ToolTipRole)
    assert str(images / "segmented" / "cell 0.tif") in result
    dock.table.activated.emit(dock.table.model().index(0, 0))
    assert dock.status.text().startswith("broken.tif failed: cannot be read")
    dock.table.activated.emit(dock.table.model().index(2, 0))
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=WAIT_MS)
    image, labels = viewer.layers
    assert image.name == "cell 1.tif"
    assert labels.data.shape == (40, 48)
    np.testing.assert_allclose(labels.scale, (0.5, 0.5))
    np.testing.assert_allclose(labels.scale, image.scale)
    assert str(labels.units[0]) == "micrometer"
    assert list(labels.features["class"]) == ["class 1", "class 2"]
    dock.table.activated.emit(dock.table.model().index(2, 0))
    qtbot.wait(200)
    assert len(viewer.layers) == 2  # shown once
    assert set(viewer.layers.selection) == {image, labels}


@pytest.fixture
def go_on(monkeypatch) -> Iterator[threading.Event]:
    """Until it is set, a batch comes no farther than its second image, so that a fast machine is not through before anybody can cancel."""
    let_go, run_batch = threading.Event(), run_module.run_batch

    def held(*args):
        with closing(run_batch(*args)) as records:
            since_first = 0
            for record in records:
                since_first += since_first > 0 or record.status == "done"
                yield record
                if (
                    since_first == 1
                ):  # long enough for the next record to bring the news of this one
                    let_go.wait(0.2)
                elif since_first > 1:
                    let_go.wait(WAIT_MS / 1000)

    monkeypatch.setattr(run_module, "run_batch", held)
    yield let_go
    let_go.set()


def test_cancel_and_continue(dock, qtbot, images, go_on) -> None:
    dock.form.folder.path = images
    ready(dock, qtbot)
    dock.start_button.click()
    assert not dock.form.isEnabled()
    qtbot.waitUntil(lambda: dock.table.records.counts()["done"] >= 1, timeout=WAIT_MS)
    with qtbot.waitSignal(dock.job.ended, timeout=WAIT_MS):
        dock.cancel_button.click()
        go_on.set()
    assert "Cancelled" in dock.status.text()
    settled(dock, qtbot)
    counts = dock.table.records.counts()
    assert counts["done"] >= 1
    assert counts["pending"] >= 1
    assert {*column(dock, 1)} <= {"done", "failed", "waiting"}  # nothing was done earlier
    assert dock.start_button.text() == "Continue"
    before = {p.name: p.stat().st_mtime_ns for p in (images / "segmented").glob("*.tif")}
    run(dock, qtbot)
    assert dock.table.records.counts()["done"] == 5
    after = {p.name: p.stat().st_mtime_ns for p in (images / "segmented").glob("*.tif")}
    assert before.items() < after.items()  # nothing was done twice
    assert "done earlier" in column(dock, 1)


def test_other_settings_need_consent(dock, qtbot, images) -> None:
    dock.form.pattern.setText("cell [01]*")
    dock.form.folder.path = images
    run(dock, qtbot)
    assert dock.reason.text() == "All 2 images are done."
    dock.form.wanted.boxes["uncertainty"].setChecked(True)
    assert "with other settings" in settled(dock, qtbot)
    assert not dock.start_button.isEnabled()
    dock.form.options.boxes["overwrite"].setChecked(True)
    run(dock, qtbot)
    assert (images / "segmented" / "cell 0_uncertainty.tif").is_file()


def test_what_is_written_besides_comes_without_consent(dock, qtbot, images) -> None:
    dock.form.pattern.setText("cell [01]*")
    dock.form.folder.path = images
    run(dock, qtbot)
    masks = {p.name: p.stat().st_mtime_ns for p in (images / "segmented").glob("*.tif")}
    for name in ("measurements", "html_report"):
        dock.form.extras.boxes[name].setChecked(True)
    run(dock, qtbot)
    assert dock.reason.text() == "All 2 images are done."
    for name in ("measurements/cell 0.csv", "overlays/cell 1.png", "report.html"):
        assert (images / "segmented" / name).is_file()
    (images / "segmented" / "report.html").unlink()
    dock.look()
    run(dock, qtbot)
    assert (images / "segmented" / "report.html").is_file()
    after = {p.name: p.stat().st_mtime_ns for p in (images / "segmented").glob("*.tif")}
    assert after == masks


def test_what_is_wrong_is_said_and_disables_the_start(dock, qtbot, images, tmp_path) -> None:
    dock.form.folder.path = tmp_path / "nowhere"
    settled(dock, qtbot)
    assert "is not a folder" in dock.form.found.text()
    assert not dock.start_button.isEnabled()
    dock.form.folder.path = images
    dock.form.pattern.setText("*.png")
    qtbot.waitUntil(lambda: "No image fits" in dock.form.found.text(), timeout=WAIT_MS)
    dock.form.pattern.setText("*")
    dock.form.output.path = images
    qtbot.waitUntil(lambda: "among the images" in dock.form.found.text(), timeout=WAIT_MS)
    dock.form.output.path = tmp_path / "results"
    ready(dock, qtbot)


def test_a_folder_in_use_is_said(dock, viewer, qtbot, images) -> None:
    from napari_sam2_adapters.batch.lock import locked_folder

    dock.form.folder.path = images
    ready(dock, qtbot)
    (images / "segmented").mkdir()
    with (
        locked_folder(images / "segmented"),
        qtbot.waitSignal(dock.job.failed, timeout=WAIT_MS),
    ):
        dock.start_button.click()
    assert "Another run is at work" in dock.status.text()
    ready(dock, qtbot)


def test_a_folder_in_use_is_not_offered_until_the_other_run_has_ended(
    dock, qtbot, images, tmp_path
) -> None:
    from napari_sam2_adapters.batch.lock import locked_folder

    (images / "segmented").mkdir()
    with locked_folder(images / "segmented"):
        dock.form.folder.path = images
        qtbot.waitUntil(lambda: "Another run is at work" in dock.reason.text(), timeout=WAIT_MS)
        assert not dock.start_button.isEnabled()
        dock.form.output.path = tmp_path / "elsewhere"
        ready(dock, qtbot)
        dock.form.output.path = None
        qtbot.waitUntil(lambda: "Another run is at work" in dock.reason.text(), timeout=WAIT_MS)
    ready(dock, qtbot)


def test_its_own_run_is_no_other_one(dock, qtbot, images) -> None:
    """Also when the folder is looked at while it holds the lock."""
    dock.form.folder.path = images
    ready(dock, qtbot)
    said: list[str] = []
    dock.busy.changed.connect(lambda: said.append(dock.busy.reason))
    dock.job.updated.connect(lambda _: dock._ask())
    run(dock, qtbot)
    assert said == []


def test_images_can_be_looked_at_without_an_adapter(viewer, qtbot, images) -> None:
    dock = BatchFolder(viewer)
    qtbot.addWidget(dock)
    dock.form.folder.path = images
    qtbot.waitUntil(lambda: dock.form.found.text() == "6 images.", timeout=WAIT_MS)
    assert "Fine-tune" in settled(dock, qtbot)
    dock.table.activated.emit(dock.table.model().index(1, 0))
    qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=WAIT_MS)
    dock.close()


def test_results_get_the_width_that_names_leave(dock, qtbot, images) -> None:
    dock.form.folder.path = images
    ready(dock, qtbot)
    dock.table.resize(500, 200)
    width = dock.table.viewport().width()
    (images / f"{'a long name ' * 10}.tif").write_bytes((images / "cell 0.tif").read_bytes())
    dock.look()
    ready(dock, qtbot)
    assert dock.table.columnWidth(0) == round(0.35 * width)
    assert dock.table.columnWidth(3) > 0.25 * width
    assert dock.table.textElideMode() == Qt.TextElideMode.ElideMiddle
    advance = dock.table.fontMetrics().horizontalAdvance
    assert advance("waiting") < dock.table.columnWidth(1) < advance("waiting") + 20


def test_images_that_are_added_later_are_found(dock, qtbot, images) -> None:
    dock.form.folder.path = images
    run(dock, qtbot)
    assert "Nothing is left" in dock.reason.text()
    for name in ("late A.tif", "late B.tif"):
        (images / name).write_bytes((images / "cell 0.tif").read_bytes())
    qtbot.waitUntil(lambda: "8 images" in dock.form.found.text(), timeout=WAIT_MS)
    ready(dock, qtbot)
    assert dock.start_button.toolTip() == "Segment 2 images."


def test_the_chosen_image_says_all_of_its_result(dock, qtbot, images) -> None:
    (images / "broken.tif").write_bytes(b"interrupted transfer")
    dock.form.folder.path = images
    ready(dock, qtbot)
    dock.table.setCurrentIndex(dock.table.model().index(0, 0))
    assert dock.status.text() == ""  # nothing has come of it yet
    dock.start_button.click()
    qtbot.waitUntil(lambda: not dock.job.running, timeout=WAIT_MS)
    settled(dock, qtbot)
    said = []
    for row in range(dock.table.model().rowCount()):
        dock.table.setCurrentIndex(dock.table.model().index(row, 0))
        said.append(dock.status.text())
    assert [text for text in said if text.startswith("broken.tif failed: ")]
    assert all("%" in text for text in said if "failed" not in text)
    assert len(set(said)) == len(said)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_status_can_be_read_in_every_theme(dock, viewer, qtbot, images, theme) -> None:
    dock.form.folder.path = images
    run(dock, qtbot)
    viewer.theme = theme
    ground = get_theme(theme).background.as_rgb_tuple()
    dock.setStyleSheet(get_stylesheet(theme))
    for row in range(2):
        index = dock.table.model().index(row, 1)
        text = index.data(Qt.ItemDataRole.ForegroundRole)
        light, dark = sorted(map(luminance, (ground, text.getRgb())), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 4.5


def luminance(color: tuple[int, ...]) -> float:
    """Relative luminance as the web's guidelines for contrast reckon it."""
    parts = np.array(color[:3], float) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_the_table_sorts_by_what_is_meant(dock, qtbot, images) -> None:
    for number in range(9, 12):
        (images / f"cell {number}.tif").write_bytes((images / "cell 0.tif").read_bytes())
    dock.form.folder.path = images
    ready(dock, qtbot)
    dock.table.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    assert column(dock, 0)[:4] == ["cell 11.tif", "cell 10.tif", "cell 9.tif", "cell 4.tif"]
