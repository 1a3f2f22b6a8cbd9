"""The pretrained backbones: which are here, and how to get the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHeaderView,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_sam2_adapters.widgets.docks.closing import agreed
from napari_sam2_adapters.widgets.docks.dock import button, sentence
from napari_sam2_adapters.widgets.docks.jobs import Job, Pulse
from napari_sam2_adapters.widgets.docks.machine import BackboneOffer
from napari_sam2_adapters.widgets.docks.store import to_bin

__all__ = ["BackboneList", "Fetched", "Fetching"]

_REPORTS_PER_S = 10


@dataclass(frozen=True)
class Fetching:
    """A download under way: bytes so far and in all (0 if unknown), and the speed in bytes per second."""

    name: str
    done: int
    total: int
    speed: float

    @property
    def seconds_left(self) -> float | None:
        """Time that is left at this speed; None when it is not known."""
        return (self.total - self.done) / self.speed if self.total and self.speed else None


@dataclass(frozen=True)
class Fetched:
    """What became of a backbone, in words, and whether it is here now."""

    name: str
    sentence: str
    here: bool


class BackboneList(QWidget):
    """List of the backbones; everything with their files is done by the dock's `Job`.

    Parameters
    ----------
    job
        Does one thing at a time.
    parent
        Qt parent.
    """

    changed = Signal()

    def __init__(self, job: Job, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._job = job
        self.tree = _tree()
        self.details = sentence("Looking for backbones …")
        self.details.setTextFormat(Qt.TextFormat.RichText)
        self.download_button = button("Download …", "", self.download, "download")
        self.file_button = button(
            "Use a file …",
            "Check a SAM2.1 file that you have and copy it to the others; needs no network.",
            self.use_file,
            "file",
        )
        self.delete_button = button("Delete …", "Move the file to the bin.", self.delete, "delete")
        self._lay_out()
        self.tree.currentItemChanged.connect(lambda *_: self.refresh())
        self.tree.itemActivated.connect(lambda *_: self.download())
        job.state_changed.connect(self.refresh)
        self.refresh()

    @property
    def chosen(self) -> BackboneOffer | None:
        """The backbone that is chosen in the list."""
        item = self.tree.currentItem()
        return None if item is None else item.data(0, Qt.ItemDataRole.UserRole)

    def show_offers(self, offers: Sequence[BackboneOffer]) -> None:
        """List the backbones as they are now."""
        wanted = self.chosen.name if self.chosen else "tiny"
        self.tree.blockSignals(True)
        self.tree.clear()
        for offer in offers:
            row = QTreeWidgetItem([offer.name, f"{offer.size_mb} MB", _state(offer)])
            row.setData(0, Qt.ItemDataRole.UserRole, offer)
            row.setTextAlignment(1, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            row.setToolTip(0, offer.about)
            row.setToolTip(2, str(offer.path or "not on this machine"))
            self.tree.addTopLevelItem(row)
            if offer.name == wanted:
                self.tree.setCurrentItem(row)
        self.tree.blockSignals(False)
        _fit_height(self.tree)
        self.refresh()

    def choose(self, name: str) -> None:
        """Choose a backbone in the list."""
        for item in self.tree.findItems(name, Qt.MatchFlag.MatchExactly):
            self.tree.setCurrentItem(item)

    def download(self) -> None:
        """Download the chosen backbone, once the user has agreed to size, source and place."""
        offer = self.chosen
        if offer is None or not self.download_button.isEnabled():
            return
        rest = ""
        if offer.partial_mb >= 1:
            rest = f"\n{offer.partial_mb:.0f} MB of it are here already; it goes on from there."
        details = (
            f"{offer.size_mb} MB from {offer.address}\n"
            f"Licence: {offer.licence}. Kept in {offer.folder}\n"
            f"Its sha256 must be {offer.sha256}.{rest}"
        )
        question = f"Download the backbone {offer.name} (SAM2.1 by Meta)?"
        if agreed(self, "Download", question, details=details):
            self._job.start(_fetch, offer.name)

    def use_file(self) -> None:
        """Ask for a file of the user's own, check it and copy it into the cache."""
        offer = self.chosen
        if offer is None:
            return
        chosen, _ = QFileDialog.getOpenFileName(
            self, f"File of {offer.name}", str(Path.home()), "PyTorch weights (*.pt *.pth)"
        )
        if chosen:
            self._job.start(_install, offer.name, Path(chosen))

    def delete(self) -> None:
        """Move the chosen backbone's file to the system's bin, once the user has agreed."""
        offer = self.chosen
        if offer is None or offer.path is None or offer.built_in:
            return
        details = f"{offer.path}\nAdapters that were trained on it cannot be used until it is back."
        question = f"Move the file of {offer.name} to the bin?"
        if agreed(self, "Move to bin", question, details=details):
            self._job.start(_delete, offer.name, offer.path)

    def refresh(self) -> None:
        """Say what is known of the chosen backbone, and enable what can be done with it."""
        offer, idle = self.chosen, not self._job.running
        self.download_button.setText("Go on …" if offer and offer.partial_mb >= 1 else "Download …")
        reason = _why_no_download(offer)
        self.download_button.setEnabled(idle and not reason)
        self.download_button.setToolTip(
            reason or "Fetch the official file and check it; asks before it begins."
        )
        self.file_button.setEnabled(idle and offer is not None and not offer.built_in)
        self.delete_button.setEnabled(
            idle and offer is not None and offer.here and not offer.built_in
        )
        if offer is not None:
            self.details.setText(_details(offer))

    def _lay_out(self) -> None:
        grid = QGridLayout()
        for column, push in enumerate((self.download_button, self.file_button, self.delete_button)):
            grid.addWidget(push, 0, column)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tree)
        layout.addWidget(self.details)
        layout.addLayout(grid)


