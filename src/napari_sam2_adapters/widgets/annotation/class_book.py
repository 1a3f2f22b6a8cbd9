"""The classes of the labels in use: add, name, colour, delete and choose them, and write them to the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.widgets.annotation.class_deletion import ClassDeletion, ask_what_becomes
from napari_sam2_adapters.widgets.annotation.class_names import (
    MOST_CLASSES,
    ZeroIs,
    classes_of_layer,
    dress_layer,
    join_classes,
    name_classes,
    next_class,
    unpainted_classes,
)
from napari_sam2_adapters.widgets.annotation.class_table import ClassTable
from napari_sam2_adapters.widgets.annotation.number_keys import NumberKeys
from napari_sam2_adapters.widgets.docks.dock import button, sentence

__all__ = ["ClassBook"]


class ClassBook(QWidget):
    """Table of the classes with buttons to add and delete one.

    Parameters
    ----------
    viewer
        The napari viewer.
    deletion
        Changes the pixels of a class that is deleted.
    parent
        Qt parent.
    """

    changed = Signal()

    def __init__(self, viewer: Any, deletion: ClassDeletion, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer, self._deletion = viewer, deletion
        self._layers: list[Labels] = []
        self._totals: dict[int, int] = {}
        self._on_slice: dict[int, int] = {}
        self._zero_is: ZeroIs = "unlabelled"
        self._deleted: dict[int, ClassInfo] = {}
        self._gone: set[int] = set()  # of these, the values whose pixels are gone
        self.table = ClassTable()
        self.keys = NumberKeys(self._key_values)
        self.add_button = button("Add class", "Add a class to paint.", self.add)
        self.delete_button = button(
            "Delete class …",
            "Delete the chosen class; asks what becomes of its pixels.",
            self.delete,
        )
        self.note = sentence()
        self._refusal = ""
        self._lay_out()
        self.table.name_refused.connect(self._take_refusal)
        self.table.classes_changed.connect(self._write)
        self.table.class_chosen.connect(self._paint_with)
        self.table.itemSelectionChanged.connect(self._refresh_buttons)
        self._refresh_buttons()

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """All classes, also those without a pixel."""
        return self.table.classes

    def show_counts(
        self,
        layers: Sequence[Labels],
        totals: Mapping[int, int],
        on_slice: Mapping[int, int],
        zero_is: ZeroIs,
    ) -> None:
        """Show the classes of these layers.

        Parameters
        ----------
        layers
            Labels layers of all pairs.
        totals, on_slice
            Pixels by value, in all and on the slice on show.
        zero_is
            What label 0 means.
        """
        self._follow(layers)
        self._totals, self._on_slice, self._zero_is = dict(totals), dict(on_slice), zero_is
        # few layers have many values; those that have number objects, which the dock refuses
        values = [value for value in sorted(totals) if totals[value]][: MOST_CLASSES + 1]
        classes = join_classes([classes_of_layer(layer, (), zero_is) for layer in layers])
        if layers:
            classes = join_classes([classes, classes_of_layer(layers[0], values, zero_is)])
        classes = self._name_again(classes)
        before = self.classes
        if classes != before:
            self._refusal = ""
        self.table.show_classes(classes, totals, on_slice)
        if [info.value for info in before] != [info.value for info in self.classes]:
            self.keys.refresh()
            self._follow_selected()
        self._refresh_note()
        self._refresh_buttons()

    def dress_layers(self) -> None:
        """Show the labels in the colours of the table where layers have none, as one that was drawn elsewhere and joins others."""
        plain = [
            layer for layer in self._layers if not isinstance(layer.colormap, DirectLabelColormap)
        ]
        n_values = sum(number > 0 for number in self._totals.values())
        if len(self._layers) == len(plain) == 1 or n_values > MOST_CLASSES:
            return  # alone it keeps napari's look, and many values are objects
        for layer in self._layers:
            dress_layer(layer, self.classes)

    def add(self) -> None:
        """Add a class, paint with it, and let the user type its name."""
        new = next_class(self.classes)
        self._deleted.pop(new.value, None)
        self._write_classes((*self.classes, new))
        self._paint_with(new.value)
        self.table.choose(new.value)
        self.table.edit_name(new.value)

    def delete(self) -> None:
        """Delete the chosen class, when the user has said what becomes of its pixels."""
        chosen = self.table.chosen
        if chosen is None or chosen.value == 0:
            return
        pixels = self._totals.get(chosen.value, 0)
        into = 0
        if pixels:
            answer = ask_what_becomes(self, chosen, pixels, self._classes_of_all_layers())
            if answer is None:
                return
            into = answer
        left = tuple(info for info in self.classes if info.value != chosen.value)
        self._write_classes(left)
        for layer in self._layers:  # else the next stroke brings it back
            if int(layer.selected_label) == chosen.value and left:
                layer.selected_label = left[0].value
        if pixels:
            self._deleted[chosen.value] = chosen
            self._gone.discard(chosen.value)
            self._deletion.replace(self._layers, chosen.value, into)

    def _name_again(self, classes: tuple[ClassInfo, ...]) -> tuple[ClassInfo, ...]:
        """Give deleted classes whose pixels are back, as after an undo, their names and colours, unless others took them."""
        self._gone |= {value for value in self._deleted if not self._totals.get(value)}
        known = {info.value: info for info in classes}
        back = [
            value
            for value in self._gone & self._deleted.keys() & known.keys()
            if self._totals.get(value)
        ]
        if not back:
            return classes
        for lost in map(self._deleted.pop, back):
            others = [info for value, info in known.items() if value != lost.value]
            if lost.name not in {info.name for info in others}:
                taken = lost.color in {info.color for info in others}
                color = known[lost.value].color if taken else lost.color
                known[lost.value] = lost.model_copy(update={"color": color})
        for layer in self._layers:
            name_classes(layer, tuple(known.values()))
        return tuple(known.values())

    def _classes_of_all_layers(self) -> tuple[ClassInfo, ...]:
        """The classes whose value every layer can hold: in 8 bits 300 would be written as 44."""
        largest = min(np.iinfo(layer.data.dtype).max for layer in self._layers)
        return tuple(info for info in self.classes if info.value <= largest)

    def release(self) -> None:
        """Take our keys off the layers and follow none any more."""
        self._follow([])

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.add_button)
        row.addWidget(self.delete_button)
        row.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addWidget(self.note)
        layout.addLayout(row)

    def _take_refusal(self, reason: str) -> None:
        self._refusal = reason
        self._refresh_note()

    def _refresh_note(self) -> None:
        """Say why a name was not taken; else what is named but painted nowhere, once something is painted."""
        unpainted = unpainted_classes(self.classes, self._totals)
        note = self._refusal
        if not note and unpainted and any(self._totals.values()):
            note = f"{unpainted} painted nowhere yet and will not be learnt: paint a few strokes."
        self.note.setText(note)
        self.note.setVisible(bool(note))

    def _follow(self, layers: Sequence[Labels]) -> None:
        for layer in [known for known in self._layers if known not in layers]:
            layer.events.selected_label.disconnect(self._follow_selected)
        for layer in [wanted for wanted in layers if wanted not in self._layers]:
            layer.events.selected_label.connect(self._follow_selected)
        if list(layers) != self._layers:
            self._layers = list(layers)
            self._deleted.clear()
            self.keys.follow(self._layers)

    def _follow_selected(self, event: object = None) -> None:
        """Choose the row of the label that the layer paints with."""
        layer = self._layer_in_hand()
        if layer is not None:
            self.table.choose(int(layer.selected_label))
            self._refresh_buttons()

    def _layer_in_hand(self) -> Labels | None:
        active = self._viewer.layers.selection.active
        if active in self._layers:
            return active
        return self._layers[0] if self._layers else None

    def _paint_with(self, value: int) -> None:
        layer = self._layer_in_hand()
        if layer is None or layer not in self._viewer.layers:
            return
        layer.selected_label = value
        if self._viewer.layers.selection.active is not layer:
            self._viewer.layers.selection.active = layer

    def _key_values(self) -> list[int]:
        return [info.value for info in self.classes if info.value > 0]

    def _write(self) -> None:
        self._write_classes(self.classes)

    def _write_classes(self, classes: tuple[ClassInfo, ...]) -> None:
        self._refusal = ""
        for layer in self._layers:
            name_classes(layer, classes)
        self.table.show_classes(classes, self._totals, self._on_slice, at_once=True)
        self.keys.refresh()
        self._refresh_note()
        self._refresh_buttons()
        self.changed.emit()

    def _refresh_buttons(self) -> None:
        chosen = self.table.chosen
        self.add_button.setEnabled(bool(self._layers) and len(self.classes) < MOST_CLASSES)
        self.delete_button.setEnabled(chosen is not None and chosen.value > 0)
