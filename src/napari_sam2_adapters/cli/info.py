"""``sam2-adapters info``: this machine, the backbones and the versions, or what an adapter file says of itself."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from napari_sam2_adapters.cli.files import Device
from napari_sam2_adapters.cli.terminal import output
from napari_sam2_adapters.data.packed_split import DIVISION
from napari_sam2_adapters.wording import counted

if TYPE_CHECKING:
    from napari_sam2_adapters.models.model_file import AdapterHeader

__all__ = ["info"]

_PACKAGES = ("napari-sam2-adapters", "torch", "torchvision", "sam2", "numpy", "napari")


def info(
    adapter: Annotated[
        Path | None,
        typer.Argument(help="An adapter file to describe; without it, this machine is described."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Show device, memory, backbones and versions, or what an adapter file says of itself."""
    if adapter is not None:
        from napari_sam2_adapters.models.model_file import read_header

        output().print(_describe(adapter, read_header(adapter)))
        return
    from napari_sam2_adapters.cli.backbones import backbone_table
    from napari_sam2_adapters.models.device import choose_device, describe_device

    console = output()
    console.print(f"Device    {describe_device(choose_device(device))}")
    console.print(f"System    Python {platform.python_version()} on {platform.platform()}")
    console.print("Versions  " + ", ".join(f"{name} {_version(name)}" for name in _PACKAGES))
    for part in backbone_table():
        console.print(part)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _describe(path: Path, header: AdapterHeader) -> Table:
    table = Table.grid(padding=(0, 2))
    model = header.model
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    table.add_row("File", f"{path.name}, {size}, format {header.format_version}")
    table.add_row(
        "Adapter",
        f"{model.adapter} on {model.backbone}, {counted(model.input_channels, 'channel')}",
    )
    table.add_row("Backbone sha256", f"{header.backbone_sha256[:12]}…")
    for entry in header.classes:
        table.add_row(f"Class {entry.value}", f"{entry.name} ({entry.color})")
    scaling = header.normalization
    table.add_row("Grey values", f"{scaling.mode} {scaling.low:g} to {scaling.high:g}")
    table.add_row("Tile", f"{header.tile_size_px} px")
    if header.pixel_size is not None:
        sizes = " × ".join(f"{size:g}" for size in header.pixel_size)
        table.add_row("Pixel size", f"{sizes} {header.unit or 'pixel'}")
    for what, content in (("Scores", header.scores), ("Training", header.training)):
        for name, value in content.items():
            if name == DIVISION:  # places by the hundred, for whoever trains it further
                continue
            table.add_row(f"{what}: {name.replace('_', ' ')}", _words(value))
    table.add_row("Made with", ", ".join(f"{k} {v}" for k, v in header.versions.items()))
    return table


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{name} ({_words(entry)})" if isinstance(entry, dict) else f"{name} {_words(entry)}"
            for name, entry in value.items()
        )
    return f"{value:.4g}" if isinstance(value, float) else str(value)
