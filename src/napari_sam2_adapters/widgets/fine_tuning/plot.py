"""The learning curve: loss above, held-out Dice of each class in its colour below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyqtgraph as pg
from napari.utils.theme import get_theme
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sam2_adapters.config import ClassInfo

__all__ = ["LearningPlot"]

_LOSS_TICKS = ((0.001, 0.1, 10), (0.01, 1, 100), (0.003, 0.03, 0.3, 3, 30))
"""The most important ones first: the later ones are written only where there is room for them."""
_LEAST_LOSS = 0.001
"""What is less is drawn as this: few strokes are soon learnt down to 1e-9, which would leave no room for what is worth looking at."""
_AXIS_PX = 54


class LearningPlot(QWidget):
    """Loss of every step and Dice of every held-out check.

    Parameters
    ----------
    viewer
        The napari viewer, whose theme gives the colours.
    parent
        Qt parent.
    """

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._loss: tuple[list[int], list[float]] = ([], [])
        self._steps: list[int] = []
        self._dice: dict[str, list[float]] = {}
        self._curves: dict[str, Any] = {}
        self.loss_plot = _plot("loss", 80)
        self.dice_plot = _plot("Dice", 140)
        self.dice_plot.setYRange(0, 1, padding=0.12)
        self.dice_plot.getAxis("left").setTicks([[(0, "0"), (0.5, "0.5"), (1, "1")]])
        self.loss_plot.setLogMode(y=True)  # the first steps can lie far above all others
        self.loss_plot.getAxis("left").setTicks(
            [[(math.log10(v), str(v)) for v in level] for level in _LOSS_TICKS]
        )
        self.loss_plot.getAxis("bottom").setStyle(showValues=False)
        self.dice_plot.setXLink(self.loss_plot)
        self.dice_plot.setLabel("bottom", "step")
        # pyqtgraph lets the label stand out of the axis by 5 px
        self.dice_plot.getPlotItem().layout.setContentsMargins(1, 1, 1, 6)
        self._loss_curve = self.loss_plot.plot([], [])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.loss_plot)
        layout.addWidget(self.dice_plot)
        viewer.events.theme.connect(self.take_theme)
        self.take_theme()

    def clear(self, classes: Sequence[ClassInfo], steps: int) -> None:
        """Start an empty curve for a run of this many steps."""
        self._loss, self._steps = ([], []), []
        for curve in self._curves.values():
            self.dice_plot.removeItem(curve)
        self._dice = {info.name: [] for info in classes}
        self._curves = {
            info.name: self.dice_plot.plot(
                [], [], name=info.name, pen=pg.mkPen(info.color, width=2), symbol="o", symbolSize=4
            )
            for info in classes
        }
        for info in classes:
            self._curves[info.name].setSymbolBrush(info.color)
            self._curves[info.name].setSymbolPen(None)
            self._curves[info.name].setShadowPen(self._edge())
        self._loss_curve.setData([], [])
        self.loss_plot.setXRange(0, steps, padding=0.02)

    def add_loss(self, steps: Sequence[int], losses: Sequence[float]) -> None:
        """Go on with the losses of more steps."""
        self._loss[0].extend(steps)
        self._loss[1].extend(max(loss, _LEAST_LOSS) for loss in losses)
        self._loss_curve.setData(*self._loss)

    def add_check(self, step: int, dice: dict[str, float]) -> None:
        """Go on with the scores of a held-out check; a class without a score has a gap."""
        self._steps.append(step)
        for name, curve in self._curves.items():
            self._dice[name].append(dice.get(name, float("nan")))
            curve.setData(self._steps, self._dice[name], connect="finite")

    def take_theme(self, event: object = None) -> None:
        """Draw in the colours of napari's theme."""
        theme = get_theme(self._viewer.theme)
        text, ground = theme.text.as_hex(), theme.background.as_hex()
        for plot in (self.loss_plot, self.dice_plot):
            plot.setBackground(ground)
            for side in ("left", "bottom"):
                plot.getAxis(side).setPen(text)
                plot.getAxis(side).setTextPen(text)
        self._loss_curve.setPen(pg.mkPen(text, width=1.5))
        for curve in self._curves.values():
            curve.setShadowPen(self._edge())

    def _edge(self) -> Any:
        """A pen that edges curves: a class may have a colour that is much like the ground."""
        return pg.mkPen(get_theme(self._viewer.theme).text.as_hex() + "a0", width=3.5)


def _plot(title: str, height_px: int) -> Any:
    plot = pg.PlotWidget()
    plot.setFixedHeight(height_px)
    plot.setLabel("left", title)
    plot.getAxis("left").setWidth(_AXIS_PX)
    plot.getAxis("left").enableAutoSIPrefix(False)
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    plot.showGrid(x=False, y=True, alpha=0.2)
    return plot
