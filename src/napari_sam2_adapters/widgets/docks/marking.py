"""The mark of a field that stands in the way of a start."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

__all__ = ["mark"]

_WRONG = "border: 1px solid #d55e00;"


def mark(field: QWidget, wrong: bool) -> None:
    """Frame a field, or take the frame away; a style that stays is not set again, because that is slow."""
    style = _WRONG if wrong else ""
    if field.styleSheet() != style:
        field.setStyleSheet(style)
