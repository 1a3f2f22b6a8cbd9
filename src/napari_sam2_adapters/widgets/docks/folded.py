"""A part of a dock that is folded away under its title."""

from __future__ import annotations

from qtpy.QtCore import QEvent
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QWidget
from superqt import QCollapsible

from napari_sam2_adapters.widgets.docks.icons import icon

__all__ = ["Folded"]


class Folded(QCollapsible):
    """A title with a triangle in the colour of its text, on light and dark themes; a click shows the content.

    Parameters
    ----------
    title
        What is folded away.
    content
        The widget.
    parent
        Qt parent.
    """

    def __init__(self, title: str, *content: QWidget, parent: QWidget | None = None) -> None:
        self._color = QColor()
        super().__init__(title, parent)
        for part in (self, self.content()):  # as wide as what is above and below it
            part.layout().setContentsMargins(0, 0, 0, 0)
        self.toggleButton().setToolTip("Show or hide these settings; they are fine as they are.")
        for widget in content:
            self.addWidget(widget)
        self._follow_theme()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 (Qt's name)
        """Draw the triangle anew when the colours of the window change."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._follow_theme()

    def _follow_theme(self) -> None:
        color = self.toggleButton().palette().buttonText().color()
        color.setAlphaF(1)
        if color != self._color:
            self._color = color
            self.setCollapsedIcon(icon("folded", color))
            self.setExpandedIcon(icon("unfolded", color))
