from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtGui import QColor, QIcon, QImage

from napari_sam2_adapters.widgets.docks.icons import ICONS, IconButton, icon


def pixels(made: QIcon, mode: QIcon.Mode = QIcon.Mode.Normal) -> np.ndarray:
    image = made.pixmap(48, 48, mode).toImage().convertToFormat(QImage.Format.Format_RGBA8888)
    bits = image.constBits()
    if hasattr(bits, "setsize"):
        bits.setsize(image.sizeInBytes())
    return np.frombuffer(bits, np.uint8).reshape(image.height(), image.width(), 4).copy()


@pytest.mark.parametrize("name", ICONS)
def test_each_icon_has_a_shape_in_the_colour(qapp, name: str) -> None:
    shown = pixels(icon(name, QColor("#ff0000")))
    covered = shown[..., 3] > 200
    assert 0.08 < covered.mean() < 0.7
    assert (shown[covered][:, :3] == [255, 0, 0]).all()
    assert pixels(icon(name, QColor("#ff0000")), QIcon.Mode.Disabled)[..., 3].max() < 120


def test_a_button_follows_the_theme(qtbot) -> None:
    push = IconButton("Go", "play")
    qtbot.addWidget(push)
    push.show()
    for color in ("#102030", "#f0f0f0"):
        push.setStyleSheet(f"QPushButton {{ color: {color}; }}")
        shown = pixels(push.icon())
        middle = shown[24, 24]
        assert tuple(middle) == (*QColor(color).getRgb()[:3], 255)


def test_an_unknown_icon_is_a_mistake(qapp) -> None:
    with pytest.raises(KeyError):
        icon("smile", QColor("red"))
