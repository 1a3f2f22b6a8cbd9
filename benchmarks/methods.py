"""The methods that are compared, all from the same images to a function that segments one."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import LabelledImage, Split
from forest import PixelForest
from linear_probe import LinearProbe
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from napari_sam2_adapters.config import (
    ModelConfig,
    Normalization,
    PredictConfig,
    TrainConfig,
    ViewsName,
)
from napari_sam2_adapters.data.axes import read_plane
from napari_sam2_adapters.data.dataset import Dataset, Pair, build_dataset
from napari_sam2_adapters.data.normalize import intensity_limits, normalize_plane
from napari_sam2_adapters.inference.postprocess import ClassRule, clean_block
from napari_sam2_adapters.inference.predict import predict
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.models.model_file import load_adapter, save_adapter
from napari_sam2_adapters.training.records import StepRecord
from napari_sam2_adapters.training.train import train

__all__ = ["ADAPTERS", "METHODS", "SCRATCH", "Fitted", "Segmented", "fit", "giga_macs"]

ADAPTERS = ("hp", "lw", "lora")
SCRATCH = ("unet", "basic_unet")
METHODS = (*ADAPTERS, *SCRATCH, "linear", "forest")


@dataclass(frozen=True)
class Segmented:
    """Class indices (H, W) of an image and, when asked for, probabilities (classes, H, W)."""

    labels: NDArray[np.int16]
    probabilities: NDArray[np.floating] | None


@dataclass(frozen=True)
class Fitted:
    """A method that has learnt: what segments an image, and what it took."""

    segment: Callable[..., Segmented]
    """Segments a `LabelledImage`; for networks alone ``views`` is what is averaged over, and
    ``only_largest=True`` keeps the largest object of each class but the first."""
    cost: dict[str, Any]
    """``train_seconds``, ``trained_parameters``, ``gmacs_224`` and ``last_loss``; None where a method has no such thing."""


def fit(
    split: Split,
    method: str,
    chosen: list[LabelledImage],
    seed: int,
    options: argparse.Namespace,
    kept: Path | None = None,
) -> Fitted:
    """Train a method on the chosen images; pixels labelled -1 count in nothing.

    Our own adapters are kept in the file ``kept``, or come from there without being trained.
    """
    config = TrainConfig(
        loss=options.loss,
        correct_shares=options.correct_shares,
        crf_weight=options.crf_weight,
        recipe=options.recipe,
        zero_is="background",
        steps=options.steps,
        batch_size=options.batch,
        crop_size_px=options.crop or split.crop_size_px,
        held_out_fraction=0,
        seed=seed,
    )
    dataset = build_dataset(
        [_pair(item) for item in chosen],
        split.classes,
        zero_is=config.zero_is,
        normalization=Normalization(),
        held_out_fraction=0,
        seed=seed,
        crop_size_px=config.crop_size_px,
    )
    if method == "forest":
        return _fit_forest(dataset, seed)
    started = time.perf_counter()
    learnt: dict[str, Any] = {"last_loss": None}
    if method == "linear":
        network = inference = LinearProbe(options.backbone, dataset, seed)
    else:
        network, learnt = _learnt(method, split, dataset, config, options, kept)
        inference = network.folded()
    learnt.setdefault("train_seconds", round(time.perf_counter() - started, 1))

    rules = tuple(
        ClassRule(value=value, only_largest=True) for value in range(1, len(split.classes))
    )

    def segment(
        item: LabelledImage, views: ViewsName = "none", only_largest: bool = False
    ) -> Segmented:
        found = predict(
            inference,
            item.image,
            axes=_axes(item),
            normalization=dataset.normalization,
            config=PredictConfig(
                tile_size_px=448,
                probabilities="auc" in split.also,
                test_time_augmentation=views,
            ),
        )
        labels = found.labels
        if only_largest:
            labels = clean_block(labels, rules, range(len(split.classes)))
        return Segmented(labels.astype(np.int16), found.probabilities)

    return Fitted(
        segment,
        {
            "trained_parameters": sum(p.numel() for p in network.trained_parameters().values()),
            "gmacs_224": round(giga_macs(inference, dataset.input_channels), 3),
        }
        | learnt,
    )


def _learnt(
    method: str,
    split: Split,
    dataset: Dataset,
    config: TrainConfig,
    options: argparse.Namespace,
    kept: Path | None,
) -> tuple[Any, dict[str, Any]]:
    """A network that has learnt, and ``train_seconds`` and ``last_loss`` of that."""
    if kept is not None and method in ADAPTERS and kept.exists():
        segmenter, header = load_adapter(kept)
        return segmenter, header.training["learnt"]
    network = _network(method, split, dataset, config.seed, options)
    started = time.perf_counter()
    losses = [r.loss for r in train(network, dataset, config) if isinstance(r, StepRecord)]
    learnt = {
        "train_seconds": round(time.perf_counter() - started, 1),
        "last_loss": round(float(np.mean(losses[-10:])), 4),
    }
    if kept is not None and method in ADAPTERS:
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_adapter(
            kept,
            network,
            normalization=dataset.normalization,
            tile_size_px=config.crop_size_px,
            training={"settings": config.model_dump(mode="json"), "learnt": learnt},
        )
    return network, learnt


def giga_macs(network: Any, channels: int) -> float:
    """10⁹ multiply-accumulates of one pass at 224²: matrix products, convolutions and attention, as PyTorch counts them.

    Resampling, also that of deformable convolution, is not counted.
    """
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.mkldnn_convolution: _onednn_operations}
    )
    with torch.inference_mode(), counter:
        network(torch.zeros(1, channels, 224, 224, device=network.device))
    return counter.get_total_flops() / 2e9


def _onednn_operations(
    image: torch.Size, weight: torch.Size, *_: Any, out_shape: torch.Size, **__: Any
) -> int:
    """Operations of oneDNN's convolution, by which networks compute on some processors and which PyTorch does not count."""
    return conv_flop_count(image, weight, out_shape)


