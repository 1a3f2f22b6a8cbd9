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

app = typer.Typer(no_args_is_help=True, help="List and download the pretrained backbones.")


def backbone_table() -> Table:
    """The backbones with their sizes, and where their files lie if they are here."""
    from napari_sam2_adapters.models.backbone_files import BACKBONES, find_weights

    table = Table(box=None, pad_edge=False)
    for heading in ("Backbone", "Size", "Here", "About"):
        table.add_column(heading, no_wrap=True)
    for name, entry in BACKBONES.items():
        try:
            place = "built in" if entry.shape is None else str(find_weights(name))
        except FileNotFoundError:
            place = "no"
        table.add_row(name, f"{entry.size_mb} MB", place, entry.about)
    return table


@app.command("list")
def list_backbones() -> None:
    """List the backbones, their sizes, and whether they are on this machine."""
    output().print(backbone_table())


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
    import pooch

    from napari_sam2_adapters.models.backbone_files import download_backbone

    # The bar says what pooch's log lines say.
    pooch.get_logger().setLevel("ERROR")
    with _DownloadBar(name) as bar:
        try:
            return download_backbone(name, bar)
        except (OSError, ValueError) as error:
            raise JobFailedError(str(error)) from error


class _DownloadBar:
    """A progress bar in the form that pooch wants: ``total``, ``update``, ``reset`` and ``close``."""

    def __init__(self, name: str) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=errors(),
        )
        self._task = self._progress.add_task(name, total=None)

    def __enter__(self) -> _DownloadBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @property
    def total(self) -> float | None:
        """Bytes to come, or None when the server does not say."""
        return self._progress.tasks[0].total

    @total.setter
    def total(self, size: float) -> None:
        self._progress.update(self._task, total=size or None)

    def update(self, size: int) -> None:
        """Count ``size`` more bytes."""
        self._progress.advance(self._task, size)

    def reset(self) -> None:
        """Start again from zero; pooch does so before it counts the whole size once."""
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        """Show the bar as it is at the end."""
        self._progress.refresh()
