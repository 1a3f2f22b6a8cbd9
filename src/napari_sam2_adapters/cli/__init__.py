"""The command ``sam2-adapters``: train, predict, evaluate, export and look around from a terminal.

Nothing here computes: each command turns options into arguments, runs what napari runs too, and shows what it yields.
torch is imported by the commands that need it, so that ``--help`` is quick.
"""

from __future__ import annotations

import logging
import signal
from importlib.metadata import version
from typing import Annotated

import typer

from napari_sam2_adapters.cli.backbones import app as backbones_app
from napari_sam2_adapters.cli.batch import batch
from napari_sam2_adapters.cli.demo import demo
from napari_sam2_adapters.cli.evaluate import evaluate
from napari_sam2_adapters.cli.export import export
from napari_sam2_adapters.cli.info import info
from napari_sam2_adapters.cli.predict import predict
from napari_sam2_adapters.cli.terminal import (
    SentenceGroup,
    allow_many_files,
    spell_what_cannot_be_shown,
)
from napari_sam2_adapters.cli.train import train
from napari_sam2_adapters.heap import share_one_heap, use_huge_pages

__all__ = ["app", "main"]

app = typer.Typer(
    cls=SentenceGroup,
    name="sam2-adapters",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 all done, 1 a job failed, 2 wrong usage or input, 130 stopped by Ctrl-C or a polite kill (train and demo keep what they have learnt, then: 0).",
)
for command in (train, predict, batch, evaluate, export, info, demo):
    app.command()(command)
app.add_typer(backbones_app, name="backbones")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("napari-sam2-adapters"))
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the whole traceback of an error.")
    ] = False,
    version_: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Segment biomedical images with small adapters on a frozen SAM2: fine-tune, segment, score."""


def main() -> None:
    """Run the command line."""
    share_one_heap()
    use_huge_pages()
    allow_many_files()
    spell_what_cannot_be_shown()
    # A polite kill, as of a scheduler or a shutdown, ends a command as Ctrl-C does: with what is half-written removed, and a sentence.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # What tifffile logs of a damaged file comes as a sentence when the file cannot be read.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    app()