def _fetch(stop: threading.Event, name: str) -> Generator[Fetching, None, Fetched]:
    """Download a backbone, and report a few times a second."""
    from napari_sam2_adapters.models.backbone_files import download_backbone

    started, first, pulse = time.monotonic(), None, Pulse(1 / _REPORTS_PER_S)
    steps = download_backbone(name, stop)
    while True:
        try:
            received = next(steps)
        except StopIteration as end:
            path = end.value
            break
        first = received.done if first is None else first
        if pulse.due():
            speed = (received.done - first) / max(time.monotonic() - started, 0.1)
            yield Fetching(name, received.done, received.total, speed)
    if path is None:
        return Fetched(
            name, f"Stopped; what has come of {name} stays, and Go on fetches the rest.", False
        )
    return Fetched(name, f"{name} is here, and its sha256 is right.", True)


def _install(stop: threading.Event, name: str, source: Path) -> Generator[Fetching, None, Fetched]:
    """Check a file of the user's own and copy it."""
    from napari_sam2_adapters.models.checkpoints import install_backbone

    yield Fetching(name, 0, 0, 0)
    install_backbone(name, source)
    return Fetched(name, f"{name} is here, from {source.name}.", True)


def _delete(stop: threading.Event, name: str, path: Path) -> Generator[Fetching, None, Fetched]:
    """Move a file to the bin."""
    yield Fetching(name, 0, 0, 0)
    to_bin(path)
    return Fetched(name, f"{path.name} is in the bin now.", False)


def _why_no_download(offer: BackboneOffer | None) -> str:
    if offer is None:
        return "Choose a backbone first."
    if offer.built_in:
        return "This backbone is built in and needs no download."
    if offer.here and not offer.own:
        return "The official file is here already."
    return ""


def _state(offer: BackboneOffer) -> str:
    if offer.built_in:
        return "built in"
    if offer.here:
        return "your own file" if offer.own else "here"
    if offer.partial_mb >= 1:
        return f"{offer.partial_mb:.0f} MB so far"
    return "not here"


def _details(offer: BackboneOffer) -> str:
    text = f"{escape(offer.about)}. Licence: {escape(offer.licence)}."
    if offer.here and not offer.built_in:
        text += f" In {escape(str(offer.path))}."
    elif not offer.here:
        text += f" {offer.size_mb} MB from {escape(offer.address)}."
    return text


def _tree() -> QTreeWidget:
    tree = QTreeWidget()
    tree.setToolTip("Pretrained networks that adapters are trained on, and whether they are here.")
    tree.setHeaderLabels(["Backbone", "Size", "On this machine"])
    tree.setRootIsDecorated(False)
    tree.setUniformRowHeights(True)
    tree.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    header = tree.header()
    header.setStretchLastSection(True)
    for column in (0, 1):
        header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
    return tree


def _fit_height(tree: QTreeWidget) -> None:
    """As high as its rows, so that it does not scroll."""
    rows = sum(tree.sizeHintForRow(row) for row in range(tree.topLevelItemCount()))
    tree.setFixedHeight(rows + tree.header().sizeHint().height() + 2 * tree.frameWidth() + 2)
