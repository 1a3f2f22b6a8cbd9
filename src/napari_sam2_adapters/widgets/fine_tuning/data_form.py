"""Choice of what to learn from: pairs of image and labels, what label 0 means, and the classes."""

from __future__ import annotations

from typing import Any

from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QVBoxLayout, QWidget

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.dataset import Pair
from napari_sam2_adapters.widgets.annotation.class_book import ClassBook
from napari_sam2_adapters.widgets.annotation.class_deletion import ClassDeletion
from napari_sam2_adapters.widgets.annotation.class_names import (
    ZeroIs,
    missing_classes,
    name_classes,
    next_class,
)
from napari_sam2_adapters.widgets.annotation.describing import describe_labels
from napari_sam2_adapters.widgets.annotation.pair_row import PairRow
from napari_sam2_adapters.widgets.annotation.pairing import guess_pairs
from napari_sam2_adapters.widgets.annotation.snapshots import LabelsToSave
from napari_sam2_adapters.widgets.annotation.touched import TouchedLayers
from napari_sam2_adapters.widgets.docks.dock import button
from napari_sam2_adapters.widgets.docks.drop_down import DropDown
from napari_sam2_adapters.widgets.docks.layers import Picture, current_plane
from napari_sam2_adapters.widgets.docks.results import is_own
from napari_sam2_adapters.widgets.docks.spread import spread_of
from napari_sam2_adapters.wording import counted

__all__ = ["DataForm"]

_SOON_MS = 30


