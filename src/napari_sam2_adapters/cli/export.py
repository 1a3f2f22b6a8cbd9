"""``sam2-adapters export``: a trained adapter as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_sam2_adapters.cli.files import Overwrite, check_output_file
from napari_sam2_adapters.cli.settings import Sections, build_settings, settings_flags
from napari_sam2_adapters.cli.terminal import errors
from napari_sam2_adapters.cli.terminal import output as console
from napari_sam2_adapters.export.package_info import PackageInfo

__all__ = ["export"]

_SECTION = "bioimage.io"


@settings_flags(**{_SECTION: PackageInfo}, leave_out=("authors", "tags", "cite"), defaults={})
def export(
    flags: Sections,
    model: Annotated[Path, typer.Argument(help="Model file, NAME.adapter.safetensors.")],
    output: Annotated[
        Path, typer.Argument(help="File to write: NAME.onnx or NAME.bioimageio.zip.")
    ],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="onnx or bioimageio; else the ending of OUTPUT says it.",
            metavar="<choice>",
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(help="Side of the tiles (px) that the file takes; else that of the model."),
    ] = None,
    overwrite: Overwrite = False,
    author: Annotated[
        list[str] | None,
        typer.Option(help="bioimage.io: who made the model; can be given several times."),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(help="bioimage.io: a word to find it by; can be given several times."),
    ] = None,
    cite: Annotated[
        list[str] | None,
        typer.Option(help="bioimage.io: DOI of a paper; can be given several times."),
    ] = None,
) -> None:
    """Export a model for programs that have neither this package nor PyTorch.

    The whole network goes into the file. It is run beside PyTorch on sample images first, and written only when both agree.
    """
    from napari_sam2_adapters.export.request import ExportRequest, run_export, settle_format

    check_output_file(output, "OUTPUT", "cells.onnx")
    chosen, path = settle_format(output, format_)
    lists = {"authors": author or [], "tags": tag or [], "cite": cite or []}
    package = build_settings(PackageInfo, {_SECTION: flags[_SECTION] | lists}, _SECTION)
    request = ExportRequest(
        model=model,
        output=path,
        format=chosen,
        tile_size_px=tile,
        overwrite=overwrite,
        package=package,
    )
    steps = run_export(request)
    with errors().status("Looking for what is needed …") as status:
        while True:
            try:
                status.update(f"{next(steps)} …")
            except StopIteration as end:
                exported = end.value
                break
    size = exported.path.stat().st_size / 1e6
    console().print(f"{exported.path}, {size:.1f} MB.\n{exported.words()}")
