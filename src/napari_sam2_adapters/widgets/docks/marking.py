"""The mark of a field that stands in the way of a start."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

__all__ = ["WRONG", "mark"]

WRONG = "#d55e00"
"""Colour of what is wrong, told from the ground of both themes."""


def mark(field: QWidget, wrong: bool) -> None:
    """Frame a field, or take the frame away; a style that stays is not set again, because that is slow."""
    style = f"border: 1px solid {WRONG};" if wrong else ""
    if field.styleSheet() != style:
        field.setStyleSheet(style)
