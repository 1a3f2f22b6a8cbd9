"""What the Batch folder dock is told: images, adapter, results and what to do with what lies there."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from napari_sam2_adapters.batch.job import BatchJob, BatchOptions, Extras, LabelFormat
from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.widgets.docks.check_boxes import CheckBoxes
from napari_sam2_adapters.widgets.docks.dock import sentence
from napari_sam2_adapters.widgets.docks.folded import Folded
from napari_sam2_adapters.widgets.docks.form import TILE_FIELDS, SettingsForm
from napari_sam2_adapters.widgets.docks.path_line import PathLine
from napari_sam2_adapters.widgets.docks.preferences import preferences
from napari_sam2_adapters.widgets.docks.section import Section
from napari_sam2_adapters.widgets.shelf.adapter_form import AdapterForm

__all__ = ["BatchForm"]

_FORMATS: dict[LabelFormat, str] = {
    "tif": "TIFF (ImageJ)",
    "ome.tif": "OME-TIFF",
    "ome.zarr": "OME-Zarr, for images of any size",
    "png": "PNG, single planes only",
    "npz": "NPZ, for NumPy",
    "nii.gz": "NIfTI",
    "nrrd": "NRRD",
}


class BatchForm(QWidget):
    """Controls of a batch.

    Parameters
    ----------
    device
        Label that names the device.
    parent
        Qt parent.
    """

    changed = Signal()

    def __init__(self, device: QLabel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        about = {name: field.description or "" for name, field in BatchJob.model_fields.items()}
        self.folder = PathLine("Folder of images", "choose or drop a folder")
        self.pattern = QLineEdit("*")
        self.pattern.setToolTip(about["pattern"])
        self.subfolders = QCheckBox("with subfolders")
        self.subfolders.setToolTip(about["subfolders"])
        self.found = sentence()
        self.adapter = AdapterForm()
        self.output = PathLine("Folder for the results", "")
        self.format = QComboBox()
        for key in get_args(LabelFormat):
            self.format.addItem(_FORMATS[key], key)
        self.format.setToolTip(about["label_format"])
        self.wanted = CheckBoxes(PredictConfig(), ("probabilities", "uncertainty"))
        self.extras = CheckBoxes(Extras(), tuple(Extras.model_fields))
        self.settings = SettingsForm(PredictConfig(), TILE_FIELDS)
        self.options = CheckBoxes(BatchOptions(), tuple(BatchOptions.model_fields))
        self._lay_out(device)
        self._connect()
        self._suggest_results()
        self.adapter.list_models()

    @property
    def results(self) -> Path | None:
        """Folder for the results: as chosen, or ``segmented`` in the folder of the images."""
        folder = self.folder.path
        return self.output.path or (folder / "segmented" if folder else None)

    def job(self) -> BatchJob | None:
        """The job as the controls stand; None while there is no folder."""
        folder, results = self.folder.path, self.results
        if folder is None or results is None:
            return None
        wanted = self.wanted.settings.model_dump(include={"probabilities", "uncertainty"})
        return BatchJob(
            model=self.adapter.model or Path(),
            folder=folder,
            pattern=self.pattern.text().strip() or "*",
            subfolders=self.subfolders.isChecked(),
            output=results,
            label_format=self.format.currentData(),
            predict=self.settings.settings.model_copy(update=wanted),
            extras=self.extras.settings,
            device=preferences().device,
        )

    def _lay_out(self, device: QLabel) -> None:
        images = _rows(("Folder", self.folder), ("Pattern", self.pattern), ("", self.subfolders))
        advanced = Folded("Advanced", self.settings)
        results = _rows(
            ("Folder", self.output),
            ("Masks as", self.format),
            ("Also write", self.wanted),
            ("", self.extras),
            ("On start", self.options),
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(Section("Images", images, self.found))
        layout.addWidget(Section("With", self.adapter, advanced, device))
        layout.addWidget(Section("Results", results))

    def _connect(self) -> None:
        for signal in (
            self.folder.changed,
            self.pattern.textChanged,
            self.subfolders.toggled,
            self.output.changed,
            self.format.currentIndexChanged,
            self.wanted.changed,
            self.extras.changed,
            self.settings.changed,
            self.options.changed,
            self.adapter.changed,
        ):
            signal.connect(lambda *_: self.changed.emit())
        self.folder.changed.connect(self._suggest_results)
        self.adapter.another.connect(self._take_tile)

    def _suggest_results(self) -> None:
        folder = self.folder.path
        suggested = "a new folder beside the images" if folder is None else folder / "segmented"
        self.output.line.setPlaceholderText(str(suggested))

    def _take_tile(self) -> None:
        header = self.adapter.header
        if header is not None:
            tile = {"tile_size_px": header.tile_size_px}
            self.settings.settings = self.settings.settings.model_copy(update=tile)


def _rows(*rows: tuple[str, QWidget]) -> QWidget:
    """Labelled controls below each other."""
    widget = QWidget()
    form = QFormLayout(widget)
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for title, control in rows:
        form.addRow(title, control)
    return widget
