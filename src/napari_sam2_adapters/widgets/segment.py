"""The Segment dock: an adapter on a slice, a stack or a part of them; then tidying and measuring."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.notifications import show_warning
from qtpy.QtGui import QDragEnterEvent, QDropEvent

from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.widgets.docks.check_boxes import CheckBoxes
from napari_sam2_adapters.widgets.docks.dock import Dock, button
from napari_sam2_adapters.widgets.docks.folded import Folded
from napari_sam2_adapters.widgets.docks.form import TILE_FIELDS, SettingsForm
from napari_sam2_adapters.widgets.docks.image_form import ImageForm
from napari_sam2_adapters.widgets.docks.one_at_a_time import SEGMENTATIONS
from napari_sam2_adapters.widgets.docks.results import find_own
from napari_sam2_adapters.widgets.docks.section import Section
from napari_sam2_adapters.widgets.docks.words import duration
from napari_sam2_adapters.widgets.segmenting.extent_form import ExtentForm
from napari_sam2_adapters.widgets.segmenting.measure_form import MeasureForm
from napari_sam2_adapters.widgets.segmenting.measuring import (
    MeasuredLayer,
    Measuring,
    measure_layer,
)
from napari_sam2_adapters.widgets.segmenting.provenance import describe_run
from napari_sam2_adapters.widgets.segmenting.result_layers import ResultLayers
from napari_sam2_adapters.widgets.segmenting.run import Run, new_run
from napari_sam2_adapters.widgets.segmenting.segmenting import (
    LimitsKept,
    Prepared,
    Segmented,
    SegmentRequest,
    Tiled,
    segment,
)
from napari_sam2_adapters.widgets.segmenting.tidy_form import TidyForm
from napari_sam2_adapters.widgets.segmenting.tidying import Tidied, Tidying, TidyRequest, tidy
from napari_sam2_adapters.widgets.shelf.adapter_form import AdapterForm, dropped_adapters
from napari_sam2_adapters.wording import counted

if TYPE_CHECKING:
    from napari_sam2_adapters.models.model_file import AdapterHeader

__all__ = ["Segment"]


class Segment(Dock):
    """Dock that segments an image layer with a saved adapter.

    Parameters
    ----------
    napari_viewer
        The napari viewer.
    """

    closing_title = "Segmenting is under way"
    closing_question = "Segment is still at work. Stop it, keep what is done, and close napari?"

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.adapter = AdapterForm()
        self.image = ImageForm(napari_viewer)
        self.extent = ExtentForm(napari_viewer)
        self.wanted = CheckBoxes(PredictConfig(), ("probabilities", "uncertainty"))
        self.settings = SettingsForm(PredictConfig(), TILE_FIELDS)
        self.tidying = TidyForm()
        self.measuring = MeasureForm(napari_viewer)
        self.results = ResultLayers(napari_viewer, self)
        self.start_button = button("Segment", "Segment the image.", self.start, "play")
        self.cancel_button = button("Cancel", "Stop; what is done stays.", self.job.stop, "stop")
        self._run: Run | None = None
        self._measured: Labels | None = None
        self._kept = LimitsKept()
        self._shown = threading.Event()
        self.setAcceptDrops(True)
        self._lay_out()
        self._connect()
        SEGMENTATIONS.add(self.job)
        self.adapter.list_models()
        self._fit_image()

    @property
    def header(self) -> AdapterHeader | None:
        """What the chosen adapter says of itself; None until it is read."""
        return self.adapter.header

    @property
    def model(self) -> Path | None:
        """File of the chosen adapter."""
        return self.adapter.model

    def open_model(self, path: Path) -> None:
        """Choose an adapter file anywhere on this machine."""
        self.adapter.open_model(Path(path))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802 (Qt's name)
        """Take adapters; everything else is for napari."""
        if dropped_adapters(event.mimeData()):
            event.acceptProposedAction()
        else:
            event.ignore()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802 (Qt's name)
        """Choose the adapter that was dropped."""
        for path in dropped_adapters(event.mimeData()):
            self.open_model(path)
        event.acceptProposedAction()

    def missing(self) -> str:
        """What stands in the way of a start, in words; empty when nothing does."""
        if SEGMENTATIONS.in_the_way_of(self.job):
            return "Another Segment dock is at work; stop that one or wait for it."
        missing = self.adapter.missing()
        if missing or self.header is None:
            return missing
        try:
            picture = self.image.picture()
            if self.image.layer is not None:
                self.extent.region(self.image.layer, picture, self.image.channel_axis)
        except ValueError as error:
            return str(error)
        return _channel_mismatch(picture.channels, self.header.model.input_channels)

    def start(self) -> None:
        """Segment what is chosen into our own layers."""
        header, model, layer = self.header, self.model, self.image.layer
        missing = self.missing()
        if self.job.running or missing or header is None or model is None or layer is None:
            self.refresh()
            return
        picture, axis = self.image.picture(), self.image.channel_axis
        region = self.extent.region(layer, picture, axis)
        rules, config = self.tidying.rules, self._config()
        described = describe_run(
            region,
            picture,
            config,
            level=self.image.level,
            channel_axis=axis,
            rules=rules.model_dump(),
        )
        new = new_run(layer, picture, model, header, described)
        self._run, earlier = self.results.go_on(new)
        self._measured, self._shown = None, threading.Event()
        request = SegmentRequest(
            model, header.tensors_sha256, picture.array, picture.axes, picture.rgb, region, config,
            rules, earlier, self._kept, shown=self._shown,
        )  # fmt: skip
        self._begin("Loading the network …")
        self.job.start(segment, request)

    def apply(self) -> None:
        """Tidy the result that is there, without the network."""
        found = self.results.for_image(self.image.layer)
        if self.job.running or SEGMENTATIONS.in_the_way_of(self.job) or found is None:
            return
        (self._run, arrays), self._measured = found, None
        self.results.take_up(self._run)
        axes, classes = self._run.picture.axes, self._run.header.classes
        request = TidyRequest(arrays, axes, classes, self.tidying.rules)
        self.results.lock(self._run.image)
        self._begin("Tidying …")
        self.job.start(tidy, request)

    def measure(self) -> None:
        """Measure the chosen labels layer."""
        if self.job.running or self.measuring.missing():
            return
        self._measured = self.measuring.labels.layer
        self._begin("Measuring …")
        self.job.start(measure_layer, self.measuring.request())

    def taken_out(self) -> None:
        """Stop, and leave the layers to the user at once: a dock that is taken out of its window may be gone before the work ends."""
        super().taken_out()
        self.results.release()

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
        if self.job.stopping:
            self.status.setText("Stopping after the tile in work …")
        busy = running or SEGMENTATIONS.in_the_way_of(self.job)
        result = None if busy else self.results.for_image(self.image.layer)
        self.tidying.offer(result is not None)
        unmeasured = self.measuring.missing()
        self.measuring.measure_button.setEnabled(not running and not unmeasured)
        tip = unmeasured or "Measure; the numbers go into the layer's features."
        self.measuring.measure_button.setToolTip(tip)

    def _config(self) -> PredictConfig:
        wanted = self.wanted.settings.model_dump(include={"probabilities", "uncertainty"})
        return self.settings.settings.model_copy(update=wanted)

    def _begin(self, what: str) -> None:
        self.progress.setRange(0, 0)
        self.status.setText(what)

    def _lay_out(self) -> None:
        advanced = Folded("Advanced", self.settings)
        self.buttons.addWidget(self.start_button)
        self.buttons.addWidget(self.cancel_button)
        self.column.addWidget(Section("With", self.adapter))
        self.column.addWidget(
            Section("Segment", self.image, self.extent, self.wanted, advanced, self.device)
        )
        self.column.addWidget(Section("Clean up", self.tidying))
        self.column.addWidget(Section("Measure", self.measuring))
        self.column.addStretch()

    def _connect(self) -> None:
        self.adapter.known.connect(self._take_header)
        self.adapter.another.connect(self._take_tile)
        self.adapter.changed.connect(self.refresh)
        self.image.changed.connect(self._fit_image)
        self.extent.changed.connect(self.refresh)
        self.tidying.applied.connect(self.apply)
        self.measuring.asked.connect(self.measure)
        self.measuring.changed.connect(self.refresh)
        self.measuring.failed.connect(self.status.setText)
        self.results.lost.connect(self._stop_without_layer)
        self.job.updated.connect(self._take_update)
        self.job.ended.connect(self._take_result)
        self.job.failed.connect(self.status.setText)
        self.job.failed.connect(self.results.give_up)
        SEGMENTATIONS.changed.connect(self.refresh)  # of this dock too

    def _fit_image(self) -> None:
        if self.header is not None:
            self.image.fit_channels(self.header.model.input_channels)
        try:
            picture = self.image.picture()
        except ValueError:
            picture = None
        self.extent.fit(picture)
        self.tidying.show_image(picture)
        self.refresh()

    def _take_header(self) -> None:
        if self.header is None:
            return
        self.tidying.show_classes(self.header.classes)
        self._fit_image()

    def _take_tile(self) -> None:
        if self.header is not None:
            tile = {"tile_size_px": self.header.tile_size_px}
            self.settings.settings = self.settings.settings.model_copy(update=tile)

    def _stop_without_layer(self) -> None:
        """Segment and tidy no layer that is gone; a measurement is of a layer of its own."""
        if self.job.running and self._measured is None:
            self.job.stop()

    def _take_update(self, update: Prepared | Tiled | Tidying | Measuring) -> None:
        if isinstance(update, Prepared):
            if self._run is not None:
                self.results.prepare(self._run, update.arrays, self._shown.set)
            self.status.setToolTip(update.plan)
            self._say(f"{update.plan} Segmenting …")
            return
        self.progress.setRange(0, update.total)
        self.progress.setValue(update.done)
        if isinstance(update, Tiled):
            self.results.begin(lock=not self.job.stopping)
            left = duration(update.seconds_left)
            self._say(
                f"Tile {update.done} of {update.total}, {left} left; the result can be painted in then."
            )
            if update.notice:
                show_warning(update.notice)
            self.results.redraw(update.planes)
        else:
            what = "Tidied" if isinstance(update, Tidying) else "Measured"
            self._say(f"{what} {update.done} of {update.total}.")

    def _say(self, news: str) -> None:
        """Say how it goes, unless it is about to stop."""
        if not self.job.stopping:
            self.status.setText(news)

    def _take_result(self, result: Segmented | Tidied | MeasuredLayer) -> None:
        if isinstance(result, MeasuredLayer):
            measured, self._measured = self._measured, None
            if measured is not None:
                self.measuring.show_table(measured, result.table)
            whole = result.done == result.total
            self.status.setText(
                "Measured." if whole else "Cancelled; the table holds what is done."
            )
        elif self._run is not None:
            self.results.settle(self._run, result.arrays)
            made = find_own(self.viewer, "objects", self._run.image) or self.results.labels
            if made is not None:
                self.measuring.prefer(made)
            self.status.setText(self.results.loss or result.sentence)
            self.refresh()


def _channel_mismatch(found: int, wanted: int) -> str:
    """Why an image does not suit an adapter, and the mend; empty when it does."""
    if found == wanted:
        return ""
    mend = "Choose another channel axis or another image."
    if wanted == 1:
        mend = "Split it (right-click the layer ▸ Split Stack or Split RGB) and choose one channel."
    return f"The image has {counted(found, 'channel')}, but the adapter was trained on {wanted}. {mend}"
