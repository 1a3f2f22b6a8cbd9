"""What a training goes on from stays chosen until something else is."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog

from napari_sam2_adapters.data.packed_split import DIVISION, pack_split
from napari_sam2_adapters.data.splitting import Region, Split
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


def test_a_file_that_says_what_was_held_out_is_scored_on_that(qtbot, saved_adapter) -> None:
    held_out = Region(0, (), slice(0, 9), slice(0, 9), "")
    split = Split((Region(0, (), slice(20, 60), slice(0, 60), ""),), (held_out,), "", ("abc",))
    choice = StartChoice()
    qtbot.addWidget(choice)
    choice.choose_file(saved_adapter("silent"))
    qtbot.waitUntil(lambda: "may flatter it" in choice.line.text(), timeout=60_000)
    choice.choose_file(saved_adapter("frank", training={DIVISION: pack_split(split)}))
    qtbot.waitUntil(lambda: "same held-out part" in choice.line.text(), timeout=60_000)
    assert choice.known is not None
    assert choice.known.start.split == split
    everything = pack_split(Split(split.train, (), "", ("abc",)))
    choice.choose_file(saved_adapter("all", training={DIVISION: everything}))
    qtbot.waitUntil(
        lambda: "learnt from all that was labelled" in choice.line.text(), timeout=60_000
    )
