"""The line with a file or folder in it."""

from __future__ import annotations

from pathlib import Path

from napari_sam2_adapters.widgets.docks.path_line import PathLine


def test_a_folder_that_is_chosen_again_is_looked_at_again(qtbot, tmp_path: Path) -> None:
    line = PathLine("Folder", "")
    qtbot.addWidget(line)
    line.take([tmp_path])
    assert line.path == tmp_path
    with qtbot.waitSignal(line.changed, timeout=1000):
        line.take([tmp_path])
