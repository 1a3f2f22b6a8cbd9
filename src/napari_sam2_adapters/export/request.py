"""What is exported to where, and the one way to do it for the terminal and for napari."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_sam2_adapters.config import Settings
from napari_sam2_adapters.export.package_info import PackageInfo

if TYPE_CHECKING:
    from napari_sam2_adapters.export.onnx import Exported

__all__ = ["ENDINGS", "ExportRequest", "Format", "run_export", "settle_format"]

Format = Literal["onnx", "bioimageio"]
ENDINGS: dict[Format, str] = {"onnx": ".onnx", "bioimageio": ".zip"}


class ExportRequest(Settings):
    """An export that is asked for."""

    model: Path
    output: Path
    format: Format
    tile_size_px: int | None = None
    overwrite: bool = False
    package: PackageInfo | None = None
    """What a bioimage.io package says; no author is named when None."""


def run_export(request: ExportRequest) -> Generator[str, None, Exported]:
    """Do what is asked for, yielding in words what comes next; errors as those of the format's own function."""
    if request.format == "bioimageio":
        from napari_sam2_adapters.export.bioimageio import export_bioimageio

        return export_bioimageio(
            request.model,
            request.output,
            request.package or PackageInfo(authors=()),
            tile_size_px=request.tile_size_px,
            overwrite=request.overwrite,
        )
    from napari_sam2_adapters.export.onnx import export_onnx

    return export_onnx(
        request.model,
        request.output,
        tile_size_px=request.tile_size_px,
        overwrite=request.overwrite,
    )


def settle_format(output: Path, wanted: str | None) -> tuple[Format, Path]:
    """The format and the file's whole name, from a name with one of the endings or from a name and a format.

    Raises
    ------
    ValueError
        When neither says the format, both do and differ, or there is no such format.
    """
    if wanted is not None and wanted not in ENDINGS:
        raise ValueError(f"There is no format {wanted!r}. Choose one of {', '.join(ENDINGS)}.")
    said = next((name for name, ending in ENDINGS.items() if output.name.endswith(ending)), None)
    for name, ending in ENDINGS.items():
        if name == (wanted or said) and said in (None, name):
            return name, output if said else output.with_name(output.name + ending)
    if said is None:
        raise ValueError(
            f"The name {output.name!r} does not say the format. Let it end in {' or '.join(ENDINGS.values())}, or give --format."
        )
    raise ValueError(
        f"The name {output.name!r} says {said}, but the format {wanted} was asked for. Give one of the two."
    )
