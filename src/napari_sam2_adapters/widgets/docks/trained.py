"""News of adapters that were just trained, for every dock that lets the user choose one."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal

__all__ = ["TRAINED", "Trained"]


class Trained(QObject):
    """Tells the file of an adapter that a training has just saved."""

    finished = Signal(object)


TRAINED = Trained()
"""Shared by all docks, because the folder of adapters is."""
