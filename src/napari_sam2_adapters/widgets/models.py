"""The Models dock: trained adapters, pretrained backbones, and where the files of both are kept."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_info, show_warning
from qtpy.QtWidgets import QFileDialog, QHBoxLayout

from napari_sam2_adapters.export.request import ExportRequest
from napari_sam2_adapters.widgets.docks.dock import Dock, button, sentence, show_dock
from napari_sam2_adapters.widgets.docks.jobs import Question
from napari_sam2_adapters.widgets.docks.load_torch import load_torch
from napari_sam2_adapters.widgets.docks.log import open_path, show_failure
from napari_sam2_adapters.widgets.docks.machine import Machine, describe_backbones
from napari_sam2_adapters.widgets.docks.preferences import (
    can_be_changed,
    change_preference,
    preferences,
)
from napari_sam2_adapters.widgets.docks.section import Section
from napari_sam2_adapters.widgets.docks.words import duration, file_size
from napari_sam2_adapters.widgets.shelf.adapter_list import AdapterList
from napari_sam2_adapters.widgets.shelf.backbone_list import BackboneList, Fetched, Fetching
from napari_sam2_adapters.widgets.shelf.exporting import ExportEnded, Exporting, export_beside

__all__ = ["Models"]


class Models(Dock):
    """Dock with the adapters and backbones of this machine.

    Parameters
    ----------
    napari_viewer
        The napari viewer.
    """

    closing_title = "Models is at work"
    closing_question = "A backbone is being fetched or an adapter exported. Stop it, keep what has come of a backbone, and close napari?"

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.adapters = AdapterList()
        self.backbones = BackboneList(self.job)
        self.place = sentence()
        self.open_button = button(
            "Open folder",
            "Show the files of the backbones on the desktop.",
            self.open_folder,
            "folder",
        )
        self.change_button = button("Change …", "", self.change_folder, "edit")
        self.cancel_button = button(
            "Cancel",
            "Stop. What has come of a download stays, and it can go on later; an export leaves nothing.",
            self.job.stop,
            "stop",
        )
        self.folder: Path | None = None
        self._sizes = Question(self)
        self._looking = Question(self)
        self._lay_out()
        self._connect()
        self._looking.ask(describe_backbones)
        self.measure()
        self.refresh()

    def measure(self) -> None:
        """Say where the backbones are kept, and how much room they take and have."""
        self._sizes.ask(_describe_cache)

    def open_folder(self) -> None:
        """Show the folder of the backbones on the desktop; made if it is not there."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            open_path(self.folder)

    def change_folder(self) -> None:
        """Ask for another folder for the backbones; files in the old one stay there."""
        chosen = QFileDialog.getExistingDirectory(
            self, "Folder of the backbones", str(self.folder or Path.home())
        )
        if chosen:
            change_preference("cache_folder", chosen)
            show_info(
                "Backbones are kept there from now on. Those in the old folder stay where they are."
            )
            self._look_again()

    def refresh(self) -> None:
        """Enable what can be used now."""
        running = self.job.running
        self.progress.setVisible(running)
        self.cancel_button.setVisible(running)
        self.cancel_button.setEnabled(running and not self.job.stopping)
        reason = _why_fixed()
        self.change_button.setEnabled(not running and not reason)
        self.change_button.setToolTip(reason or "Keep the backbones in another folder.")

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.open_button)
        row.addWidget(self.change_button)
        kept = Section("Where backbones are kept", self.place)
        kept.layout().addLayout(row)
        self.reason.hide()
        self.buttons.addWidget(self.cancel_button)
        self.column.addWidget(Section("Adapters", self.adapters))
        self.column.addWidget(Section("Backbones", self.backbones))
        self.column.addWidget(kept)
        self.column.addStretch()

    def _connect(self) -> None:
        self.adapters.segment_wanted.connect(self._segment)
        self.adapters.export_wanted.connect(self._export)
        self.adapters.said.connect(self.status.setText)
        self.adapters.failed.connect(show_failure)
        self.adapters.failed.connect(self.status.setText)
        self._sizes.answered.connect(self._take_cache)
        self._sizes.failed.connect(self.place.setText)
        self._looking.answered.connect(self.backbones.show_offers)
        self._looking.failed.connect(self.backbones.details.setText)
        self.machine_known.connect(self._take_backbones)
        self.job.updated.connect(self._take_progress)
        self.job.ended.connect(self._take_result)
        self.job.failed.connect(self._miss_result)
        self.job.state_changed.connect(self.refresh)

    def _segment(self, path: Path) -> None:
        show_dock(self.viewer, "Segment").open_model(path)

    def _export(self, request: ExportRequest) -> None:
        if self.job.running:
            show_warning("This dock is still at work. Export the adapter when that has ended.")
        else:
            self.job.start(export_beside, request)

    def _take_cache(self, described: tuple[Path, str]) -> None:
        self.folder = described[0]
        self.place.setText(described[1])

    def _take_backbones(self, machine: Machine) -> None:
        self.backbones.show_offers(machine.backbones)
        self.measure()

    def _take_progress(self, fetching: Fetching | Exporting) -> None:
        if isinstance(fetching, Exporting):
            self.progress.setRange(0, 0)
            self.status.setText(fetching.sentence)
            return
        if not fetching.total:
            self.progress.setRange(0, 0)
            self.status.setText(f"Working on {fetching.name} …")
            return
        self.progress.setRange(0, 1000)
        self.progress.setValue(round(1000 * fetching.done / fetching.total))
        left = fetching.seconds_left
        more = "" if left is None else f" at {file_size(fetching.speed)}/s, {duration(left)} left"
        self.status.setText(
            f"{fetching.name}: {file_size(fetching.done)} of {file_size(fetching.total)}{more}."
        )

    def _take_result(self, fetched: Fetched | ExportEnded) -> None:
        self.status.setText(fetched.sentence)
        if isinstance(fetched, ExportEnded):
            return
        self._look_again()
        self.adapters.read()  # some may need the weights that came or went

    def _miss_result(self, sentence_: str) -> None:
        self.status.setText(sentence_)
        self._look_again()

    def _look_again(self) -> None:
        """Let every dock of ours in this window see what is here now."""
        self._looking.ask(describe_backbones)
        self.measure()
        for dock in self.window().findChildren(Dock):
            if dock is not self:
                dock.look_again()


def _why_fixed() -> str:
    """Why the folder of the backbones cannot be changed here; empty when it can."""
    chosen = os.environ.get("SAM2_ADAPTERS_CACHE", "")
    if chosen and chosen != os.path.expanduser(preferences().cache_folder):  # noqa: PTH111 (as it was given)
        return "The environment variable SAM2_ADAPTERS_CACHE says where."
    if not can_be_changed():
        return "This napari keeps no preferences of plugins. Set SAM2_ADAPTERS_CACHE instead."
    return ""


def _describe_cache() -> tuple[Path, str]:
    """The folder of the backbones, and in words how much room it takes and has."""
    load_torch()
    from napari_sam2_adapters.models.backbone_files import cache_folder

    folder = cache_folder()
    used = sum(path.stat().st_size for path in folder.glob("*") if path.is_file())
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    return folder, f"{folder}\n{file_size(used)} used, {file_size(free)} free on this disk."
