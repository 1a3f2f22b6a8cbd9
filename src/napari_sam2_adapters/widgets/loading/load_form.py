"""What the Load dock is told: files, one stack or separate images, axes and sizes, labels."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_sam2_adapters.data.formats.registry import IMAGE_SUFFIXES, image_folder
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.io import labels_inside
from napari_sam2_adapters.widgets.docks.dock import button, sentence
from napari_sam2_adapters.widgets.docks.jobs import Question
from napari_sam2_adapters.widgets.docks.path_line import PathLine
from napari_sam2_adapters.widgets.docks.section import Section
from napari_sam2_adapters.widgets.loading.axes_form import AxesForm
from napari_sam2_adapters.widgets.loading.label_guess import look_like_labels
from napari_sam2_adapters.widgets.loading.loading import LoadRequest, describe, list_files

__all__ = ["LoadForm"]

_QUIET_MS = 120
"""Files are looked at when nothing was typed or ticked for this long."""
_THICKNESS = "Files of a stack do not say how far apart they are: check the pixel size of Z."
_KINDS = " ".join(f"*{suffix} *{suffix.upper()}" for suffix in IMAGE_SUFFIXES)


class LoadForm(QWidget):
    """Controls of the Load dock; it looks at the files by itself.

    Parameters
    ----------
    parent
        Qt parent.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.folder = PathLine("Image or folder", "choose or drop", files=f"Images ({_KINDS})")
        self.pattern = QLineEdit("*")
        self.pattern.setToolTip("Which images of the folder: * stands for any text; *_raw.tif.")
        self.list = QListWidget()
        self.list.setUniformItemSizes(True)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.setToolTip("Files with a tick are opened, in this order.")
        self.list.setMaximumHeight(150)
        self.all_button = button(
            "All", "Tick all files.", lambda: self._tick(Qt.CheckState.Checked)
        )
        self.none_button = button(
            "None", "Take all ticks away.", lambda: self._tick(Qt.CheckState.Unchecked)
        )
        self.found = sentence()
        self.kind = QComboBox()
        self.kind.addItem("one stack", True)
        self.kind.addItem("separate images", False)
        self.kind.setToolTip("Sections of a volume are one stack; planes are read when looked at.")
        self.axes = AxesForm()
        self.as_labels = QCheckBox("These look like labels: open them as Labels")
        self.as_labels.setToolTip(
            "Labels layers can be painted in and learnt from; an image layer shows the values as grey."
        )
        self.labels = PathLine("Labels", "none", files=f"Labels ({_KINDS})")
        self.inside = QComboBox()
        self.inside.setToolTip("Labels that are kept in the image.")
        self.problem = ""
        self._files: tuple[Path, ...] = ()
        self._only: list[Path] | None = None
        self._opened: Path | None = None
        self._listing, self._looking = Question(self), Question(self)
        self._quiet, self._ticked = QTimer(self), QTimer(self)
        for timer in (self._quiet, self._ticked):
            timer.setSingleShot(True)
            timer.setInterval(_QUIET_MS)
        self._lay_out()
        self._connect()
        self._show_list(())

    @property
    def paths(self) -> tuple[Path, ...]:
        """Files with a tick."""
        return tuple(
            path
            for row, path in enumerate(self._files)
            if self.list.item(row).checkState() == Qt.CheckState.Checked
        )

    @property
    def as_stack(self) -> bool:
        """Whether several files become one stack."""
        return bool(self.kind.currentData()) and len(self.paths) > 1

    @property
    def waiting(self) -> bool:
        """Whether the files are being looked at."""
        timers = self._quiet.isActive() or self._ticked.isActive()
        return timers or self._listing.waiting or self._looking.waiting

    def missing(self) -> str:
        """What stands in the way of loading, in words; empty when nothing does."""
        if self.folder.path is None:
            return "Choose images or a folder, or drop them here."
        if self.waiting:
            return "Looking at the files …"
        if self.problem:
            return self.problem
        if not self.paths:
            return "Tick the files to open."
        labels = self.labels.path
        if labels is not None and not labels.exists():
            return f"There are no labels {labels}. Check the path, or leave it empty."
        return self.axes.problem()

    def request(self) -> LoadRequest | None:
        """What to load; None while the files are not known."""
        if self.axes.file is None:
            return None
        stack = self.axes.file if self.as_stack else None
        # What is set for the first of several images goes for all only when it was changed.
        own = stack is None and len(self.paths) > 1 and not self.axes.edited
        change = _unchanged if own else self.axes.settings.apply
        as_labels = self.as_labels.isVisibleTo(self) and self.as_labels.isChecked()
        return LoadRequest(
            self.paths, stack, change, self.axes.channel_choice, self.labels.path, as_labels
        )

    def _lay_out(self) -> None:
        top = QFormLayout()
        top.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        top.addRow("Open", self.folder)
        self.rows = QWidget()
        rows = QFormLayout(self.rows)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow("Pattern", self.pattern)
        rows.addRow(self.list)
        ticks = QHBoxLayout()
        ticks.addWidget(self.found, stretch=1)
        ticks.addWidget(self.all_button)
        ticks.addWidget(self.none_button)
        rows.addRow(ticks)
        rows.addRow("As", self.kind)
        files = Section("Files")
        files.layout().addLayout(top)
        files.layout().addWidget(self.rows)
        files.layout().addWidget(self.as_labels)
        self.described = Section("Axes and pixel size", self.axes)
        self.on_it = Section("Labels on it (optional)", self.inside, self.labels)
        self._offer_inside(())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (files, self.described, self.on_it):
            layout.addWidget(part)

    def _connect(self) -> None:
        self.folder.changed.connect(self._forget_choice)
        self.folder.several.connect(self._take_several)
        self.pattern.textChanged.connect(lambda _: self._look())
        self.list.itemChanged.connect(lambda _: self._take_ticks())
        self.kind.currentIndexChanged.connect(lambda _: self._take_ticks())
        self.axes.changed.connect(self.changed)
        self.as_labels.toggled.connect(self._take_kind)
        self.labels.changed.connect(self.changed)
        self.inside.activated.connect(lambda _: self._take_inside())
        self._quiet.timeout.connect(self._ask_list)
        self._ticked.timeout.connect(self._ask_description)
        self._listing.answered.connect(self._show_list)
        self._looking.answered.connect(self._show_description)
        self._listing.failed.connect(self._miss_list)
        self._looking.failed.connect(self._miss)

    def _forget_choice(self) -> None:
        self._only = None
        if self.folder.path != self._opened:
            self._opened = self.folder.path
            self._forget_labels()
        self._look()

    def _forget_labels(self) -> None:
        """Labels of the image before are not those of this one, though they may well fit by shape; in a folder they go by name."""
        labels = self.labels.path
        if labels is None:
            return
        if not labels.is_dir() or image_folder(labels / "inside") is not None:
            self.labels.path = None

    def _take_several(self, paths: list[Path]) -> None:
        self._only = paths
        self._look()

    def _look(self) -> None:
        self._quiet.start()
        self.changed.emit()

    def _ask_list(self) -> None:
        path = self.folder.path
        if path is None:
            self._show_list(())
        else:
            self._listing.ask(list_files, path, self.pattern.text().strip() or "*")
            self.changed.emit()

    def _show_list(self, files: tuple[Path, ...]) -> None:
        self.problem, self._files = "", files
        self.list.blockSignals(True)
        self.list.clear()
        for path in files:
            item = QListWidgetItem(path.name)
            wanted = self._only is None or path in self._only
            item.setCheckState(Qt.CheckState.Checked if wanted else Qt.CheckState.Unchecked)
            self.list.addItem(item)
        self.list.blockSignals(False)
        folder = self.folder.path
        whole = folder is None or image_folder(folder / "inside") is not None
        self.rows.setVisible(folder is not None and folder.is_dir() and not whole)
        self._ask_description()

    def _tick(self, state: Qt.CheckState) -> None:
        """Tick the selected files, or all of them when fewer than two are selected."""
        items = self.list.selectedItems()
        if len(items) < 2:
            items = [self.list.item(row) for row in range(self.list.count())]
        self.list.blockSignals(True)
        for item in items:
            item.setCheckState(state)
        self.list.blockSignals(False)
        self._take_ticks()

    def _take_ticks(self) -> None:
        self._ticked.start()
        self.changed.emit()

    def _ask_description(self) -> None:
        paths = self.paths
        self.found.setText(f"{len(paths)} of {len(self._files)} files.")
        if paths:
            self._looking.ask(_describe, paths, self.as_stack)
        else:
            self._offer_labels(False)
            self._show_axes(None)
        self.changed.emit()

    def _show_axes(self, file: ImageFile | None, note: str = "") -> None:
        """Show what a file says of itself; the boxes of a file that cannot be read would be empty."""
        self.axes.show_file(file, note)
        self.described.setVisible(file is not None)
        self._take_kind(self.as_labels.isChecked())

    def _take_kind(self, as_labels: bool) -> None:
        """Labels get no labels on them."""
        self.on_it.setVisible(self.axes.file is not None and not as_labels)
        self.changed.emit()

    def _offer_labels(self, alike: bool) -> None:
        self.as_labels.setVisible(alike)
        if not alike:
            self.as_labels.setChecked(False)

    def _offer_inside(self, found: tuple[Path, ...]) -> None:
        """Offer labels that are kept in the image; the only ones are taken, unless others are chosen already."""
        self.inside.setVisible(bool(found))
        if found == tuple(self.inside.itemData(row) for row in range(1, self.inside.count())):
            return
        self.inside.clear()
        self.inside.addItem("labels of this image …", None)
        for path in found:
            self.inside.addItem(path.name, path)
        if len(found) == 1 and self.labels.path is None:
            self.inside.setCurrentIndex(1)
            self._take_inside()

    def _take_inside(self) -> None:
        self.labels.path = self.inside.currentData()

    def _show_description(self, described: tuple[ImageFile, bool, tuple[Path, ...]]) -> None:
        file, alike, inside = described
        if not self.paths:  # taken away meanwhile
            return
        self.problem = ""
        self._offer_inside(inside)
        self._offer_labels(alike)
        guessed = self.as_stack and file.axes.startswith("Z") and file.pixel_size is not None
        self._show_axes(file, _THICKNESS if guessed else "")
        self.changed.emit()

    def _miss(self, reason: str) -> None:
        self.problem = reason
        self._offer_labels(False)
        self._show_axes(None)
        self.changed.emit()

    def _miss_list(self, reason: str) -> None:
        """Show no files: those that are listed are of another folder or pattern."""
        self._show_list(())
        self._miss(reason)


def _describe(paths: tuple[Path, ...], as_stack: bool) -> tuple[ImageFile, bool, tuple[Path, ...]]:
    inside = labels_inside(paths[0]) if len(paths) == 1 else ()
    return describe(paths, as_stack=as_stack), look_like_labels(paths), inside


def _unchanged(file: ImageFile) -> ImageFile:
    return file
