"""Accuracy on real, held-out images: ours beside networks from scratch, by each data set's own protocol.

    python benchmarks/accuracy.py --data DIR --dataset kvasir_seg --method hp unet --regime 10 --seed 0 1 2

Each result is one JSON line, written as soon as it is there; results that the file has already are not computed again, so that
an interrupted run goes on. The test images choose nothing: training has no held-out part here and keeps its last weights.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from baselines import ScratchNetwork
from datasets import DATASETS, LabelledImage, Split, read_dataset

from napari_sam2_adapters.config import ModelConfig, Normalization, PredictConfig, TrainConfig
from napari_sam2_adapters.data.dataset import Pair, build_dataset
from napari_sam2_adapters.inference.predict import predict
from napari_sam2_adapters.metrics import (
    confusion_matrix,
    dice_per_class,
    iou_per_class,
    mean_over_images,
    mean_score,
)
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.training.records import StepRecord
from napari_sam2_adapters.training.train import train

ADAPTERS = ("hp", "lw", "lora")
SCRATCH = ("unet", "basic_unet")
REGIMES: dict[str, int | None] = {"full": None, "10": 10, "1": 1}


def main() -> None:
    """Run the results that are asked for and are not in the file yet."""
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    done = _read_rows(options.json)
    for dataset in options.dataset:
        split = read_dataset(dataset, options.data)
        if options.score_on == "validation":
            split = split.without_test()
        for method, regime, seed in itertools.product(options.method, options.regime, options.seed):
            row = {
                "dataset": dataset,
                "method": method,
                "regime": regime,
                "seed": seed,
                "settings": _settings(options),
            }
            if any(all(old.get(k) == v for k, v in row.items()) for old in done):
                continue
            row |= run(split, method, REGIMES[regime], seed, options)
            print(json.dumps(row), flush=True)
            if options.json:
                options.json.parent.mkdir(parents=True, exist_ok=True)
                with options.json.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")


def run(
    split: Split, method: str, count: int | None, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Train one method on the chosen images and score it on all test images."""
    chosen = split.choose(count, seed)
    pairs = [_pair(item) for item in chosen]
    config = TrainConfig(
        loss=options.loss,
        recipe=options.recipe,
        zero_is="background",
        steps=options.steps,
        batch_size=options.batch,
        crop_size_px=options.crop or split.crop_size_px,
        held_out_fraction=0,
        seed=seed,
    )
    dataset = build_dataset(
        pairs,
        split.classes,
        zero_is=config.zero_is,
        normalization=Normalization(),
        held_out_fraction=0,
        seed=seed,
        crop_size_px=config.crop_size_px,
    )
    network: Any
    if method in ADAPTERS:
        network = build_segmenter(
            ModelConfig(
                backbone=options.backbone,
                adapter=method,
                decoder=options.decoder,
                position=options.position,
                input_channels=dataset.input_channels,
                input_scale=options.input_scale,
                seed=seed,
            ),
            split.classes,
        )
    else:
        network = ScratchNetwork(method, dataset.input_channels, split.classes, seed)
    started = time.perf_counter()
    losses = [r.loss for r in train(network, dataset, config) if isinstance(r, StepRecord)]
    seconds = time.perf_counter() - started
    return _scores(network, split, dataset.normalization) | {
        "train_seconds": round(seconds, 1),
        "trained_parameters": sum(p.numel() for p in network.trained_parameters().values()),
        "last_loss": round(float(np.mean(losses[-10:])), 4),
        "images": len(chosen),
    }


def _scores(network: Any, split: Split, normalization: Normalization) -> dict[str, Any]:
    n = len(split.classes)
    whole = np.zeros((n, n), np.int64)
    per_image, where_true = [], []
    inference = network.folded()
    for item in split.test:
        labels = predict(
            inference,
            item.image,
            axes=_axes(item),
            normalization=normalization,
            config=PredictConfig(tile_size_px=448),
        ).labels
        confusion = confusion_matrix(item.labels, labels.astype(np.int16), n)
        whole += confusion
        per_image.append(dice_per_class(confusion))
        # a class that is not in an image makes its Dice 0 as soon as a pixel is taken for it; some leave these images out
        where_true.append(np.where(confusion.sum(axis=1) > 0, per_image[-1], np.nan))
    dice = mean_over_images(per_image)
    return {
        "lab_miou": round(mean_score(iou_per_class(whole)), 4),
        "foreground_dice": round(mean_score(dice[1:]), 4),
        "foreground_dice_where_true": round(mean_score(mean_over_images(where_true)[1:]), 4),
        "dice": {c.name: round(float(d), 4) for c, d in zip(split.classes, dice, strict=True)},
        "test_images": len(split.test),
    }


def _axes(item: LabelledImage) -> str:
    return "YXC" if item.rgb else "YX"


def _pair(item: LabelledImage) -> Pair:
    return Pair(
        image=item.image, labels=item.labels, axes=_axes(item), name=item.name, rgb=item.rgb
    )


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    names = (
        "backbone",
        "steps",
        "batch",
        "crop",
        "loss",
        "recipe",
        "decoder",
        "position",
        "input_scale",
        "score_on",
    )
    return {name: getattr(options, name) for name in names}


def _read_rows(path: Path | None) -> list[dict[str, Any]]:
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--dataset", nargs="+", choices=DATASETS, required=True)
    parser.add_argument("--method", nargs="+", choices=ADAPTERS + SCRATCH, default=["hp"])
    parser.add_argument("--regime", nargs="+", choices=REGIMES, default=["10"])
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    parser.add_argument("--json", type=Path, help="file of JSON lines that grows")
    parser.add_argument("--backbone", default="mobile")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument(
        "--crop", type=int, help="side of a crop in px; the protocol's own if not given"
    )
    parser.add_argument("--loss", default="ce_dice")
    parser.add_argument("--recipe", default="interactive")
    parser.add_argument("--decoder", default="heads")
    parser.add_argument("--position", default="hybrid")
    parser.add_argument("--input-scale", type=float, default=1.0)
    parser.add_argument(
        "--score-on",
        choices=("test", "validation"),
        default="test",
        help="validation: a fifth of the training images, for choosing settings",
    )
    parser.add_argument("--threads", type=int, help="threads of torch")
    return parser.parse_args()


if __name__ == "__main__":
    main()
