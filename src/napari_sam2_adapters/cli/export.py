"""``sam2-adapters export``: a trained adapter as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_sam2_adapters.cli.files import Overwrite, check_output_file
from napari_sam2_adapters.cli.terminal import errors
from napari_sam2_adapters.cli.terminal import output as console

__all__ = ["export"]


def export(
    model: Annotated[Path, typer.Argument(help="Model file, NAME.adapter.safetensors.")],
    output: Annotated[Path, typer.Argument(help="File to write: NAME.onnx.")],
    format_: Annotated[
        str | None,
        typer.Option("--format", help="onnx; else the ending of OUTPUT says it."),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(help="Side of the tiles (px) that the file takes; else that of the model."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Export a model for programs that have neither this package nor PyTorch.

    The whole network goes into the file. It is run beside PyTorch on sample images first, and written only when both agree.
    """
    from napari_sam2_adapters.export.request import ExportRequest, run_export, settle_format

    check_output_file(output, "OUTPUT", "cells.onnx")
    chosen, path = settle_format(output, format_)
    steps = run_export(
        ExportRequest(
            model=model, output=path, format=chosen, tile_size_px=tile, overwrite=overwrite
        )
    )
    with errors().status("Looking for what is needed …") as status:
        while True:
            try:
                status.update(f"{next(steps)} …")
            except StopIteration as end:
                exported = end.value
                break
    size = exported.path.stat().st_size / 1e6
    console().print(f"{exported.path}, {size:.1f} MB.\n{exported.agreement.words()}")
