"""Choice of what a training starts from: a fresh adapter, the one just trained, or one from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from napari_sam2_adapters.config import ClassInfo, ModelConfig, name_anew
from napari_sam2_adapters.data.kept_split import was_learnt
from napari_sam2_adapters.data.packed_split import division_in
from napari_sam2_adapters.data.splitting import Split
from napari_sam2_adapters.widgets.docks.dock import sentence
from napari_sam2_adapters.widgets.docks.drop_down import DropDown
from napari_sam2_adapters.widgets.docks.jobs import Question
from napari_sam2_adapters.widgets.docks.load_torch import load_torch
from napari_sam2_adapters.widgets.docks.store import SUFFIX, adapters_folder
from napari_sam2_adapters.widgets.fine_tuning.messages import FineTuned, Start
from napari_sam2_adapters.wording import counted

__all__ = ["KnownStart", "StartChoice"]

_FRESH, _FILE = "a fresh adapter", "an adapter file …"


@dataclass(frozen=True)
class KnownStart:
    """An adapter to go on from, with the settings and classes that it brings."""

    start: Start
    model: ModelConfig
    classes: tuple[ClassInfo, ...]


class StartChoice(QWidget):
    """Drop-down of starts.

    Parameters
    ----------
    parent
        Qt parent.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.box = DropDown()
        self.box.setToolTip(
            "Train a fresh adapter, or go on with one that has learnt already; its settings then hold."
        )
        self.line = sentence()
        self._trained: KnownStart | None = None
        self._from_file: KnownStart | None = None
        self._last: object = "fresh"
        self._reading = Question(self)
        self._reading.answered.connect(self._take_file)
        self._reading.failed.connect(self._miss_file)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box)
        layout.addWidget(self.line)
        self._list("fresh")
        self.box.activated.connect(self._choose)

    @property
    def known(self) -> KnownStart | None:
        """The adapter to go on from; None for a fresh one."""
        return {"trained": self._trained, "file": self._from_file}.get(self.box.currentData())

    def offer_trained(self, result: FineTuned) -> None:
        """Offer the adapter that was just trained; what is chosen stays chosen."""
        name = result.path.name.removesuffix(SUFFIX) if result.path else result.request.title
        start = Start(
            name,
            segmenter=result.segmenter,
            normalization=result.normalization,
            split=result.split,
        )
        self._trained = KnownStart(start, result.segmenter.config, result.segmenter.classes)
        self._list(self.box.currentData())

    def choose_trained(self) -> None:
        """Go on from the adapter that was just trained."""
        self.box.setCurrentIndex(self.box.findData("trained"))
        self._tell()

    def choose_file(self, path: Path) -> None:
        """Go on from this adapter file, as soon as its header is read in a worker."""
        self.line.setText(f"Reading {path.name} …")
        self.line.show()
        self._reading.ask(_read, path)

    def problem(self, painted: Sequence[ClassInfo], channels: int | None) -> str:
        """Why the chosen adapter cannot go on with these data; empty when it can.

        Parameters
        ----------
        painted
            Classes that are labelled.
        channels
            Channels of the images, if known.
        """
        known = self.known
        if known is None:
            return ""
        try:
            name_anew(known.classes, painted, known.start.name)
        except ValueError as error:
            return str(error)
        wanted = known.model.input_channels
        if channels is not None and channels != wanted:
            return (
                f"{known.start.name} takes images of {counted(wanted, 'channel')}, but these have {channels}. Start from a fresh "
                "adapter."
            )
        return ""

    def _list(self, chosen: object) -> None:
        self.box.blockSignals(True)
        self.box.clear()
        self.box.addItem(_FRESH, "fresh")
        if self._trained is not None:
            self.box.addItem(f"the one just trained ({self._trained.start.name})", "trained")
        if self._from_file is not None:
            self.box.addItem(self._from_file.start.name, "file")
        self.box.addItem(_FILE, "ask")
        self.box.setCurrentIndex(max(0, self.box.findData(chosen)))
        self.box.blockSignals(False)
        self._tell()

    def _choose(self, index: int) -> None:
        if self.box.itemData(index) != "ask":
            self._tell()
            return
        self.box.setCurrentIndex(self.box.findData(self._last))
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Adapter to go on from", str(adapters_folder()), f"Adapters (*{SUFFIX})"
        )
        if chosen:
            self.choose_file(Path(chosen))
        else:
            self._tell()

    def _take_file(self, known: KnownStart) -> None:
        self._from_file = known
        self._list("file")

    def _miss_file(self, reason: str) -> None:
        self._list("fresh")
        self.line.setText(reason)
        self.line.show()

    def _tell(self) -> None:
        known, self._last = self.known, self.box.currentData()
        if known is None:
            self.line.setText("")
        elif known.start.split is not None and _never_learnt(known.start.split):
            self.line.setText(
                "Images that it learnt from are scored on the same held-out part as before, which it never learnt."
            )
        elif known.start.split is not None:
            self.line.setText(
                "It has learnt from all that was labelled, so its score before may flatter it on the same images."
            )
        else:
            self.line.setText(
                "What it learnt from before is not known here, so its score before may flatter it."
            )
        self.line.setVisible(known is not None)
        self.changed.emit()


def _never_learnt(split: Split) -> bool:
    """Whether something was held out, of which nothing had been learnt before."""
    return bool(split.held_out) and not was_learnt(split.held_out, split, ())


def _read(path: Path) -> KnownStart:
    load_torch()
    from napari_sam2_adapters.models.model_file import read_header

    header = read_header(path)
    start = Start(path.name.removesuffix(SUFFIX), path=path, split=division_in(header.training))
    return KnownStart(start, header.model, header.classes)
