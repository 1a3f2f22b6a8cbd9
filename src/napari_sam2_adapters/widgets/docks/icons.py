"""Icons in the colour of the text beside them, on light and dark themes."""

from __future__ import annotations

from qtpy.QtCore import QByteArray, QEvent, QRectF, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtSvg import QSvgRenderer
from qtpy.QtWidgets import QPushButton, QWidget

__all__ = ["ICONS", "IconButton", "icon"]

ICONS = {
    "add": "M11 4h2v7h7v2h-7v7h-2v-7H4v-2h7z",
    "copy": "M4 3h11v3H7v10H4zM9 8h11v13H9zM11 10v9h7v-9z",
    "delete": "M9 3h6v2h5v2H4V5h5zM6 9h12l-1 12H7zM9 11l.5 8h1.5v-8zM13 11v8h1.5l.5-8z",
    "download": "M11 3h2v9h4l-5 5-5-5h4zM4 19h16v2H4z",
    "edit": "M4 16L14 6l4 4L8 20H4zM15 5l2-2 4 4-2 2z",
    "export": "M11 17h2V8h4l-5-5-5 5h4zM4 19h16v2H4z",
    "file": "M6 2h8l5 5v15H6zM8 4v16h9V9h-5V4z",
    "folded": "M8 5l9 7-9 7z",
    "folder": "M3 5h7l2 2h9v13H3zM5 10v8h14v-8z",
    "layers": "M12 3l9 5-9 5-9-5zM3 12l9 5 9-5v3l-9 5-9-5z",
    "measure": "M3 9h18v7H3zM5 11v3h1v-2h1v2h2v-3h1v3h2v-2h1v2h2v-3h1v3h3v-3z",
    "pause": "M7 5h4v14H7zM13 5h4v14h-4z",
    "play": "M7 4l13 8-13 8z",
    "stop": "M6 6h12v12H6z",
    "unfolded": "M5 8h14l-7 9z",
}
"""Outlines on a square of 24 by 24, in SVG's path language; where two overlap there is a hole."""
_SIDE_PX = 24


def icon(name: str, color: QColor) -> QIcon:
    """One of `ICONS` in a colour, paler where it is disabled.

    Raises
    ------
    KeyError
        When there is none of this name.
    """
    pale = QColor(color)
    pale.setAlphaF(0.35)
    made = QIcon()
    made.addPixmap(_picture(name, color), QIcon.Mode.Normal)
    made.addPixmap(_picture(name, pale), QIcon.Mode.Disabled)
    return made


class IconButton(QPushButton):
    """A push button with an icon that follows the theme.

    Parameters
    ----------
    text
        Its text.
    name
        One of `ICONS`.
    parent
        Qt parent.
    """

    def __init__(self, text: str, name: str, parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self._name = name
        self._color = QColor()
        self._follow_theme()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 (Qt's name)
        """Draw the icon anew when the colours of the window change."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._follow_theme()

    def _follow_theme(self) -> None:
        color = self.palette().buttonText().color()
        color.setAlphaF(1)
        if color != self._color:
            self._color = color
            self.setIcon(icon(self._name, color))


def _picture(name: str, color: QColor) -> QPixmap:
    drawing = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIDE_PX} {_SIDE_PX}">'
        f'<path fill-rule="evenodd" fill="{color.name()}" fill-opacity="{color.alphaF()}" d="{ICONS[name]}"/></svg>'
    )
    picture = QPixmap(2 * _SIDE_PX, 2 * _SIDE_PX)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    QSvgRenderer(QByteArray(drawing.encode())).render(painter, QRectF(picture.rect()))
    painter.end()
    return picture
