"""Fields of a box that begin at the same place."""

from __future__ import annotations

from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QFormLayout, QLineEdit, QWidget

from napari_sam2_adapters.widgets.docks.folded import Folded
from napari_sam2_adapters.widgets.docks.section import Section


def form_of(*titles: str) -> tuple[QWidget, list[QLineEdit]]:
    widget, fields = QWidget(), [QLineEdit() for _ in titles]
    form = QFormLayout(widget)
    form.setContentsMargins(0, 0, 0, 0)
    for title, field in zip(titles, fields, strict=True):
        form.addRow(title, field)
    return widget, fields


def test_fields_of_all_forms_begin_at_the_same_place_and_folded_ones_at_theirs(qtbot) -> None:
    first, (short, long) = form_of("A", "A longer title")
    second, (other,) = form_of("Another")
    third, (deep,) = form_of("The longest title of all is folded away")
    fourth, (beside,) = form_of("Beside it")
    folded = Folded("Advanced", third, fourth)
    box = Section("Box", first, second, folded)
    qtbot.addWidget(box)
    box.show()
    folded.expand(animate=False)

    def starts(*fields: QLineEdit) -> set[int]:
        return {field.mapTo(box, QPoint(0, 0)).x() for field in fields}

    qtbot.waitUntil(lambda: len(starts(short, long, other)) == 1, timeout=60_000)
    qtbot.waitUntil(lambda: len(starts(deep, beside)) == 1, timeout=60_000)
    assert max(starts(short)) < min(starts(deep))  # what is folded away takes no room beside it
    label = first.layout().labelForField(short)
    label.setText("A title that is longer than it was")
    qtbot.waitUntil(lambda: min(starts(other)) > label.sizeHint().width(), timeout=60_000)
    qtbot.waitUntil(lambda: len(starts(short, long, other)) == 1, timeout=60_000)