class DataForm(QWidget):
    """Image layers with labels layers and their classes.

    Parameters
    ----------
    viewer
        The napari viewer.
    parent
        Qt parent.
    """

    changed = Signal()
    edited = Signal()
    judged = Signal(object, bool)

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.rows: list[PairRow] = []
        self.touched = TouchedLayers()
        self.zero = DropDown()
        self.zero.addItem("not labelled yet", "unlabelled")
        self.zero.addItem("background", "background")
        self.zero.setToolTip(
            "Not labelled yet: pixels that you did not paint say nothing. Background: they are a class of their own."
        )
        self.book = ClassBook(viewer, ClassDeletion(self.describe, self))
        self.add_button = button("Add pair", "Learn from one more image.", self.add_row)
        self.find_button = button(
            "Find pairs", "Pair images with labels of a like name and shape.", self.find_pairs
        )
        self._rows_layout, self.buttons = QVBoxLayout(), QHBoxLayout()
        self._lay_out()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self.show_classes)
        self.zero.currentIndexChanged.connect(lambda _: self.show_classes())
        self.book.changed.connect(self.changed)
        viewer.layers.events.inserted.connect(self._guess_labels)
        viewer.dims.events.current_step.connect(self._look_soon)
        viewer.layers.selection.events.active.connect(self._look_soon)
        self.add_row()

    @property
    def zero_is(self) -> ZeroIs:
        """What label 0 means."""
        return self.zero.currentData()  # type: ignore[no-any-return]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Arrays of the images and the labels.

        Raises
        ------
        ValueError
            When the layers cannot be taken.
        """
        return tuple(row.pair for row in self.rows)

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """The classes to learn: those that are labelled, and background where 0 means it."""
        totals = self.totals
        return tuple(
            info
            for info in self.book.classes
            if totals.get(info.value, 0) or (info.value == 0 and self.zero_is == "background")
        )

    @property
    def totals(self) -> dict[int, int]:
        """Pixels by label value in all pairs."""
        totals: dict[int, int] = {}
        for counter in {id(row.labels.layer): row.counter for row in self.rows}.values():
            for value, number in counter.totals.items():
                totals[value] = totals.get(value, 0) + number
        return totals

    @property
    def layers(self) -> list[Labels]:
        """The labels layers of all pairs."""
        chosen = [row.labels.layer for row in self.rows if row.labels.layer is not None]
        return [layer for i, layer in enumerate(chosen) if layer not in chosen[:i]]

    @property
    def current_row(self) -> PairRow:
        """The pair whose layer is active in the viewer; else the first one."""
        return self.row_of(self.viewer.layers.selection.active) or self.rows[0]

    def row_of(self, layer: Layer | None) -> PairRow | None:
        """The pair that has this layer as its image or labels."""
        pairs = ((row, (row.image.layer, row.labels.layer)) for row in self.rows)
        return next((row for row, both in pairs if layer is not None and layer in both), None)

    def missing(self) -> str:
        """What stands in the way of a start, in words, marked at its pair; empty when nothing does."""
        reasons = [self._check(number) for number in range(len(self.rows))]
        for number, reason in enumerate(reasons):
            if reason:
                return f"Pair {number + 1}: {reason}" if len(self.rows) > 1 else reason
        if not all(row.counter.complete for row in self.rows):
            return "Counting the labelled pixels …"
        return missing_classes(self.classes, self.book.classes, self.totals)

    def add_row(self) -> PairRow:
        """Add a pair, and guess an image that is not yet used with its labels."""
        row = PairRow(self.viewer)
        taken = [known.image.layer for known in self.rows]
        free = [layer for layer in row.image.choice.layers if layer not in taken]
        active = self.viewer.layers.selection.active
        if free:
            row.image.choice.layer = active if active in free else free[0]
        elif self.rows:
            row.image.choice.layer = None
        self.rows.append(row)
        self._rows_layout.addWidget(row)
        # again, to come after the row's own lists
        self.viewer.layers.events.inserted.disconnect(self._guess_labels)
        self.viewer.layers.events.inserted.connect(self._guess_labels)
        row.changed.connect(self.changed)
        row.changed.connect(self._look_soon)
        row.changed.connect(self._guess_labels)
        row.counted.connect(self.show_classes)
        row.edited.connect(lambda: self._take_edit(row))
        self.judged.connect(row.take_judgement)
        row.add_button.clicked.connect(lambda _: self._name_new_layer(row))
        row.removed.connect(lambda: self.remove_row(row))
        self._guess_labels()
        self._number_rows()
        self.show_classes()
        return row

    def remove_row(self, row: PairRow) -> None:
        """Take a pair out of the list; its layers stay in the viewer."""
        if len(self.rows) > 1 and row in self.rows:
            self.rows.remove(row)
            row.stop()
            self._rows_layout.removeWidget(row)
            row.deleteLater()
            self._number_rows()
            self.show_classes()

    def find_pairs(self) -> None:
        """Pair every image with labels that fit by name and shape, beside the pairs that are complete."""
        complete = [row for row in self.rows if row.labels.layer and not row.guessed]
        used = {id(layer) for row in complete for layer in (row.image.layer, row.labels.layer)}
        free = [la for la in self.viewer.layers if id(la) not in used and not is_own(la)]
        images, labels = ([la for la in free if isinstance(la, kind)] for kind in (Image, Labels))
        open_rows = [row for row in self.rows if row not in complete]
        for image, layer in guess_pairs(images, labels):
            row = open_rows.pop(0) if open_rows else self.add_row()
            row.choose(image, layer)

    def take_restored(self, layer: Labels, image: str) -> None:
        """Learn from labels of this image that were put back."""
        for row in self.rows:
            row.take_restored(layer, image)

    def show_classes(self) -> None:
        """Bring the class table up to date."""
        self.book.show_counts(
            self.layers, self.totals, self.current_row.counter.on_show, self.zero_is
        )
        if all(row.counter.complete for row in self.rows):
            self.book.dress_layers()
        self.changed.emit()

    def place_on_show(self) -> tuple[Picture, tuple[int, ...]] | None:
        """What was taken from the image of the pair in hand, and its plane on show; None when there is none."""
        form = self.current_row.image
        try:
            picture = form.picture()
        except ValueError:
            return None
        return picture, current_plane(
            form.layer, self.viewer.dims.point, picture, form.channel_axis
        )

    def lock(self, locked: bool) -> None:
        """Keep the choice of layers as it is; the classes can be painted and named all the same."""
        for widget in (*self.rows, self.add_button, self.find_button, self.zero):
            widget.setEnabled(not locked)

    def to_save(self) -> list[LabelsToSave]:
        """The labels layers as autosave takes them, also those that were painted in before others were chosen."""
        return self.touched.to_save(self.layers, self.describe)

    def stop_following(self) -> None:
        """Listen to no layer any more."""
        self._soon.stop()
        self.book.release()
        for row in self.rows:
            row.stop()
        self.viewer.layers.events.inserted.disconnect(self._guess_labels)
        self.viewer.dims.events.current_step.disconnect(self._look_soon)
        self.viewer.layers.selection.events.active.disconnect(self._look_soon)

    def describe(self, layer: Labels) -> LabelsToSave:
        """What is needed to save a labels layer and to restore it."""
        row = next((row for row in self.rows if row.labels.layer is layer), None)
        image = None if row is None else row.image.layer
        spread = spread_of(layer) if row is None else row.spread
        name = "" if image is None else str(image.name)
        return describe_labels(layer, self.book.classes, name, spread)

    def _take_edit(self, row: PairRow) -> None:
        layer, image = row.labels.layer, row.image.layer
        if layer is not None:
            self.touched.touch(layer, "" if image is None else str(image.name))
        self.edited.emit()

    def _lay_out(self) -> None:
        self.buttons.addWidget(self.add_button)
        self.buttons.addWidget(self.find_button)
        zero = QFormLayout()
        zero.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        zero.addRow("Label 0 is", self.zero)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._rows_layout)
        layout.addLayout(self.buttons)
        layout.addLayout(zero)
        layout.addWidget(self.book)

    def _check(self, number: int) -> str:
        """What is wrong with a pair, also marked there."""
        row = self.rows[number]
        field, reason = row.problem()
        if not reason:
            field, reason = self._clash(number)
        notice = "" if reason else row.notice()
        several = len(self.rows) > 1  # one pair says what stands in its way once, above the button
        row.mark(field, reason or notice or self._unpainted(row), say=several or bool(notice))
        return reason

    def _unpainted(self, row: PairRow) -> str:
        """That nothing is learnt from a pair, to be said beside it; it is in nobody's way."""
        painted = any(number for value, number in row.counter.totals.items() if value > 0)
        if painted or not row.counter.complete or self.zero_is == "background":
            return ""
        return (
            "Nothing is painted here yet, so nothing is learnt from this pair: paint a few strokes."
        )

    def _clash(self, number: int) -> tuple[QWidget | None, str]:
        """What does not go with the pairs before."""
        row = self.rows[number]
        for earlier, other in enumerate(self.rows[:number], start=1):
            if other.labels.layer is row.labels.layer:
                reason = f"These labels are those of pair {earlier} already. Choose others, or remove one of the two."
                return row.labels, reason
        first, own = self.rows[0].channels, row.channels
        if first is not None and own is not None and own != first:
            return row.image.choice, (
                f"This image has {counted(own, 'channel')}, but that of pair 1 has {first}. One adapter learns from images "
                "with the same channels."
            )
        return None, ""

    def _guess_labels(self, event: object = None) -> None:
        for row in self.rows:
            others = [known.labels.layer for known in self.rows if known is not row]
            taken = [layer for layer in others if layer is not None]
            row.guess_labels(taken, again=event is not None)

    def _name_new_layer(self, row: PairRow) -> None:
        """A fresh layer gets the classes of the others, or two to start with."""
        classes = self.book.classes
        while len([info for info in classes if info.value]) < 2:
            classes = (*classes, next_class(classes))
        if row.labels.layer is not None:
            name_classes(row.labels.layer, classes)
        self.show_classes()

    def _number_rows(self) -> None:
        several = len(self.rows) > 1
        for number, row in enumerate(self.rows, start=1):
            row.title.setText(f"Pair {number}")
            row.title.setVisible(several)
            row.remove_button.setVisible(several)

    def _look_soon(self, event: object = None) -> None:
        self._soon.start(_SOON_MS)
