"""The chosen adapter as a file for other programs: asked for in a dialog, made by a process beside the window."""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QInputDialog, QWidget

from napari_sam2_adapters.export.package_info import PackageInfo
from napari_sam2_adapters.export.request import ENDINGS, ExportRequest, Format
from napari_sam2_adapters.widgets.docks.jobs import thread_count
from napari_sam2_adapters.widgets.docks.store import SUFFIX, adapter_title

__all__ = ["CopyWish", "ExportEnded", "Exporting", "ask_where", "export_beside"]

_ADAPTER = f"Adapter (*{SUFFIX})"
_KINDS: dict[str, Format] = {
    "ONNX, for programs without PyTorch (*.onnx)": "onnx",
    "bioimage.io package (*.bioimageio.zip)": "bioimageio",
}
_WHOLE_ENDINGS: dict[Format, str] = {"onnx": ".onnx", "bioimageio": ".bioimageio.zip"}


@dataclass(frozen=True)
class CopyWish:
    """A copy of the adapter file itself, to this place."""

    target: Path


@dataclass(frozen=True)
class Exporting:
    """An export is under way; what it is doing."""

    sentence: str


@dataclass(frozen=True)
class ExportEnded:
    """An export has ended; how."""

    sentence: str


def ask_where(parent: QWidget, adapter: Path) -> CopyWish | ExportRequest | None:
    """Ask for a place and a kind of file, and for the authors where the kind names them; None when the user thinks better of it."""
    suggestion = str(Path.home() / adapter.name)
    kinds = ";;".join((_ADAPTER, *_KINDS))
    chosen, kind = QFileDialog.getSaveFileName(parent, "Export adapter", suggestion, kinds)
    if not chosen:
        return None
    format_ = _format_of(Path(chosen), kind)
    if format_ is None:
        return CopyWish(Path(chosen))
    # The dialog has asked about a file that is there, unless the ending was left out.
    whole = chosen.endswith(ENDINGS[format_])
    target = Path(chosen if whole else chosen.removesuffix(SUFFIX) + _WHOLE_ENDINGS[format_])
    package = None
    if format_ == "bioimageio":
        names, agreed = QInputDialog.getText(
            parent,
            "Export adapter",
            f"A bioimage.io package names its authors. Who made {adapter_title(adapter)}?\nSeveral names with semicolons between them:",
        )
        if not agreed:
            return None
        package = PackageInfo(authors=tuple(name.strip() for name in names.split(";")))
    return ExportRequest(
        model=adapter, output=target, format=format_, overwrite=whole, package=package
    )


def _format_of(chosen: Path, kind: str) -> Format | None:
    """By the ending that was typed or else by the kind that was chosen; None for the adapter file."""
    for format_, ending in ENDINGS.items():
        if chosen.name.endswith(ending):
            return format_
    return _KINDS.get(kind)


def export_beside(
    stop: threading.Event, request: ExportRequest
) -> Generator[Exporting, None, ExportEnded]:
    """Export in a process of its own, so that the window and what else is running go on undisturbed."""
    from napari_sam2_adapters.export.apart import export_apart

    steps = export_apart(stop, request, threads=thread_count())
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            checked = end.value
            break
        yield Exporting(f"{step} …")
    if checked is None:
        return ExportEnded("Stopped; nothing was exported.")
    return ExportEnded(f"Exported to {request.output}. {checked}")
