"""Forms made from settings classes: each field gives its own control, label, bounds and tooltip."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

from pydantic.fields import FieldInfo
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QSpinBox,
    QWidget,
)

from napari_sam2_adapters.config import Settings

__all__ = ["TILE_FIELDS", "RealSpinBox", "SettingsForm"]

S = TypeVar("S", bound=Settings)

TILE_FIELDS = (
    "tile_size_px",
    "overlap",
    "batch_size",
    "bfloat16",
    "compile",
    "test_time_augmentation",
)
"""Of `PredictConfig`: how the tiles go through the network."""

_LARGEST_INT = 2**31 - 1
_EMPTY = re.compile(r"empty: ([^.;]+)")
"""What a description says about a field without a value."""


@dataclass(frozen=True)
class _Editor:
    """A control, how to read and set it, and the signal of its change."""

    widget: QWidget
    get: Callable[[], Any]
    set: Callable[[Any], None]
    changed: Any


class SettingsForm(QWidget, Generic[S]):
    """Controls for some fields of a settings object.

    Parameters
    ----------
    settings
        The values to start with; fields without a control keep them.
    fields
        Names of the fields to show, in this order.
    parent
        Qt parent.
    """

    changed = Signal()

    def __init__(self, settings: S, fields: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self._editors: dict[str, _Editor] = {}
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for name in fields:
            field = type(settings).model_fields[name]
            editor = _editor(field)
            editor.set(getattr(settings, name))
            editor.widget.setObjectName(name)
            editor.widget.setToolTip(field.description or "")
            editor.changed.connect(lambda *_: self.changed.emit())
            layout.addRow(field.title or name, editor.widget)
            layout.labelForField(editor.widget).setToolTip(field.description or "")
            self._editors[name] = editor

    @property
    def settings(self) -> S:
        """The settings as the controls stand, checked by their class."""
        values = {name: editor.get() for name, editor in self._editors.items()}
        return type(self._settings)(**{**self._settings.model_dump(), **values})

    @settings.setter
    def settings(self, settings: S) -> None:
        self._settings = settings
        for name, editor in self._editors.items():
            editor.set(getattr(settings, name))


class RealSpinBox(QDoubleSpinBox):
    """Shows a number without idle zeros."""

    _given = 0.0

    @property
    def exact(self) -> float:
        """The number that was given, with all its digits, as long as nobody has typed another one; else what was typed."""
        shown = float(self.value())
        unchanged = self.textFromValue(shown) == self.textFromValue(self._given)
        return self._given if unchanged else shown

    def give(self, number: float) -> None:
        """Show a number that may have more digits than the box."""
        self._given = number
        self.setValue(number)

    def textFromValue(self, value: float) -> str:  # noqa: N802 (Qt's name)
        """The number as short as it can be written."""
        return str(self.locale().toString(value, "g", 6))


def _editor(field: FieldInfo) -> _Editor:
    kind, optional = _kind(field)
    if get_origin(kind) is Literal:
        return _choice(get_args(kind))
    if kind is bool:
        box = QCheckBox()
        return _Editor(box, box.isChecked, box.setChecked, box.toggled)
    if kind not in (int, float):
        raise ValueError(
            f"There is no control for the field {field.title!r} of type {kind}. Leave it out of the form."
        )
    return _number(field, whole=kind is int, optional=optional)


def _kind(field: FieldInfo) -> tuple[Any, bool]:
    """Type of a field without ``None``, and whether it may be None."""
    arguments = get_args(field.annotation)
    if NoneType not in arguments:
        return field.annotation, False
    return next(kind for kind in arguments if kind is not NoneType), True


def _choice(options: tuple[str, ...]) -> _Editor:
    box = QComboBox()
    for option in options:
        box.addItem(option.replace("_", " "), option)
    return _Editor(
        box,
        box.currentData,
        lambda value: box.setCurrentIndex(box.findData(value)),
        box.currentIndexChanged,
    )


def _number(field: FieldInfo, *, whole: bool, optional: bool) -> _Editor:
    box: QSpinBox | QDoubleSpinBox = QSpinBox() if whole else RealSpinBox()
    box.setKeyboardTracking(False)
    step = 1 if whole else 1e-5
    low, high = _bounds(field, step)
    if isinstance(box, QDoubleSpinBox):
        box.setDecimals(5)
        box.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)
    multiple = next((m.multiple_of for m in field.metadata if hasattr(m, "multiple_of")), None)
    if multiple:
        box.setSingleStep(multiple)
    empty = low - step
    box.setRange(empty if optional else low, high)
    if optional:
        said = _EMPTY.search(field.description or "")
        box.setSpecialValueText(said[1] if said else "none")

    def get() -> int | float | None:
        value = box.value()
        if optional and value < low - step / 2:
            return None
        number: int | float = round(value / multiple) * multiple if multiple else value
        return number

    return _Editor(
        box, get, lambda value: box.setValue(empty if value is None else value), box.valueChanged
    )


def _bounds(field: FieldInfo, step: float) -> tuple[Any, Any]:
    """Smallest and largest value that a field allows."""
    whole = step == 1
    low, high = (-_LARGEST_INT + 1 if whole else -1e9), (_LARGEST_INT if whole else 1e9)
    for mark in field.metadata:
        if hasattr(mark, "ge"):
            low = mark.ge
        if hasattr(mark, "gt"):
            low = mark.gt + step
        if hasattr(mark, "le"):
            high = mark.le
        if hasattr(mark, "lt"):
            high = mark.lt - step
    return low, high
