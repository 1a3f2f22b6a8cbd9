"""How time and memory grow with the side of an image, the slices of a stack and the classes, as rows and as a plot.

    python benchmarks/growth.py --json benchmarks/results/growth.jsonl --plot resources/growth.png
    python benchmarks/growth.py --axis side --sides 512 --json benchmarks/results/growth.jsonl

Images go from a zarr into a zarr, tiles of 448 px, LW on mobile. Each point is a process of its own; its time is that of the processor, on one
thread unless told, which others on the machine hardly change, for up to 2048² px the median of five; its peak is of resident memory, over what is
resident when the network is loaded. ``--plot`` draws all rows of the file, the latest of each point.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
import zarr
from children import SCALING, TILE_PX, peak_over_now
from growth_plot import plot_growth
from large_images import write_image, write_stack
from performance import machine
from processes import answer

from napari_sam2_adapters.config import ModelConfig, PredictConfig, default_classes
from napari_sam2_adapters.heap import share_one_heap, use_huge_pages
from napari_sam2_adapters.inference.predict import Outputs, predict, predict_tiles
from napari_sam2_adapters.models.checkpoints import build_segmenter

_SIDES = [512, 1024, 2048, 4096, 8192, 16384]
_SLICES = [1, 4, 16, 64, 256]
_CLASSES = [2, 4, 8, 16, 32]
_OPTIONS = {"side": "--sides", "slices": "--slices", "classes": "--classes"}
_SLICE_PX, _PLANE_PX = 224, 2048
_SMALL_PX, _REPEATS = 2**22, 5


def main() -> None:
    """Measure the points that are asked for, and draw what is in the file."""
    options = _options()
    if options.child:
        side, slices, classes = options.child
        share_one_heap()  # as the command does
        use_huge_pages()
        print(json.dumps(_measure(side, slices, classes, options.threads)))
        return
    points = {
        "side": [(side, 1, 3) for side in options.sides],
        "slices": [(_SLICE_PX, slices, 3) for slices in options.slices],
        "classes": [(_PLANE_PX, 1, classes) for classes in options.classes],
    }
    for axis in options.axis:
        for side, slices, classes in points[axis]:
            numbers = [str(number) for number in (side, slices, classes)]
            found = answer([__file__, "--child", *numbers], options.threads)
            row = {"name": "growth", "axis": axis, "side": side, "slices": slices}
            row |= {"classes": classes, **found, **machine(options.threads)}
            which = {"side": side, "slices": slices, "classes": classes}[axis]
            row["command"] = (
                f"growth.py --axis {axis} {_OPTIONS[axis]} {which} --threads {options.threads}"
            )
            print(json.dumps(row), flush=True)
            with options.json.open("a") as stream:
                stream.write(json.dumps(row) + "\n")
    if options.plot:
        rows = [json.loads(line) for line in options.json.read_text().splitlines()]
        plot_growth(options.plot, rows)
        for axis in ("side", "slices", "classes"):
            print(f"{axis}: time grows with the power {_power(rows, axis):.2f} of the work")


def _measure(side: int, slices: int, classes: int, threads: int) -> dict[str, float]:
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        source, target = (str(Path(folder) / f"{what}.zarr") for what in ("image", "labels"))
        if slices > 1:
            write_stack(Path(source), slices, side)
        else:
            write_image(Path(source), side, side)
        image = zarr.open_array(source, mode="r")
        axes = "ZYX" if image.ndim == 3 else "YX"
        chunks = (*(1,) * (image.ndim - 2), min(side, 512), min(side, 512))
        labels = zarr.create_array(target, shape=image.shape, chunks=chunks, dtype="u1")
        named = default_classes(list(range(1, classes + 1)))
        network = build_segmenter(ModelConfig(adapter="lw"), named).folded()
        config = PredictConfig(tile_size_px=TILE_PX)
        seconds, computing = [], []
        with peak_over_now() as peak:
            predict(network, torch.rand(TILE_PX, TILE_PX).numpy(), axes="YX", config=config)
            for _ in range(_REPEATS if image.size <= _SMALL_PX else 1):
                started, before = time.perf_counter(), time.process_time()
                for _ in predict_tiles(
                    network,
                    image,
                    axes,
                    normalization=SCALING,
                    config=config,
                    outputs=Outputs(labels),
                ):
                    pass
                seconds.append(time.perf_counter() - started)
                computing.append(time.process_time() - before)
        times = {"seconds": seconds, "computing": computing}
        return {name: round(median(found), 3) for name, found in times.items()} | peak


def _power(rows: list[dict[str, Any]], axis: str) -> float:
    """Slope between the second and the last point in logarithms; the first is mostly start. 1 is a straight line."""
    work = {
        (row["side"] ** 2 * row["slices"] if axis != "classes" else row["classes"]): row[
            "computing"
        ]
        for row in rows
        if row["axis"] == axis
    }
    (first, fast), *_, (last, slow) = sorted(work.items())[1:]
    return math.log(slow / fast) / math.log(last / first)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    axes = ["side", "slices", "classes"]
    parser.add_argument("--axis", nargs="*", choices=axes, default=axes)
    parser.add_argument("--sides", nargs="+", type=int, default=_SIDES)
    parser.add_argument("--slices", nargs="+", type=int, default=_SLICES)
    parser.add_argument("--classes", nargs="+", type=int, default=_CLASSES)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/growth.jsonl"))
    parser.add_argument("--plot", type=Path, help="picture of all rows in the file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", nargs=3, type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
