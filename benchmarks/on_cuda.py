"""Cases of `performance.py` on a CUDA device; where there is none their rows say so."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from against_sam2 import CLASSES, plain_sam2, tiny
from children import stack_seconds
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from napari_sam2_adapters.config import ModelConfig, TrainConfig
from napari_sam2_adapters.data.dataset import Pair, build_dataset
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.training.batches import BatchSource
from napari_sam2_adapters.training.losses import build_loss
from napari_sam2_adapters.training.optimization import Stepper
from napari_sam2_adapters.training.recipes import RECIPES

__all__ = ["ON_CUDA"]

Rows = list[dict[str, Any]]
BATCHES = (1, 4, 16, 32, 64)
BARS = {"lw": 1.05, "hp": 1.15}


def images_per_second(
    device: torch.device, side: int = 448, batches: Sequence[int] = BATCHES, repeats: int = 9
) -> Rows:
    """Encoder of HP and LW, folded, in bfloat16 at 448², against the plain one of SAM2, for one image and the best batch."""
    plain = plain_sam2().image_encoder.to(device)
    peak = _matmul_flops(device)
    rows = []
    for adapter, bar in BARS.items():
        ours = tiny(adapter).folded().backbone.to(device)
        speeds = {
            size: _interleaved(ours, plain, torch.rand(size, 3, side, side), device, repeats)
            for size in batches
        }
        best = max(speeds, key=lambda size: speeds[size][0])
        for what, size in (("one", 1), ("best", best)):
            mine, theirs = speeds[size]
            with FlopCounterMode(display=False) as counter, torch.inference_mode():
                ours(torch.rand(1, 3, side, side, device=device))
            ratio = theirs / mine
            rows.append(
                {
                    "name": f"cuda_{adapter}_{what}",
                    "baseline": f"SAM2's ImageEncoder, {side}², bfloat16",
                    "batch": size,
                    "images_per_second": round(mine, 1),
                    "baseline_images_per_second": round(theirs, 1),
                    "ratio": round(ratio, 3),
                    "bar": bar,
                    "ok": ratio <= bar,
                    "share_of_matmul_peak": round(counter.get_total_flops() * mine / peak, 3),
                    "device": _name(device),
                }
            )
    return rows


def interactive_steps(device: torch.device, side: int = 448, seconds: float = 20.0) -> Rows:
    """Steps a second of interactive fine-tuning, LW tiny, 448², batch 4, and the share of waiting for batches."""
    sample = load_sample("fluorescence")
    pairs = [
        Pair(image, labels, "YX", str(n))
        for n, (image, labels) in enumerate(
            zip(sample.train_images, sample.train_labels, strict=True)
        )
    ]
    config = TrainConfig(crop_size_px=side, batch_size=4)
    dataset = build_dataset(pairs, CLASSES, held_out_fraction=0.0, crop_size_px=side)
    source = BatchSource(dataset, config, ahead=True)
    network = tiny("lw", CLASSES).to(device).train()
    loss = build_loss(config.loss, source.class_counts)
    stepper = Stepper(network, RECIPES["interactive"], loss, learning_rate=None, batch_size=4)

    def step() -> float:
        """Take one; gives the seconds of waiting for its batch."""
        started = time.perf_counter()
        images, labels = source.draw()
        waited = time.perf_counter() - started
        stepper.take(images, labels, progress=0.5, seed=0)
        return waited

    for _ in range(3):
        step()
    drawing, steps = 0.0, 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        drawing += step()
        steps += 1
    whole = time.perf_counter() - began
    share = drawing / whole
    return [
        {
            "name": "cuda_steps",
            "baseline": f"share of waiting for batches in a step, LW tiny, {side}², batch 4",
            "steps_per_second": round(steps / whole, 2),
            "ratio": round(share, 3),
            "bar": 0.10,
            "ok": share <= 0.10,
            "device": _name(device),
        }
    ]


def stack(device: torch.device, side: int = 512, repeats: int = 3) -> Rows:
    """64 slices as a stack against as many single predictions, by batches of tiles."""
    network = build_segmenter(ModelConfig(adapter="lw"), CLASSES, device=device).folded()
    runs = [stack_seconds(network, side, at_once=64) for _ in range(repeats + 1)][1:]
    found = {what: statistics.median(run[what] for run in runs) for what in runs[0]}
    ratio = found["seconds"] / found["bare_seconds"]
    return [
        {
            "name": "cuda_stack",
            "baseline": "64 single predictions, LW on mobile",
            "seconds": round(found["seconds"], 3),
            "baseline_seconds": round(found["bare_seconds"], 3),
            "ratio": round(ratio, 3),
            "bar": round(1 / 1.5, 3),
            "ok": ratio <= 1 / 1.5,
            "device": _name(device),
        }
    ]


def _interleaved(
    ours: nn.Module, theirs: nn.Module, batch: Tensor, device: torch.device, repeats: int
) -> tuple[float, float]:
    """Images a second of both, the median of so many turns each, after two."""
    batch = batch.to(device)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 2):
        for network, taken in zip((ours, theirs), times, strict=True):
            with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16):
                _wait(device)
                started = time.perf_counter()
                network(batch)
                _wait(device)
            taken.append(time.perf_counter() - started)
    mine, plain = (len(batch) / statistics.median(taken[2:]) for taken in times)
    return mine, plain


def _matmul_flops(device: torch.device, side: int = 8192) -> float:
    """Operations a second of a large product in bfloat16: what the card reaches at best in practice."""
    side = side if device.type == "cuda" else 512
    a = torch.rand(side, side, device=device, dtype=torch.bfloat16)
    taken = []
    for _ in range(12):
        _wait(device)
        started = time.perf_counter()
        a @ a
        _wait(device)
        taken.append(time.perf_counter() - started)
    return 2 * side**3 / sorted(taken[2:])[5]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _if_there(name: str, measure: Callable[[torch.device], Rows]) -> Callable[[], Rows]:
    @functools.wraps(measure)
    def run() -> Rows:
        if not torch.cuda.is_available():
            why = "not measured: no CUDA device"
            nothing = {"baseline": "-", "ratio": None, "bar": None, "ok": None}
            return [{"name": name, **nothing, "why": why}]
        return measure(torch.device("cuda", torch.cuda.current_device()))

    return run


ON_CUDA: dict[str, tuple[str, Callable[[], Rows]]] = {
    "cuda_images": (
        "SAM2's ImageEncoder in bfloat16, on CUDA; bars of the CPU, HP 1.15",
        _if_there("cuda_images", images_per_second),
    ),
    "cuda_stack": ("64 single predictions on CUDA; bar 0.667", _if_there("cuda_stack", stack)),
    "cuda_steps": (
        "time of a training step on CUDA; waiting for batches may take 0.10 of it",
        _if_there("cuda_steps", interactive_steps),
    ),
}
"""What it is measured against, and what measures it."""
