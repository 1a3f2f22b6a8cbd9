"""What the form of the Load dock shows while there is nothing to load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_sam2_adapters.widgets.loading.load_form import LoadForm


@pytest.fixture
def form(qtbot) -> Iterator[LoadForm]:
    made = LoadForm()
    qtbot.addWidget(made)
    yield made
    qtbot.waitUntil(lambda: not made.waiting, timeout=60_000)


def show(form: LoadForm, qtbot, path: Path) -> str:
    """Choose a path, and give what stands in the way when it was looked at."""
    form.folder.path = path
    qtbot.waitUntil(lambda: not form.waiting, timeout=60_000)
    return form.missing()


def test_a_file_that_cannot_be_read_leaves_no_empty_boxes(form, qtbot, tmp_path) -> None:
    tifffile.imwrite(tmp_path / "good.tif", np.zeros((20, 30), np.uint8))
    (tmp_path / "bad.tif").write_bytes(b"interrupted transfer")
    for name, can_be_read in (("good.tif", True), ("bad.tif", False), ("good.tif", True)):
        assert (show(form, qtbot, tmp_path / name) == "") == can_be_read
        assert form.described.isVisibleTo(form) == can_be_read
        assert form.on_it.isVisibleTo(form) == can_be_read


def test_files_of_another_pattern_are_not_listed_below_what_is_said_of_this_one(
    form, qtbot, tmp_path
) -> None:
    for number in range(3):
        tifffile.imwrite(tmp_path / f"{number}.tif", np.zeros((20, 30), np.uint8))
    assert show(form, qtbot, tmp_path) == ""
    form.pattern.setText("*.png")
    qtbot.waitUntil(lambda: not form.waiting, timeout=60_000)
    assert "No image fits '*.png'" in form.missing()
    assert form.list.count() == 0
    assert form.found.text() == "0 of 0 files."
    assert form.pattern.isVisibleTo(form)  # to type another one
    form.pattern.setText("[12].tif")
    qtbot.waitUntil(lambda: not form.waiting, timeout=60_000)
    assert form.missing() == ""
    assert form.found.text() == "2 of 2 files."


def test_a_path_that_does_not_exist_is_not_called_a_folder(form, qtbot, tmp_path) -> None:
    said = show(form, qtbot, tmp_path / "nowhere.tif")
    assert said == f"There is no file or folder {tmp_path / 'nowhere.tif'}. Check the path."
