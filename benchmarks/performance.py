"""Speed as ratios against named baselines, measured in turn in one process.

    python benchmarks/performance.py --list
    python benchmarks/performance.py --only mobile_step mobile_image_hp --json benchmarks/results/performance.jsonl

A row is ``{name, baseline, seconds, baseline_seconds, ratio, bar, ok, …}``; the ratio is null where the bar is one of seconds or nothing was
measured. Rows go to standard output or into the file, and a table for people beside them: then to standard error or to standard output. Times
are medians of interleaved repeats after a warm-up, since the machines are noisy: only the ratio means something.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from against_sam2 import CLASSES, MAKERS, image_to_labels, step, tiny
from on_cuda import ON_CUDA
from processes import PROCESSES, Setting

from napari_sam2_adapters.config import ModelConfig, Normalization, PredictConfig
from napari_sam2_adapters.export.comparison import INPUT, open_session
from napari_sam2_adapters.export.onnx import translate
from napari_sam2_adapters.export.pictures import normalized_tiles
from napari_sam2_adapters.heap import use_huge_pages
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.models.model_file import SUFFIX, save_adapter


@dataclass(frozen=True)
class Case:
    """Something timed against its baseline; the ratio may be at most ``bar``."""

    baseline: str
    bar: float | None
    make: Callable[[], tuple[Callable[[], object], Callable[[], object]]]


def main() -> None:
    """Time the cases that are asked for and write a row for each."""
    options = _options()
    if options.list:
        for name, case in CASES.items():
            print(f"{name:24} against {case.baseline}, bar {case.bar}")
        for name, (about, _) in {**PROCESSES, **ON_CUDA}.items():
            print(f"{name:24} against {about}")
        return
    use_huge_pages()  # as the command and the window do
    torch.set_num_threads(options.threads)
    started = time.perf_counter()
    for name in options.only or [*CASES, *PROCESSES, *ON_CUDA]:
        _keep(_rows(name, options), f"--only {name} ", options)
    if not options.only:
        _keep([_whole(time.perf_counter() - started)], "", options)


def _keep(rows: list[dict[str, Any]], which: str, options: argparse.Namespace) -> None:
    """Write rows, with what measures them as they were measured here, and show their lines."""
    keys = "threads", "repeats", "side", "large_on"
    how = " ".join(f"--{key.replace('_', '-')} {getattr(options, key)}" for key in keys)
    about = machine(options.threads) | {"command": f"performance.py {which}{how}"}
    for row in [found | about for found in rows]:
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            with options.json.open("a") as stream:
                stream.write(json.dumps(row) + "\n")
        else:
            print(json.dumps(row), flush=True)
        print(_line(row), file=sys.stdout if options.json else sys.stderr, flush=True)


def _whole(seconds: float) -> dict[str, Any]:
    """What all cases took together."""
    return {
        "name": "all_cases",
        "baseline": "half an hour",
        "seconds": round(seconds),
        "ratio": None,
        "bar": 1800,
        "ok": seconds <= 1800,
    }


def _rows(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    if name in CASES:
        return [_measure(name, CASES[name], options.repeats)]
    if name in PROCESSES:
        return PROCESSES[name][1](Setting(options.threads, options.side, options.large_on))
    return ON_CUDA[name][1]()


def _line(row: dict[str, Any]) -> str:
    """The line of a row in a table for people: name, ratio or seconds, bar, baseline, and whether it was missed."""
    found = row.get("seconds") if row["ratio"] is None else row["ratio"]
    said = {True: "", False: "MISSED", None: row.get("why", "")}[row["ok"]]
    shown = ["" if value is None else f"{value:.3g}" for value in (found, row["bar"])]
    return f"{row['name']:24} {shown[0]:>8} {shown[1]:>8}  {row['baseline']}  {said}".rstrip()


def _measure(name: str, case: Case, repeats: int) -> dict[str, Any]:
    ours, theirs = case.make()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 2):
        for run, seconds in zip((ours, theirs), times, strict=True):
            started = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - started)
    mine, baseline = (statistics.median(seconds[2:]) for seconds in times)
    ratio = mine / baseline
    return {
        "name": name,
        "baseline": case.baseline,
        "seconds": round(mine, 4),
        "baseline_seconds": round(baseline, 4),
        "ratio": round(ratio, 3),
        "bar": case.bar,
        "ok": case.bar is None or ratio <= case.bar,
    }


def _mobile_step(*, own_linear: bool) -> tuple[Callable[[], object], Callable[[], object]]:
    ours = build_segmenter(ModelConfig(adapter="hp"), CLASSES)
    return step(ours), step(tiny("hp", own_linear=own_linear))


def _tiny_step() -> tuple[Callable[[], object], Callable[[], object]]:
    return step(tiny("hp")), step(tiny("hp", own_linear=False))


def _mobile_image(adapter: str) -> Callable[[], tuple[Callable[[], object], Callable[[], object]]]:
    def make() -> tuple[Callable[[], object], Callable[[], object]]:
        ours = build_segmenter(ModelConfig(adapter=adapter), CLASSES)
        theirs = tiny(adapter, own_linear=False)
        return image_to_labels(ours), image_to_labels(theirs, own_linear=False)

    return make


def _tiny_image(adapter: str) -> Callable[[], tuple[Callable[[], object], Callable[[], object]]]:
    def make() -> tuple[Callable[[], object], Callable[[], object]]:
        theirs = tiny(adapter, own_linear=False)
        return image_to_labels(tiny(adapter)), image_to_labels(theirs, own_linear=False)

    return make


def _uncut() -> tuple[Callable[[], object], Callable[[], object]]:
    whole = image_to_labels(build_segmenter(ModelConfig(adapter="lw"), CLASSES), side=512)

    def cut() -> object:
        with patch.object(PredictConfig, "whole_up_to_px", 0):
            return whole()

    return whole, cut


def _onnx_tile(adapter: str) -> Callable[[], tuple[Callable[[], object], Callable[[], object]]]:
    def make() -> tuple[Callable[[], object], Callable[[], object]]:
        segmenter = build_segmenter(ModelConfig(adapter=adapter), CLASSES)
        with TemporaryDirectory() as folder:
            model = Path(folder) / f"{adapter}{SUFFIX}"
            scaling = Normalization(mode="percentile")
            save_adapter(model, segmenter, normalization=scaling, tile_size_px=448)
            steps = translate(model)
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    translated = end.value
                    break
        session = open_session(translated.content)
        tile = normalized_tiles(1, 448, 1)

        def in_torch() -> object:
            with torch.inference_mode():
                return translated.network(torch.from_numpy(tile))

        return lambda: session.run(None, {INPUT: tile}), in_torch

    return make


def _load_mobile() -> tuple[Callable[[], object], Callable[[], object]]:
    def load() -> object:
        return build_segmenter(ModelConfig(), CLASSES)

    def one_second() -> None:
        time.sleep(1)

    return load, one_second


_ON_TINY = "448² image to labels on SAM2 tiny with its own linear layers"
_STEP_ON_TINY = "the same HP step (224², batch 4) on SAM2 tiny"
_STEP_ON_SAM2 = f"{_STEP_ON_TINY} with its own linear layers"

CASES: dict[str, Case] = {
    "mobile_step": Case(_STEP_ON_TINY, 0.45, partial(_mobile_step, own_linear=True)),
    "mobile_step_sam2": Case(_STEP_ON_SAM2, 0.45, partial(_mobile_step, own_linear=False)),
    "tiny_step": Case(_STEP_ON_SAM2, 1.05, _tiny_step),
    "mobile_image_lw": Case(f"{_ON_TINY}, LW", 0.40, _mobile_image("lw")),
    "mobile_image_hp": Case(f"{_ON_TINY}, HP", 0.40, _mobile_image("hp")),
    "tiny_image_lw": Case(f"{_ON_TINY}, LW", 1.05, _tiny_image("lw")),
    "tiny_image_hp": Case(f"{_ON_TINY}, HP", 1.05, _tiny_image("hp")),
    "image_uncut": Case("the same 512² image, LW on mobile, in four tiles of 448 px", 0.5, _uncut),
    "onnx_tile_hp": Case("the same 448² tile, HP on mobile, in PyTorch", None, _onnx_tile("hp")),
    "onnx_tile_lw": Case("the same 448² tile, LW on mobile, in PyTorch", None, _onnx_tile("lw")),
    "mobile_load": Case("one second", 1.0, _load_mobile),
    **{name: Case(*about) for name, about in MAKERS.items()},
}


def machine(threads: int) -> dict[str, Any]:
    """What a row says of the machine and of versions, those of the baselines among them."""
    return {
        "threads": threads,
        "machine": f"{platform.machine()}, {platform.system()}",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        **_versions(),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in ("napari-sam2-adapters", "torch", "torchvision", "sam2", "monai"):
        with suppress(PackageNotFoundError):  # not every case needs MONAI
            found[package] = version(package)
    return found


def _processor() -> str:
    if hasattr(torch.cpu, "get_capabilities"):  # since PyTorch 2.10
        return str(torch.cpu.get_capabilities().get("cpu_name", "unknown"))
    return platform.processor() or "unknown"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    parser.add_argument(
        "--only", nargs="+", choices=[*CASES, *PROCESSES, *ON_CUDA], help="run these"
    )
    parser.add_argument("--json", type=Path, help="file of JSON lines that grows")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", type=int, default=8192, help="of large images (px)")
    parser.add_argument(
        "--large-on",
        choices=["mobile", "tiny"],
        default="mobile",
        help="backbone of large images and stacks",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
