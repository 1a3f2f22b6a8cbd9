"""``sam2-adapters demo``: fine-tune on the bundled images, segment images not seen in training, score and draw them."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sam2_adapters.cli.evaluate import score_table
from napari_sam2_adapters.cli.files import Device, Overwrite, write_json
from napari_sam2_adapters.cli.settings import build_settings, whole_number
from napari_sam2_adapters.cli.terminal import output as console
from napari_sam2_adapters.cli.train import run_training
from napari_sam2_adapters.config import ModelConfig, Normalization, PredictConfig, TrainConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_sam2_adapters.data.samples import Sample
    from napari_sam2_adapters.inference.evaluate import ImageScore
    from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["DEMO_MODEL", "DEMO_TRAINING", "demo"]

# Chosen on the four training images alone, by holding one of them out; the budget bounds the demo on slow machines.
DEMO_MODEL = ModelConfig(adapter="hp")
DEMO_TRAINING = TrainConfig(steps=100, time_budget_s=100, held_out_fraction=0)
_PREDICTION = PredictConfig()


def demo(
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-output"),
    sample: Annotated[
        str, typer.Option(help="fluorescence (grey) or tissue (colour).")
    ] = "fluorescence",
    steps: Annotated[
        int,
        typer.Option(
            help=f"Most training steps; it ends after {DEMO_TRAINING.time_budget_s:g} s of training in any case.",
            parser=whole_number,
            metavar="<int>",
        ),
    ] = DEMO_TRAINING.steps,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Fine-tune on bundled images of nuclei, segment others, print scores and draw a picture.

    Needs no network. The images that are segmented and scored are not used in training, for nothing.
    """
    started = time.perf_counter()
    config = build_settings(
        TrainConfig, {"train": {**DEMO_TRAINING.model_dump(), "steps": steps}}, "train"
    )
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"{output} is a file. Choose a folder with --output.")
    if not overwrite and output.exists() and any(output.iterdir()):
        raise FileExistsError(
            f"{output} is not empty. Choose another folder with --output, or replace the results with --overwrite."
        )

    from napari_sam2_adapters.data.dataset import build_dataset
    from napari_sam2_adapters.data.samples import load_sample
    from napari_sam2_adapters.inference.evaluate import summarize
    from napari_sam2_adapters.models.checkpoints import build_segmenter
    from napari_sam2_adapters.models.device import choose_device, describe_device
    from napari_sam2_adapters.models.model_file import save_adapter
    from napari_sam2_adapters.training.train import Trainer
    from napari_sam2_adapters.training.verdict import training_summary

    images = load_sample(sample)
    output.mkdir(parents=True, exist_ok=True)
    chosen = choose_device(device)
    console().print(
        f"{images.title}: {len(images.train_images)} images to learn from, "
        f"{len(images.held_out_images)} held out\n{describe_device(chosen)}"
    )
    dataset = build_dataset(images.train_pairs(), images.classes, held_out_fraction=0)
    model = DEMO_MODEL.model_copy(update={"input_channels": dataset.input_channels})
    segmenter = build_segmenter(model, images.classes, device=chosen)
    before = summarize(_segment(segmenter, images, dataset.normalization).scores, images.classes)

    trainer = Trainer(segmenter, dataset, config)
    console().print(trainer.plan().sentence)
    if run_training(trainer):
        console().print("Stopped early: what was learnt so far is scored.")
    result = _segment(segmenter.folded(), images, dataset.normalization)
    scores = summarize(result.scores, images.classes)

    file = output / f"{images.name}.adapter.safetensors"
    save_adapter(
        file,
        segmenter,
        normalization=dataset.normalization,
        tile_size_px=_PREDICTION.tile_size_px,
        scores=scores.as_dict(),
        training=training_summary(
            trainer.history,
            config,
            split=replace(dataset.split, description="the held-out images of the sample"),
            ended=trainer.stop_reason,
        ),
        overwrite=overwrite,
    )
    _write_pictures(output, images, result, overwrite)
    seconds = round(time.perf_counter() - started, 1)
    report = {**scores.as_dict(), "seconds": seconds, "adapter": file.name}
    write_json(output / "scores.json", report, overwrite=overwrite)
    console().print(score_table(scores))
    console().print(
        f"Mean Dice on the held-out images: {before.mean_dice:.3f} before training, {scores.mean_dice:.3f} after. "
        f"{seconds:.0f} s in all. Masks, overlay.png, scores.json and the adapter are in {output}."
    )


@dataclass(frozen=True)
class _Segmented:
    """Masks (N, H, W) of the held-out images, and the confusion matrix of each."""

    masks: list[NDArray[np.unsignedinteger[Any]]]
    scores: list[ImageScore]


def _segment(segmenter: Segmenter, sample: Sample, normalization: Normalization) -> _Segmented:
    import numpy as np

    from napari_sam2_adapters.inference.evaluate import ImageScore, class_indices
    from napari_sam2_adapters.inference.predict import predict
    from napari_sam2_adapters.metrics import confusion_matrix

    masks, scores = [], []
    for pair in sample.held_out_pairs():
        mask = predict(
            segmenter, pair.image, axes=pair.axes, normalization=normalization, config=_PREDICTION
        ).labels
        truth, found = (
            class_indices(np.asarray(labels), sample.classes, "unlabelled", pair.name)
            for labels in (pair.labels, mask)
        )
        masks.append(mask)
        scores.append(ImageScore(pair.name, confusion_matrix(truth, found, segmenter.n_classes)))
    return _Segmented(masks, scores)


def _write_pictures(folder: Path, sample: Sample, result: _Segmented, overwrite: bool) -> None:
    from napari_sam2_adapters.data.io import write_labels
    from napari_sam2_adapters.inference.overlay import draw_overlay

    (folder / "masks").mkdir(exist_ok=True)
    for mask, score in zip(result.masks, result.scores, strict=True):
        write_labels(folder / "masks" / f"{score.name}.tif", mask, axes="YX", overwrite=overwrite)
    names = [entry.name for entry in sample.classes]
    draw_overlay(
        folder / "overlay.png",
        list(sample.held_out_images),
        {"truth": list(sample.held_out_labels), "prediction": result.masks},
        sample.classes,
        [
            f"{score.name}: Dice "
            + ", ".join(f"{name} {dice:.2f}" for name, dice in zip(names, score.dice, strict=True))
            for score in result.scores
        ],
    )
