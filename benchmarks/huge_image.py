"""Memory and time of one huge image, from an OME-Zarr through a batch into an OME-Zarr, against the side of the image.

    python benchmarks/huge_image.py --sides 2048 4096 8192 16384 --json benchmarks/results/huge_image.jsonl

Each side is a process of its own, whose peak of resident memory counts; the first row is a small image, which shows what the program and
the network take. The network is HP on mobile with fresh weights: neither time nor memory depends on them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from large_images import write_image
from performance import machine

from napari_sam2_adapters.batch.job import BatchJob
from napari_sam2_adapters.batch.run import run_batch
from napari_sam2_adapters.config import ModelConfig, Normalization, default_classes
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.models.model_file import SUFFIX, save_adapter

SMALLEST_PX = 448


def main() -> None:
    """Measure each side in a process of its own, and print a table."""
    options = _options()
    if options.child:
        print(json.dumps(measure(options.child, options.adapter, options.threads)))
        return
    rows = []
    for side in [SMALLEST_PX, *options.sides]:
        command = [sys.executable, __file__, "--child", str(side), "--adapter", options.adapter]
        command += ["--threads", str(options.threads)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        row["peak_over_smallest_mb"] = round(row["peak_mb"] - (rows or [row])[0]["peak_mb"])
        rows.append(row)
        print(json.dumps(row), flush=True)
        if options.json:
            with options.json.open("a") as stream:
                about = {"command": f"huge_image.py --sides {side} --adapter {options.adapter}"}
                stream.write(json.dumps(row | machine(options.threads) | about) + "\n")


def measure(side: int, adapter: str, threads: int) -> dict[str, Any]:
    """Segment one image of ``side`` × ``side`` px."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / f"huge{SUFFIX}"
        segmenter = build_segmenter(ModelConfig(adapter=adapter), default_classes([1, 2, 3]))
        save_adapter(
            model, segmenter, normalization=Normalization(mode="percentile"), tile_size_px=448
        )
        del segmenter
        (folder / "images").mkdir()
        write_image(folder / "images" / "huge.zarr", side, side)
        job = BatchJob(
            model=model, folder=folder / "images", output=folder / "out", label_format="ome.zarr"
        )
        started, tiles = time.perf_counter(), 0
        for record in run_batch(job):
            tiles = max(tiles, record.all_tiles)
            if record.status == "failed":
                raise SystemExit(record.reason)
        seconds = time.perf_counter() - started
    # ru_maxrss begins with what the parent held when it made this process
    status = Path("/proc/self/status").read_text()
    (peak_kib,) = (int(x.split()[1]) for x in status.splitlines() if x.startswith("VmHWM"))
    return {
        "name": "huge_image",
        "adapter": adapter,
        "side_px": side,
        "tiles": tiles,
        "seconds": round(seconds, 1),
        "seconds_per_tile": round(seconds / tiles, 4),
        "peak_mb": round(peak_kib / 1024),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sides", nargs="+", type=int, default=[2048, 4096, 8192])
    parser.add_argument("--adapter", default="hp", choices=["hp", "lw", "lora"])
    parser.add_argument("--json", type=Path, help="file of JSON lines that grows")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
