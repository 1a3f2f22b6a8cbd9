"""A titled part of a dock, in which the fields of all forms begin at the same place."""

from __future__ import annotations

from collections.abc import Iterator

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QFormLayout, QGroupBox, QLabel, QVBoxLayout, QWidget

from napari_sam2_adapters.widgets.docks.folded import Folded

__all__ = ["Section"]


class Section(QGroupBox):
    """A titled box with widgets below each other.

    The forms in it line up as if they were one; those that are folded away line up among themselves.

    Parameters
    ----------
    title
        Its title.
    parts
        The widgets.
    """

    def __init__(self, title: str, *parts: QWidget) -> None:
        super().__init__(title)
        layout = QVBoxLayout(self)
        for part in parts:
            layout.addWidget(part)

    def event(self, event: QEvent) -> bool:
        """Line up anew when something in it has changed its size, as a theme's fonts do."""
        if event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Show):
            self._line_up()
        return bool(super().event(event))

    def _line_up(self) -> None:
        columns: dict[QWidget, list[QLabel]] = {}
        for form in self.findChildren(QFormLayout):
            columns.setdefault(self._folded_in(form), []).extend(_labels(form))
        for labels in columns.values():
            widest = max((label.sizeHint().width() for label in labels), default=0)
            for label in labels:
                if label.minimumWidth() != widest:
                    label.setMinimumWidth(widest)

    def _folded_in(self, form: QFormLayout) -> QWidget:
        """The part that a form is folded away with; the box itself where it is not."""
        above = form.parentWidget()
        while above is not None and above is not self and not isinstance(above, Folded):
            above = above.parentWidget()
        return self if above is None else above


def _labels(form: QFormLayout) -> Iterator[QLabel]:
    for row in range(form.rowCount()):
        item = form.itemAt(row, QFormLayout.ItemRole.LabelRole)
        if item is not None and isinstance(item.widget(), QLabel):
            yield item.widget()
