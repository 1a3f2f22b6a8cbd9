"""``sam2-adapters evaluate``: score an adapter on images with known labels."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from napari_sam2_adapters.cli.files import (
    Device,
    Images,
    Labels,
    MemoryShare,
    Model,
    Overwrite,
    Pattern,
    SettingsFile,
    check_output_file,
    read_training_files,
    write_json,
)
from napari_sam2_adapters.cli.prediction import OWN_TILE, PlanShown, prediction_settings
from napari_sam2_adapters.cli.settings import Sections, read_sections, settings_flags
from napari_sam2_adapters.cli.terminal import errors, progress_bar
from napari_sam2_adapters.cli.terminal import output as console
from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.wording import counted

if TYPE_CHECKING:
    from napari_sam2_adapters.inference.evaluate import Scores

__all__ = ["evaluate", "score_table"]


@settings_flags(
    defaults=OWN_TILE, leave_out={"probabilities", "uncertainty"}, predict=PredictConfig
)
def evaluate(
    flags: Sections,
    model: Model,
    images: Images,
    labels: Labels,
    pattern: Pattern = "*",
    settings: SettingsFile = None,
    device: Device = "auto",
    memory_share: MemoryShare = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Also write the scores to this file; - prints them."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Segment images with known labels and print the scores.

    Label 0 counts as background when the adapter has a class of that value, else as not labelled.
    """
    sections = read_sections(settings, flags)
    target = None if json_file == Path("-") else json_file
    if target is not None:
        check_output_file(target, "--json", "scores.json")
        if target.exists() and not overwrite:
            raise FileExistsError(
                f"{target} is there already. Choose another name, or replace it with --overwrite."
            )
    files = read_training_files(images, labels, pattern)
    if files.notice:
        errors().print(files.notice)

    from napari_sam2_adapters.atomic import check_writable
    from napari_sam2_adapters.inference.evaluate import score_images, summarize
    from napari_sam2_adapters.models.device import choose_device
    from napari_sam2_adapters.models.model_file import load_adapter

    segmenter, header = load_adapter(model, device=choose_device(device))
    if target is not None:
        check_writable(target.parent)
    network, config = segmenter.folded(), prediction_settings(sections, header)
    note = errors() if json_file is not None and target is None else console()
    has_zero = any(entry.value == 0 for entry in segmenter.classes)
    scored = []
    with progress_bar() as bar:
        task = bar.add_task("images", total=len(files.pairs))
        for score in score_images(
            network,
            files.pairs,
            zero_is="background" if has_zero else "unlabelled",
            normalization=header.normalization,
            config=config,
            on_plan=PlanShown(note),
        ):
            scored.append(score)
            bar.update(task, completed=len(scored), description=score.name)
    scores = summarize(scored, segmenter.classes)
    content = {"model": model.name, **scores.as_dict()}
    if json_file is not None and target is None:
        console().print(json.dumps(content, indent=2))
        return
    console().print(score_table(scores))
    if target is not None:
        write_json(target, content, overwrite=overwrite)


def score_table(scores: Scores) -> Table:
    """Dice and IoU per class, their means, and the laboratory's mIoU, as a table."""
    table = Table(box=None, pad_edge=False, caption_justify="left")
    table.add_column("Class")
    table.add_column("Dice", justify="right")
    table.add_column("IoU", justify="right")
    for name, dice in scores.dice.items():
        table.add_row(name, _shown(dice), _shown(scores.iou[name]))
    table.add_row("mean", f"{scores.mean_dice:.3f}", "", style="bold")
    table.caption = f"{counted(scores.images, 'image')}; mIoU from one confusion matrix: {100 * scores.lab_miou:.2f} %"
    if any(math.isnan(dice) for dice in scores.dice.values()):
        table.caption += "\n–: in no label image and nowhere segmented"
    return table


def _shown(score: float) -> str:
    return "–" if math.isnan(score) else f"{score:.3f}"
