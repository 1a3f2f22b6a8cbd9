from __future__ import annotations

import pytest
from napari.qt import get_stylesheet
from napari.utils.theme import get_theme
from qtpy.QtWidgets import QLabel

from napari_sam2_adapters.widgets.docks.folded import Folded


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_triangle_has_the_colour_of_the_title(qtbot, theme: str) -> None:
    label = QLabel("content")
    made = Folded("Advanced", label)
    qtbot.addWidget(made)
    made.setStyleSheet(get_stylesheet(theme))
    made.show()
    text = get_theme(theme).text.as_hex()
    for drawn in (made.collapsedIcon(), made.expandedIcon()):
        middle = drawn.pixmap(24, 24).toImage().pixelColor(12, 12)
        assert middle.name() == text
    made.expand(animate=False)
    assert label.isVisible()
