"""Axes, pixel size, unit and channels of an image, to be seen and changed before it becomes a layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QGridLayout, QLabel, QWidget

from napari_sam2_adapters.data.axes import check_axes
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.units import unit_name
from napari_sam2_adapters.widgets.docks.dock import sentence
from napari_sam2_adapters.widgets.docks.form import RealSpinBox
from napari_sam2_adapters.widgets.docks.words import file_size
from napari_sam2_adapters.widgets.loading.file_layers import Channels

__all__ = ["AxesForm", "AxesSettings"]

_NAMES = {"T": "T time", "Z": "Z depth", "C": "C channel", "Y": "Y row", "X": "X column"}
_UNITS = ("pixel", "nanometer", "micrometer", "millimeter", "angstrom")
_CHANNELS: dict[Channels, str] = {
    "rgb": "are colours (RGB)",
    "layers": "get a layer each",
    "axis": "share one layer",
}
_MOST_LAYERS = 12


@dataclass(frozen=True)
class AxesSettings:
    """What an image is said to be, for a worker: the form may be set otherwise while it reads.

    Attributes
    ----------
    axes
        The axes.
    sizes
        Pixel sizes along those in space, in the order Z, Y, X.
    unit
        Their unit, None when nothing is known.
    rgb
        Whether the channels are colours.
    """

    axes: str
    sizes: tuple[float, ...]
    unit: str | None
    rgb: bool

    def apply(self, file: ImageFile) -> ImageFile:
        """A file with these axes, pixel sizes and unit; one with another number of axes stays as it is."""
        if len(file.axes) != len(self.axes):
            return file
        known = file.pixel_size is not None or self.unit is not None or set(self.sizes) != {1.0}
        return replace(
            file,
            axes=self.axes,
            geometry=_placed(file.geometry, self.sizes, self.unit) if known else None,
            rgb=self.rgb,
        )


class AxesForm(QWidget):
    """A row for each axis with its name, length and pixel size; below them unit and channels.

    Parameters
    ----------
    parent
        Qt parent.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.file: ImageFile | None = None
        self.letters: list[QComboBox] = []
        self.sizes: list[RealSpinBox] = []
        self.about = sentence()
        self.unit = QComboBox()
        self.unit.setEditable(True)
        self.unit.addItems(_UNITS)
        self.unit.setToolTip("Unit of the pixel sizes; pixel when nothing is known.")
        self.channels = QComboBox()
        self.channels.setToolTip("What the channels of the image are.")
        self._rows = QWidget()
        self._grid = QGridLayout(self._rows)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(2, 1)
        self.form = QFormLayout(self)
        self.form.setContentsMargins(0, 0, 0, 0)
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.form.addRow(self.about)
        self.form.addRow(self._rows)
        self.form.addRow("Unit", self.unit)
        self.form.addRow("Channels", self.channels)
        self.unit.currentTextChanged.connect(lambda _: self.changed.emit())
        self.channels.currentIndexChanged.connect(lambda _: self.changed.emit())
        self.show_file(None)

    def show_file(self, file: ImageFile | None, note: str = "") -> None:
        """Show what a file says of itself, with a note of what it does not say; nothing for None.

        What the user has set stays where the new file says the same of itself as the one before.
        """
        kept = self._settings() if file is not None and self.edited and self._alike(file) else None
        self.file = file
        self.letters, self.sizes = [], []
        while (item := self._grid.takeAt(0)) is not None:
            if item.widget() is not None:
                item.widget().deleteLater()
        for part in (self._rows, self.unit, self.channels):
            self.form.setRowVisible(part, file is not None)
        self.about.setText("" if file is None else f"{_about(file)} {note}".strip())
        if file is not None:
            self._add_rows(file)
            self.unit.setCurrentText(file.unit or "pixel")
            self._offer_channels()
        if kept is not None:
            self._set(*kept)
        self.changed.emit()

    @property
    def axes(self) -> str:
        """The axes as they are set."""
        return "".join(str(box.currentData()) for box in self.letters)

    @property
    def edited(self) -> bool:
        """Whether something differs from what the file says."""
        file = self.file
        if file is None:
            return False
        return self.apply(file) != file

    @property
    def channel_choice(self) -> Channels:
        """What the channels are."""
        return self.channels.currentData() or "axis"

    @property
    def settings(self) -> AxesSettings:
        """What is set, as it is now."""
        own = {letter: size.exact for letter, size in zip(self.axes, self.sizes, strict=True)}
        sizes = tuple(own[letter] for letter in "ZYX" if letter in own)
        unit = unit_name(self.unit.currentText())
        return AxesSettings(self.axes, sizes, unit, self.channel_choice == "rgb")

    def problem(self) -> str:
        """Why the axes do not make sense, in a sentence; empty when they do."""
        if self.file is None:
            return ""
        try:
            check_axes(tuple(self.file.array.shape), self.axes)
        except ValueError as error:
            return str(error)
        return ""

    def apply(self, file: ImageFile) -> ImageFile:
        """A file with the axes, pixel sizes and unit that are set; one with another number of axes stays as it is."""
        return self.settings.apply(file)

    def _alike(self, file: ImageFile) -> bool:
        before = self.file
        return before is not None and all(
            getattr(before, name) == getattr(file, name) for name in ("axes", "geometry", "rgb")
        )

    def _settings(self) -> tuple[str, list[float], str, object]:
        sizes = [size.exact for size in self.sizes]
        return self.axes, sizes, self.unit.currentText(), self.channels.currentData()

    def _set(self, axes: str, sizes: list[float], unit: str, channels: object) -> None:
        for box, letter in zip(self.letters, axes, strict=True):
            box.setCurrentIndex(box.findData(letter))
        for size, value in zip(self.sizes, sizes, strict=True):
            size.give(value)
        self.unit.setCurrentText(unit)
        if self.channels.findData(channels) >= 0:
            self.channels.setCurrentIndex(self.channels.findData(channels))

    def _add_rows(self, file: ImageFile) -> None:
        spatial = [letter for letter in "ZYX" if letter in file.axes]
        known = dict(zip(spatial, file.pixel_size or (), strict=False))
        for column, heading in enumerate(("Axis", "Length", "Pixel size")):
            self._grid.addWidget(QLabel(heading), 0, column)
        for row, (letter, length) in enumerate(zip(file.axes, file.array.shape, strict=True), 1):
            box = QComboBox()
            for key, name in _NAMES.items():
                box.addItem(name, key)
            box.setCurrentIndex(box.findData(letter))
            box.setToolTip("What this axis of the file is.")
            size = RealSpinBox()
            size.setDecimals(12)
            size.setRange(1e-12, 1e9)
            size.setKeyboardTracking(False)
            size.setStepType(RealSpinBox.StepType.AdaptiveDecimalStepType)
            size.give(known.get(letter, 1.0))
            size.setEnabled(letter in "ZYX")
            size.setToolTip("Length of a pixel along this axis; of a section, its thickness.")
            count = QLabel(f"{length:,}")
            count.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            for column, widget in enumerate((box, count, size)):
                self._grid.addWidget(widget, row, column)
            self.letters.append(box)
            self.sizes.append(size)
            box.currentIndexChanged.connect(lambda _: self._take_letters())
            size.valueChanged.connect(lambda _: self.changed.emit())

    def _take_letters(self) -> None:
        for letter, size in zip(self.axes, self.sizes, strict=True):
            size.setEnabled(letter in "ZYX")
        self._offer_channels()
        self.changed.emit()

    def _offer_channels(self) -> None:
        """Offer what channels of this number can be; the choice stays where it can."""
        axes, file = self.axes, self.file
        if file is None:
            return
        chosen = self.channels.currentData()
        count = file.array.shape[axes.index("C")] if axes.count("C") == 1 else 0
        offered: list[Channels] = []
        if count in (3, 4):
            offered.append("rgb")
        if 0 < count <= _MOST_LAYERS:
            offered.append("layers")
        offered.append("axis")
        self.channels.blockSignals(True)
        self.channels.clear()
        for key in offered:
            self.channels.addItem(_CHANNELS[key], key)
        wanted = "rgb" if file.rgb and axes == file.axes else chosen
        self.channels.setCurrentIndex(
            max(0 if file.rgb or count not in (3, 4) else 1, self.channels.findData(wanted))
        )
        self.channels.blockSignals(False)
        self.form.setRowVisible(self.channels, count > 0)


def _placed(before: Geometry | None, sizes: tuple[float, ...], unit: str | None) -> Geometry | None:
    """Geometry with these pixel sizes; origin and direction stay where the number of axes does."""
    if len(sizes) not in (2, 3):  # axes that do not make sense are told of by `problem`
        return None
    if before is None or len(before.pixel_size) != len(sizes):
        return Geometry(sizes, unit)
    return replace(before, pixel_size=sizes, unit=unit)


def _about(file: ImageFile) -> str:
    array = file.array
    n_bytes = array.dtype.itemsize
    for length in array.shape:
        n_bytes *= int(length)
    size = "" if file.pixel_size else " The file does not say its pixel size."
    lazy = "" if type(array).__module__ == "numpy" else ", read when it is looked at"
    return " ".join((f"{array.dtype}, {file_size(n_bytes)}{lazy}.{size}", *file.notices))
