"""What stands in a line for a folder or file."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_sam2_adapters.widgets.docks.path_line import PathLine


@pytest.fixture
def line(qtbot) -> PathLine:
    made = PathLine("Folder of images", "choose or drop a folder")
    qtbot.addWidget(made)
    return made


def test_a_path_may_begin_at_home_or_with_a_name_that_does(line) -> None:
    for text, path in (
        ("", None),
        ("  ", None),
        ("~", Path.home()),
        ("~/cells", Path.home() / "cells"),
        ("~no such user", Path("~no such user")),  # half typed, or a folder of this name
        ("~no such user/cells", Path("~no such user/cells")),
        (" /data/cells ", Path("/data/cells")),
    ):
        line.line.setText(text)
        assert line.path == path


def test_a_folder_that_is_chosen_again_is_looked_at_again(line, qtbot, tmp_path: Path) -> None:
    line.take([tmp_path])
    assert line.path == tmp_path
    with qtbot.waitSignal(line.changed, timeout=60_000):
        line.take([tmp_path])


def test_an_emptied_line_says_again_what_it_takes(line) -> None:
    advice = line.line.toolTip()
    assert "Folder of images" in advice
    line.line.setText("/data/cells")
    assert line.line.toolTip() == "/data/cells"
    line.line.clear()
    assert line.line.toolTip() == advice
