"""Choice of what is measured, the table that came of it, and where it is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QFormLayout, QHBoxLayout, QVBoxLayout, QWidget

from napari_sam2_adapters.data.units import convert, length_in_metres, unit_name
from napari_sam2_adapters.inference.measure import Table
from napari_sam2_adapters.inference.ruler import Ruler
from napari_sam2_adapters.widgets.docks.dock import button, sentence
from napari_sam2_adapters.widgets.docks.jobs import Question
from napari_sam2_adapters.widgets.docks.layer_choice import LayerChoice
from napari_sam2_adapters.widgets.docks.layers import (
    guess_channel_axis,
    level_count,
    name_axes,
    take_picture,
    world_matrix,
)
from napari_sam2_adapters.widgets.docks.results import OURS, is_own
from napari_sam2_adapters.widgets.docks.spread import (
    plain_labels,
    plain_matrix,
    spread_of,
    without,
)
from napari_sam2_adapters.widgets.segmenting.measuring import MeasureRequest

__all__ = ["MeasureForm"]

_NAMES = ("class", "name", "label")


class MeasureForm(QWidget):
    """Labels layer, image for intensities, what counts as one thing, and buttons to measure and to save.

    Parameters
    ----------
    viewer
        The napari viewer.
    parent
        Qt parent.
    """

    asked = Signal()
    changed = Signal()
    failed = Signal(str)

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.table: Table | None = None
        self._measured = ""  # layer that the table is of
        self.labels = LayerChoice(
            viewer, lambda layer: isinstance(layer, Labels), "choose a labels layer"
        )
        self.labels.setToolTip("Any labels layer: classes, single objects, also your own.")
        self.image = LayerChoice(
            viewer, lambda layer: isinstance(layer, Image) and not is_own(layer), "none"
        )
        self.image.setToolTip("Image whose intensities are measured under each label.")
        self.by = QComboBox()
        self.by.setToolTip("What makes a row of the table.")
        self.measure_button = button(
            "Measure", "Measure; the numbers go into the layer's features.", self.asked.emit
        )
        self.save_button = button(
            "Save table …", "Save the last table as CSV.", self.save, "export"
        )
        self.summary = sentence()
        self._writing = Question(self)
        self._writing.answered.connect(lambda path: self.summary.setText(f"Saved {path.name}."))
        self._writing.failed.connect(self.failed)
        self._lay_out()
        self.labels.layer_changed.connect(self._take_labels)
        self.by.activated.connect(lambda _: self._take_rows())
        self.image.layer_changed.connect(self.changed)
        self._take_labels()

    def missing(self) -> str:
        """What stands in the way of measuring, in words; empty when nothing does."""
        layer = self.labels.layer
        if layer is None:
            return "Choose a labels layer to measure."
        if layer.multiscale:
            return f"{layer.name} is multiscale; choose a labels layer of one resolution."
        try:
            name_axes(_axis_names(layer))
            self._image_under(layer)
        except ValueError as error:
            return str(error)
        return _mixed_units(layer, "YX" if self.by.currentData() == "slices" else "ZYX")

    def request(self) -> MeasureRequest:
        """What to measure.

        Raises
        ------
        ValueError
            When no layer is chosen, or the image does not belong to the labels.
        """
        layer = self.labels.layer
        missing = self.missing()
        if layer is None or missing:
            raise ValueError(missing)
        image = self._image_under(layer)
        return MeasureRequest(
            labels=plain_labels(layer),
            axes=name_axes(_axis_names(layer)),
            ruler=_ruler(layer),
            by=self.by.currentData(),
            image=None if image is None else image.array,
            image_axes=None if image is None else image.axes,
            names=_names(layer),
        )

    def show_table(self, layer: Labels, table: Table) -> None:
        """Keep a table for saving, and put it into the features of its layer where each label has one row."""
        self.table, self._measured = table, str(layer.name)
        rows = len(table.get("index", ()))
        single = bool(rows) and len(np.unique(table["index"])) == rows
        if single and layer in self.viewer.layers:
            layer.features = _merged(layer.features, pd.DataFrame(table))
        several = "" if single or not rows else " Labels have several rows: save the table."
        whose = "" if layer is self.labels.layer else f"{layer.name}: "
        self.summary.setText(whose + _summary(table) + several)
        self.save_button.setEnabled(bool(rows))

    def save(self) -> None:
        """Ask for a path and write the last table to it."""
        if not self.table:
            return
        name = f"{self._measured}.csv"
        chosen, _ = QFileDialog.getSaveFileName(self, "Save table", name, "Tables (*.csv)")
        if not chosen:
            return
        path = Path(chosen)
        if not path.suffix:
            path = path.with_name(f"{path.name}.csv")
            if path.exists():  # the dialog has asked about another name
                self.failed.emit(f"{path.name} is there already. Choose another name.")
                return
        self.save_to(path)

    def save_to(self, path: Path) -> None:
        """Write the last table, in a worker; a file of this name is replaced, as the dialog has asked."""
        self._writing.ask(_write, path, self.table)

    def prefer(self, layer: Layer) -> None:
        """Choose a layer that has just been made, unless the user has chosen one of their own."""
        chosen = self.labels.layer
        free = chosen is None or is_own(chosen) or self.labels.guessed
        if layer in self.labels.layers and free:
            self.labels.layer = layer

    def _take_labels(self) -> None:
        layer = self.labels.layer
        self.by.clear()
        axes = "YX"
        if layer is not None and 2 <= len(_axis_names(layer)) <= 4:
            axes = name_axes(_axis_names(layer))
        if len(axes) == 2:
            self.by.addItem("each label", "slices")
        else:
            if "Z" in axes:
                self.by.addItem("each label in 3D", "volumes")
            self.by.addItem("each label in each slice", "slices")
            if "Z" in axes:
                whole = "at each time" if "T" in axes else "over all slices"
                self.by.addItem(f"each label {whole}", "totals")
            self.by.setCurrentIndex(max(0, self.by.findData(_usual(layer))))
        self._follow_image(layer)
        self._forget_table()
        self.changed.emit()

    def _follow_image(self, labels: Layer | None) -> None:
        """Take the image that a result of ours is of, unless the user has chosen one: others of its size give other intensities."""
        wanted = None if labels is None else labels.metadata.get(OURS, {}).get("image")
        own = next((one for one in self.image.layers if str(one.unique_id) == wanted), None)
        if own is not None and self.image.guessed:
            self.image.layer = own
            self.image.guessed = True

    def _take_rows(self) -> None:
        self._forget_table()
        self.changed.emit()

    def _forget_table(self) -> None:
        """A table of other labels or other rows is not saved as that of these."""
        self.table = None
        self.summary.setText("")
        self.save_button.setEnabled(False)

    def _image_under(self, labels: Labels) -> Any:
        """The chosen image's array at the resolution of the labels, or None when no image is chosen."""
        layer = self.image.layer
        if layer is None:
            return None
        shape, spread = tuple(plain_labels(labels).shape), spread_of(labels)
        axis = guess_channel_axis(layer, shape) if spread is None else spread
        for level in range(level_count(layer)):
            array = layer.data[level] if layer.multiscale else layer.data
            plain = tuple(n for i, n in enumerate(array.shape) if i != axis and i < layer.ndim)
            if plain == shape:
                return take_picture(layer, channel_axis=axis, level=level)
        raise ValueError(
            f"{layer.name} does not have the shape {shape} of {labels.name}. Choose the image that the labels belong to, or none."
        )

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Labels", self.labels)
        form.addRow("Rows", self.by)
        form.addRow("Intensity", self.image)
        row = QHBoxLayout()
        row.addWidget(self.measure_button)
        row.addWidget(self.save_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        layout.addLayout(row)
        layout.addWidget(self.summary)


def _axis_names(layer: Labels) -> list[str]:
    return [str(name) for name in without(spread_of(layer), layer.axis_labels)]


def _units(layer: Labels, axes: str) -> dict[int, str | None]:
    """Unit of each of these axes that the layer has, by its place among all but that of the channels."""
    units, names = without(spread_of(layer), layer.units), name_axes(_axis_names(layer))
    return {at: unit_name(str(units[at])) for at, name in enumerate(names) if name in axes}


def _mixed_units(layer: Labels, axes: str) -> str:
    """Why there is no one unit for areas or volumes over these axes, and the mend; empty when there is."""
    found = sorted({unit or "pixel" for unit in _units(layer, axes).values()})
    if len(found) == 1 or all(length_in_metres(unit) is not None for unit in found):
        return ""
    return (
        f"The pixels of {layer.name} are {' and '.join(found)} long along different axes, so there is no size in one unit. "
        "Set the same for all in napari's console, for example layer.units = 'um'."
    )


def _ruler(layer: Labels) -> Ruler:
    """From positions to world coordinates in the unit of X, and of time in that of T."""
    matrix = plain_matrix(world_matrix(layer), spread_of(layer))
    units = _units(layer, "ZYX")
    wanted = units[max(units)]
    for at, unit in units.items():
        matrix[at] *= convert(1.0, unit, wanted)
    (time_unit,) = _units(layer, "T").values() or (None,)
    return Ruler(matrix, wanted, time_unit)


def _usual(layer: Layer | None) -> str:
    """What makes a row of the table for most, for a layer of ours; each label in 3D for all others."""
    entry = {} if layer is None else layer.metadata.get(OURS, {})
    if entry.get("role") == "segmentation":
        return "totals"
    return str(entry.get("together", "volumes"))


def _write(path: Path, table: Table) -> Path:
    from napari_sam2_adapters.inference.measure import write_csv

    return write_csv(path, table, overwrite=True)


def _names(layer: Layer) -> dict[int, str] | None:
    """Names by label from the layer's features, if it has any."""
    features = layer.features
    column = next((name for name in _NAMES if name in features.columns), None)
    if column is None or "index" not in features.columns:
        return None
    return {
        int(value): str(name)
        for value, name in zip(features["index"], features[column], strict=True)
        if isinstance(name, str)
    }


def _merged(features: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Features with the measured columns; rows and columns that were not measured stay."""
    if not len(features):
        return measured
    if "index" not in features.columns:  # then napari takes row 3 for label 3
        features = features.assign(index=range(len(features)))
    kept = ["index", *(name for name in features.columns if name not in measured.columns)]
    merged = features[kept].merge(measured, on="index", how="outer")
    if "class" in features.columns and "class" in measured.columns:
        before = features.set_index("index")["class"]
        merged["class"] = merged["class"].fillna(merged["index"].map(before))
    return merged[[*measured.columns, *(n for n in merged.columns if n not in measured.columns)]]


def _summary(table: Table) -> str:
    """A table in a sentence."""
    rows = len(table.get("index", ()))
    if not rows:
        return "There is nothing to measure: no pixel has a label."
    size = next((name for name in table if name.startswith(("area_", "volume_"))), None)
    text = f"{rows:,} {'row' if rows == 1 else 'rows'}"
    if size is None:
        return text + "."
    what, _, unit = size.partition("_")
    written = unit[:-1].replace("um", "µm") + {"2": "²", "3": "³"}[unit[-1]]
    median = float(np.median(table[size]))
    said = f"{median:,.0f}" if median >= 1000 else f"{median:.4g}"
    return f"{text}; median {what} {said} {written}."