def _network(
    method: str, split: Split, dataset: Dataset, seed: int, options: argparse.Namespace
) -> Any:
    if method in SCRATCH:
        from baselines import ScratchNetwork  # MONAI comes with the extra bench alone

        return ScratchNetwork(method, dataset.input_channels, split.classes, seed)
    config = ModelConfig(
        backbone=options.backbone,
        adapter=method,
        decoder=options.decoder,
        position=options.position,
        input_channels=dataset.input_channels,
        input_scale=options.input_scale,
        detail=options.detail,
        seed=seed,
    )
    return build_segmenter(config, split.classes)


def _fit_forest(dataset: Dataset, seed: int) -> Fitted:
    started = time.perf_counter()
    forest = PixelForest(dataset, seed)
    seconds = time.perf_counter() - started

    def segment(
        item: LabelledImage, views: ViewsName = "none", only_largest: bool = False
    ) -> Segmented:
        if views != "none" or only_largest:
            raise ValueError("A forest is scored in one way: as it segments.")
        limits = intensity_limits(item.image, _axes(item), dataset.normalization)
        plane = normalize_plane(read_plane(item.image, _axes(item)), limits)
        probabilities = forest.probabilities(plane)
        return Segmented(probabilities.argmax(axis=0).astype(np.int16), probabilities)

    cost = {"trained_parameters": None, "gmacs_224": None, "last_loss": None}
    return Fitted(segment, {"train_seconds": round(seconds, 1)} | cost)


def _axes(item: LabelledImage) -> str:
    return "YXC" if item.rgb else "YX"


def _pair(item: LabelledImage) -> Pair:
    return Pair(
        image=item.image, labels=item.labels, axes=_axes(item), name=item.name, rgb=item.rgb
    )
