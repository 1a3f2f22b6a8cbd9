"""``sam2-adapters backbones``: which pretrained backbones there are, and how to get them onto this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from napari_sam2_adapters.cli.terminal import JobFailedError, errors, output

__all__ = ["app", "backbone_table"]

app = typer.Typer(help="List and download the pretrained backbones.")


def backbone_table() -> tuple[Table, str]:
    """The backbones with their sizes and whether they are here, and a line that says where."""
    from napari_sam2_adapters.models.backbone_files import BACKBONES, cache_folder, find_weights

    table = Table(box=None, pad_edge=False)
    for heading in ("Backbone", "Size", "Here", "About"):
        table.add_column(heading, no_wrap=True)
    for name, entry in BACKBONES.items():
        try:
            official = find_weights(name).name == entry.file_name
            place = "yes" if official else "own file"
        except FileNotFoundError:
            place = "no"
        # A path would be cut off at the edge of the screen: one line below says where they lie.
        here = "built in" if entry.shape is None else place
        table.add_row(name, f"{entry.size_mb} MB", here, entry.about)
    return table, f"Those that are not built in lie in {cache_folder()}."


@app.callback(invoke_without_command=True)
def _list_unless_asked_otherwise(context: typer.Context) -> None:
    """List the pretrained backbones, or download one."""
    if context.invoked_subcommand is None:
        list_backbones()


@app.command("list")
def list_backbones() -> None:
    """List the backbones, their sizes, and whether they are on this machine."""
    for part in backbone_table():
        output().print(part)


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="tiny, small, base_plus or large.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Take this file of your own instead of downloading one."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Download without asking.")] = False,
) -> None:
    """Download a backbone and check it, or check and take over a file that you have."""
    from napari_sam2_adapters.models.backbone_files import BACKBONES, find_weights
    from napari_sam2_adapters.models.checkpoints import install_backbone

    if name not in BACKBONES:
        raise ValueError(f"There is no backbone {name!r}. Choose one of {', '.join(BACKBONES)}.")
    if source is not None:
        output().print(f"{name} is ready: {install_backbone(name, source)}")
        return
    entry = BACKBONES[name]
    try:
        output().print(f"{name} is here already: {find_weights(name, entry.sha256)}")
    except FileNotFoundError:
        output().print(
            f"{entry.file_name}, {entry.size_mb} MB, from {entry.address}\nsha256 {entry.sha256}"
        )
        if not yes:
            typer.confirm("Download it?", abort=True)
        output().print(f"{name} is ready, its sha256 is right: {_download(name)}")


def _download(name: str) -> Path:
    from napari_sam2_adapters.models.backbone_files import download_backbone

    with _bar() as bar:
        task = bar.add_task(name, total=None)
        steps = download_backbone(name)
        try:
            while True:
                received = next(steps)
                bar.update(task, completed=received.done, total=received.total or None)
        except StopIteration as end:
            path: Path = end.value
            return path
        except (OSError, ValueError) as error:
            raise JobFailedError(str(error)) from error


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=errors(),
    )
