"""What a training goes on from stays chosen until something else is."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog

from napari_sam2_adapters.widgets.fine_tuning.start_choice import StartChoice


def test_who_asks_for_a_file_and_thinks_better_of_it_keeps_what_was_chosen(
    qtbot, monkeypatch, saved_adapter
) -> None:
    choice = StartChoice()
    qtbot.addWidget(choice)
    path = saved_adapter("cells")
    answers = [str(path), ""]
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (answers.pop(0), ""))

    def ask() -> None:
        row = choice.box.findData("ask")
        choice.box.setCurrentIndex(row)
        choice.box.activated.emit(row)

    ask()
    qtbot.waitUntil(lambda: choice.known is not None, timeout=60_000)
    assert choice.known.start.path == Path(path)
    ask()  # another one; no
    assert choice.known is not None
    assert choice.known.start.path == Path(path)
    assert not choice.line.isHidden()
