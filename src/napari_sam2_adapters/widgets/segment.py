"""The Segment dock: an adapter on the current slice or on the whole stack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.qt.threading import create_worker
from napari.utils.notifications import show_warning
from qtpy.QtCore import QFileSystemWatcher
from qtpy.QtWidgets import QComboBox, QFileDialog, QFormLayout, QHBoxLayout
from superqt import QCollapsible

from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.widgets import _layers, _results
from napari_sam2_adapters.widgets._dock import Dock, button, section, sentence
from napari_sam2_adapters.widgets._drop_down import DropDown
from napari_sam2_adapters.widgets._form import SettingsForm
from napari_sam2_adapters.widgets._image_form import ImageForm
from napari_sam2_adapters.widgets._segmenting import (
    Segmented,
    SegmentRequest,
    Tiled,
    new_label_array,
    segment,
)
from napari_sam2_adapters.widgets._store import SUFFIX, adapters_folder, list_adapters
from napari_sam2_adapters.widgets._torch import load_torch
from napari_sam2_adapters.widgets._words import duration

if TYPE_CHECKING:
    from napari_sam2_adapters.models.model_file import AdapterHeader

__all__ = ["Segment"]

ROLE = "segmentation"


class Segment(Dock):
    """Dock that segments an image layer with a saved adapter.

    Parameters
    ----------
    napari_viewer
        The napari viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.models = DropDown()
        self.browse_button = button("Open …", "Use an adapter from a file.", self.browse)
        self.card = sentence()
        self.image = ImageForm(napari_viewer)
        self.extent = QComboBox()
        self.extent.addItem("the current slice", True)
        self.extent.addItem("the whole stack", False)
        self.settings = SettingsForm(
            PredictConfig(), ("tile_size_px", "overlap", "batch_size", "test_time_augmentation")
        )
        self.start_button = button("Segment", "Segment the image.", self.start)
        self.cancel_button = button("Cancel", "Stop; what is done stays.", self.job.stop)
        self.header: AdapterHeader | None = None
        self._opened: list[Path] = []
        self._layer: Labels | None = None
        self._watcher = QFileSystemWatcher([str(adapters_folder())], self)
        self._lay_out()
        self._connect()
        self.list_models()

    @property
    def model(self) -> Path | None:
        """File of the chosen adapter."""
        return self.models.currentData()  # type: ignore[no-any-return]

    def list_models(self) -> None:
        """List the saved adapters anew; a new one is chosen at once."""
        known = {self.models.itemData(i) for i in range(self.models.count())}
        chosen, found = self.model, list_adapters()
        newest = found[0] if found and found[0] not in known else None
        self.models.blockSignals(True)
        self.models.clear()
        for path in [*found, *(path for path in self._opened if path not in found)]:
            self.models.addItem(path.name.removesuffix(SUFFIX), path)
        self.models.setCurrentIndex(max(0, self.models.findData(newest or chosen)))
        self.models.blockSignals(False)
        if self.model != chosen or self.header is None:
            self._read_card()

    def open_model(self, path: Path) -> None:
        """Choose an adapter file anywhere on this machine."""
        if self.models.findData(path) < 0:
            self._opened.append(path)
            self.models.addItem(path.name.removesuffix(SUFFIX), path)
        self.models.setCurrentIndex(self.models.findData(path))

    def browse(self) -> None:
        """Ask for an adapter file."""
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Open adapter", str(adapters_folder()), f"Adapters (*{SUFFIX})"
        )
        if chosen:
            self.open_model(Path(chosen))

    def missing(self) -> str:
        """What stands in the way of a start, in words; empty when nothing does."""
        if self.model is None:
            return "Train an adapter in Fine-tune, or open one from a file."
        if self.header is None:
            return "This adapter cannot be used; choose another one."
        try:
            picture = self.image.picture()
        except ValueError as error:
            return str(error)
        found = _channels(picture)
        wanted = self.header.model.input_channels
        if found != wanted:
            return (
                f"The image has {found} channel(s), but the adapter was trained on {wanted}. "
                "Choose another channel axis or another image."
            )
        return ""

    def start(self) -> None:
        """Segment what is chosen into our own layer."""
        header, model = self.header, self.model
        if header is None or model is None:
            return
        picture = self.image.picture()
        plane = None
        if len(picture.label_shape) > 2 and self.extent.currentData():
            plane = _layers.current_plane(
                self.image.layer, self.viewer.dims.point, picture, self.image.channel_axis
            )
        self._layer = self._result_layer(picture, header, model)
        request = SegmentRequest(
            model, picture.array, picture.axes, picture.rgb, plane, self._layer.data,
            self.settings.settings,
        )  # fmt: skip
        self.progress.setRange(0, 0)
        self.status.setText("Loading the network …")
        self.job.start(segment, request)

    def refresh(self) -> None:
        """Enable what can be used now, and say why the rest cannot."""
        running = self.job.running
        missing = "" if running else self.missing()
        self.start_button.setEnabled(not running and not missing)
        self.start_button.setToolTip(missing or "Segment the image.")
        self.cancel_button.setEnabled(running and not self.job.stopping)
        self.reason.setText(missing)
        self.reason.setVisible(bool(missing))
        self.progress.setVisible(running)
        try:
            planes = len(self.image.picture().label_shape) > 2
        except ValueError:
            planes = False
        self.image.form.setRowVisible(self.extent, planes)

    def _result_layer(self, picture: _layers.Picture, header: AdapterHeader, model: Path) -> Labels:
        """Our layer for this image; labels of an earlier run with the same adapter stay in it."""
        origin = {"model": model.name, "tensors_sha256": header.tensors_sha256}
        earlier = _results.find_own(self.viewer, ROLE, self.image.layer)
        dtype = np.min_scalar_type(max(info.value for info in header.classes))
        if (
            earlier is not None
            and tuple(earlier.data.shape) == picture.label_shape
            and earlier.metadata[_results.OURS].get("tensors_sha256") == header.tensors_sha256
        ):
            labels = earlier.data
        else:
            labels = new_label_array(picture.label_shape, dtype)
        return _results.put_labels(
            self.viewer,
            self.image.layer,
            labels,
            header.classes,
            role=ROLE,
            name=f"{picture.name} – SAM2 adapters",
            place=picture.placement,
            provenance=origin,
        )

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.models, stretch=1)
        row.addWidget(self.browse_button)
        form = QFormLayout()
        form.addRow("Adapter", row)
        form.addRow(self.card)
        box = section("With")
        box.layout().addLayout(form)
        self.image.form.addRow("Segment", self.extent)
        advanced = QCollapsible("Advanced", expandedIcon="▾", collapsedIcon="▸")
        advanced.addWidget(self.settings)
        self.buttons.addWidget(self.start_button)
        self.buttons.addWidget(self.cancel_button)
        self.column.addWidget(box)
        self.column.addWidget(section("Segment", self.image, advanced, self.device))
        self.column.addStretch()

    def _connect(self) -> None:
        self._watcher.directoryChanged.connect(lambda _: self.list_models())
        self.models.currentIndexChanged.connect(lambda _: self._read_card())
        self.image.changed.connect(self._fit_channels)
        self.job.updated.connect(self._take_update)
        self.job.ended.connect(self._take_result)
        self.job.failed.connect(self.status.setText)
        self.job.state_changed.connect(self.refresh)

    def _fit_channels(self) -> None:
        if self.header is not None:
            self.image.fit_channels(self.header.model.input_channels)
        self.refresh()

    def _read_card(self) -> None:
        self.header = None
        self.card.setText("")
        if self.model is not None:
            self.card.setText("Reading …")
            worker = create_worker(_read_header, self.model, _start_thread=False)
            worker.returned.connect(self._take_header)
            worker.start()
        self.refresh()

    def _take_header(self, found: tuple[Path, AdapterHeader | str]) -> None:
        path, header = found
        if path != self.model:  # another one was chosen meanwhile
            return
        if isinstance(header, str):
            self.card.setText(header)
            return
        self.header = header
        self.card.setText(_card(header))
        tiles = {"tile_size_px": header.tile_size_px}
        self.settings.settings = self.settings.settings.model_copy(update=tiles)
        self._fit_channels()

    def _take_update(self, tiled: Tiled) -> None:
        self.progress.setRange(0, tiled.total)
        self.progress.setValue(tiled.done)
        self.status.setText(
            f"Tile {tiled.done} of {tiled.total}, {duration(tiled.seconds_left)} left."
        )
        if tiled.notice:
            show_warning(tiled.notice)
        if self._layer is not None:
            self._layer.refresh()

    def _take_result(self, result: Segmented) -> None:
        if self._layer is not None:
            self._layer.refresh()
        whole = result.done == result.total
        what = "Done" if whole else "Cancelled; what is done stays"
        self.status.setText(
            f"{what}: {result.done} of {result.total} tiles in {duration(result.seconds)}."
        )


def _channels(picture: _layers.Picture) -> int:
    from napari_sam2_adapters.data.axes import channel_count

    found = channel_count(picture.array.shape, picture.axes)
    return 3 if picture.rgb and found == 4 else found


def _read_header(path: Path) -> tuple[Path, AdapterHeader | str]:
    """Give the header of a model file, or in a sentence why it cannot be used."""
    load_torch()
    from napari_sam2_adapters.models.model_file import read_header

    try:
        return path, read_header(path)
    except (ValueError, OSError) as error:
        return path, str(error)


def _card(header: AdapterHeader) -> str:
    """An adapter in a few words."""
    names = ", ".join(info.name for info in header.classes)
    score = header.scores.get("mean_dice")
    scored = f" Held-out mean Dice {score:.2f}." if isinstance(score, float) else ""
    return f"{header.model.adapter.upper()} on {header.model.backbone}; {names}.{scored}"
