"""Yes-or-no settings as check boxes beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QWidget

from napari_sam2_adapters.config import Settings

__all__ = ["CheckBoxes"]

S = TypeVar("S", bound=Settings)


class CheckBoxes(QWidget, Generic[S]):
    """Check boxes for the yes-or-no fields of a settings object, in rows.

    Parameters
    ----------
    settings
        The values to start with; other fields keep them.
    fields
        Names of the fields, in this order.
    columns
        Boxes in a row.
    parent
        Qt parent.
    """

    changed = Signal()

    def __init__(
        self, settings: S, fields: Sequence[str], *, columns: int = 2, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._settings = settings
        self.boxes: dict[str, QCheckBox] = {}
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for number, name in enumerate(fields):
            field = type(settings).model_fields[name]
            box = QCheckBox(field.title or name)
            box.setObjectName(name)
            box.setToolTip(field.description or "")
            box.setChecked(getattr(settings, name))
            box.toggled.connect(lambda _: self.changed.emit())
            layout.addWidget(box, *divmod(number, columns))
            self.boxes[name] = box

    @property
    def settings(self) -> S:
        """The settings as the boxes stand."""
        values = {name: box.isChecked() for name, box in self.boxes.items()}
        return self._settings.model_copy(update=values)
