"""Cases of `performance.py` that need processes of their own: peaks of memory, large images, stacks, the first start.

A process prints one line of JSON. Peaks are of resident memory, over what is resident when the network is loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import zarr
from against_sam2 import CLASSES, step, tiny
from large_images import write_image, write_stack

from napari_sam2_adapters.config import ModelConfig, Normalization, PredictConfig
from napari_sam2_adapters.data.normalize import normalize_plane
from napari_sam2_adapters.inference.predict import Outputs, find_limits, predict, predict_tiles
from napari_sam2_adapters.inference.region import Region
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.models.model_file import SUFFIX, save_adapter
from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["PROCESSES"]

TILE_PX = 448
SCALING = Normalization(mode="percentile")
_FIRST_RESULT = """
import sys, time
started, computing = time.perf_counter(), time.process_time()
import numpy as np
from napari_sam2_adapters import load_adapter, predict
network, header = load_adapter(sys.argv[1])
image = np.arange(224 * 224, dtype=np.uint16).reshape(224, 224)
predict(network.folded(), image, axes="YX", normalization=header.normalization)
print('{"seconds": %f, "computing": %f}' % (time.perf_counter() - started, time.process_time() - computing))
"""


def step_memory(threads: int, side: int) -> list[dict[str, Any]]:
    """A training step of LW against one of every parameter."""
    del side
    ours, theirs = (_run_apart(f"step_{what}", 224, threads) for what in ("lw", "full"))
    return [_against("step_memory", "peak_mb", ours, theirs, 0.7, "every parameter trained, AdamW")]


def huge_tiled(threads: int, side: int) -> list[dict[str, Any]]:
    """A huge image from a zarr into a zarr, against bare passes over its tiles, and the same with half the side."""
    rows = []
    peaks = []
    for length in (side // 2, side):
        found = _run_apart("tiled", length, threads)
        peaks.append(found["peak_mb"])
        ratio = round(found["seconds"] / found["bare_seconds"], 3)
        rows.append(
            {
                "name": "huge_tiled",
                "baseline": "bare network passes over the same tiles, LW on mobile",
                "side": length,
                **found,
                "ratio": ratio,
                "bar": 1.10,
                "ok": ratio <= 1.10 and found["peak_mb"] <= 1500,
            }
        )
    rows.append(
        {
            "name": "huge_tiled_flat",
            "baseline": f"peak memory over the model at {side // 2}²",
            "side": side,
            "peak_mb": peaks[1],
            "baseline_peak_mb": peaks[0],
            "ratio": round(peaks[1] / peaks[0], 3),
            # a band of tiles is twice as wide; an image held whole would take four times as much
            "bar": 2.0,
            "ok": peaks[1] <= 2.0 * peaks[0],
        }
    )
    return rows


def monai_tiled(threads: int, side: int) -> list[dict[str, Any]]:
    """Time and memory against MONAI's sliding windows: same tiles, overlap, window and network."""
    found: dict[str, list[dict[str, float]]] = {"ours": [], "monai": []}
    for _ in range(2):
        for what, runs in found.items():
            runs.append(_run_apart(f"sliding_{what}", side, threads))
    ours, theirs = (
        {key: statistics.median(run[key] for run in runs) for key in ("seconds", "peak_mb")}
        for runs in found.values()
    )
    baseline = "monai's sliding_window_inference, LW on mobile"
    rows = [
        _against("monai_tiled_seconds", "seconds", ours, theirs, 1.0, baseline),
        _against("monai_tiled_memory", "peak_mb", ours, theirs, 0.4, baseline),
    ]
    return [row | {"side": side} for row in rows]


def stack(threads: int, side: int) -> list[dict[str, Any]]:
    """64 slices of 512² as a stack against as many single predictions, from a zarr into a zarr."""
    del side
    found = _run_apart("stack", 512, threads)
    row = _against(
        "stack",
        "seconds",
        found,
        {"seconds": found["bare_seconds"]},
        1.0,
        "64 single predictions, LW on mobile",
    )
    return [row]


def start(threads: int, side: int) -> list[dict[str, Any]]:
    """Import, open an adapter and segment 224², each time in a fresh process."""
    del side
    with tempfile.TemporaryDirectory() as folder:
        model = _saved(Path(folder), ModelConfig())
        megabytes = model.stat().st_size / 1e6
        runs = [
            _answer([sys.executable, "-c", _FIRST_RESULT, str(model)], threads) for _ in range(5)
        ]
    seconds = statistics.median(run["seconds"] for run in runs)
    return [
        {
            "name": "start",
            "baseline": f"import, open an adapter of {megabytes:.1f} MB, first 224² result, HP on mobile",
            "seconds": round(seconds, 2),
            "computing": round(statistics.median(run["computing"] for run in runs), 2),
            "bar": 4.0,
            "ok": seconds <= 4.0,
        }
    ]


PROCESSES: dict[str, tuple[str, Callable[[int, int], list[dict[str, Any]]]]] = {
    "step_memory": ("every parameter trained; bar 0.7", step_memory),
    "huge_tiled": (
        "bare passes over the same tiles; bar 1.10, 1.5 GB, flat when the side doubles",
        huge_tiled,
    ),
    "monai_tiled": ("monai's sliding windows; bar 1.0 for time, 0.4 for memory", monai_tiled),
    "stack": ("64 single predictions; bar 1.0", stack),
    "start": ("fresh processes; bar 4 s", start),
}
"""What it is measured against, and what measures it, given threads and the side of large images."""


def _step(what: str, side: int) -> dict[str, float]:
    network = tiny("lw")
    if what == "step_full":
        network.requires_grad_(True)
    run = step(network, side)
    with _peak() as peak:
        for _ in range(3):
            run()
    return peak


def _tiled(what: str, side: int) -> dict[str, float]:
    """Bands of the image, each followed by as many bare passes as it had tiles."""
    del what
    with tempfile.TemporaryDirectory() as folder:
        write_image(Path(folder) / "image.zarr", side)
        image = zarr.open_array(str(Path(folder) / "image.zarr"), mode="r")
        labels = zarr.create_array(
            str(Path(folder) / "labels.zarr"), shape=(side, side), chunks=(512, 512), dtype="u1"
        )
        network = _network()
        bare = _bare(network)
        limits = find_limits(network, image, "YX", SCALING)
        config, outputs = PredictConfig(tile_size_px=TILE_PX), Outputs(labels)
        seconds, bare_seconds, tiles = 0.0, 0.0, 0
        with _peak() as peak:
            for row in range(0, side, 1024):
                started = time.perf_counter()
                region = Region(rows=slice(row, min(row + 1024, side)))
                for record in predict_tiles(
                    network,
                    image,
                    "YX",
                    config=config,
                    outputs=outputs,
                    region=region,
                    limits=limits,
                ):
                    done = record.done
                between = time.perf_counter()
                for _ in range(done):
                    bare()
                seconds += between - started
                bare_seconds += time.perf_counter() - between
                tiles += done
        return {"seconds": seconds, "bare_seconds": bare_seconds, "tiles": tiles, **peak}


def _sliding(what: str, side: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        write_image(Path(folder) / "image.zarr", side)
        image = zarr.open_array(str(Path(folder) / "image.zarr"), mode="r")
        network = _network()
        limits = find_limits(network, image, "YX", SCALING)
        if what == "sliding_monai":
            from monai.inferers import sliding_window_inference
        with _peak() as peak:
            started = time.perf_counter()
            if what == "sliding_ours":
                predict(
                    network,
                    image,
                    axes="YX",
                    normalization=SCALING,
                    config=PredictConfig(tile_size_px=TILE_PX),
                )
            else:
                pixels = normalize_plane(np.asarray(image)[None], limits)
                with torch.inference_mode():
                    logits = sliding_window_inference(
                        torch.from_numpy(pixels)[None],
                        (TILE_PX, TILE_PX),
                        1,
                        network,
                        overlap=0.25,
                        mode="gaussian",
                        sigma_scale=0.125,
                    )
                    logits.argmax(dim=1).to(torch.uint8).numpy()
            seconds = time.perf_counter() - started
        return {"seconds": seconds, **peak}


def _stack(what: str, side: int) -> dict[str, float]:
    """Eight slices at a time as a stack, then the same eight one by one."""
    del what
    with tempfile.TemporaryDirectory() as folder:
        write_stack(Path(folder) / "stack.zarr", 64, side)
        image = zarr.open_array(str(Path(folder) / "stack.zarr"), mode="r")
        shape, chunks = image.shape, image.chunks
        labels = zarr.create_array(
            str(Path(folder) / "labels.zarr"), shape=shape, chunks=chunks, dtype="u1"
        )
        network, config = _network(), PredictConfig(tile_size_px=TILE_PX)
        predict(network, image[0], axes="YX", normalization=SCALING, config=config)
        seconds = bare_seconds = 0.0
        with _peak() as peak:
            for first in range(0, shape[0], 8):
                planes = range(first, first + 8)
                started = time.perf_counter()
                for _ in predict_tiles(
                    network,
                    image,
                    "ZYX",
                    normalization=SCALING,
                    config=config,
                    outputs=Outputs(labels),
                    region=Region(tuple((z,) for z in planes)),
                ):
                    pass
                between = time.perf_counter()
                for z in planes:
                    found = predict(
                        network, image[z], axes="YX", normalization=SCALING, config=config
                    )
                    labels[z] = found.labels
                seconds += between - started
                bare_seconds += time.perf_counter() - between
        return {"seconds": seconds, "bare_seconds": bare_seconds, **peak}


_CHILDREN: dict[str, Callable[[str, int], dict[str, float]]] = {
    "step_lw": _step,
    "step_full": _step,
    "tiled": _tiled,
    "sliding_ours": _sliding,
    "sliding_monai": _sliding,
    "stack": _stack,
}


def _network() -> Segmenter:
    """LW on mobile, folded and warm."""
    network = build_segmenter(ModelConfig(adapter="lw"), CLASSES).folded()
    for _ in range(3):
        _bare(network)()
    return network


def _bare(network: Segmenter) -> Callable[[], object]:
    tile = torch.rand(1, 1, TILE_PX, TILE_PX)

    @torch.inference_mode()
    def run() -> object:
        return network(tile)

    return run


def _saved(folder: Path, config: ModelConfig) -> Path:
    model = folder / f"start{SUFFIX}"
    segmenter = build_segmenter(config, CLASSES)
    save_adapter(model, segmenter, normalization=SCALING, tile_size_px=TILE_PX)
    return model


@contextmanager
def _peak() -> Iterator[dict[str, float]]:
    """Fill a row with ``peak_mb`` over what is resident at the start; Linux can begin its count anew."""
    row: dict[str, float] = {}
    Path("/proc/self/clear_refs").write_text("5")
    before = psutil.Process().memory_info().rss
    yield row
    status = Path("/proc/self/status").read_text()
    (most,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    row["peak_mb"] = round((int(most) * 1024 - before) / 1e6, 1)


def _against(
    name: str,
    what: str,
    ours: dict[str, float],
    theirs: dict[str, float],
    bar: float,
    baseline: str,
) -> dict[str, Any]:
    ratio = ours[what] / theirs[what]
    return {
        "name": name,
        "baseline": baseline,
        what: round(ours[what], 2),
        f"baseline_{what}": round(theirs[what], 2),
        "ratio": round(ratio, 3),
        "bar": bar,
        "ok": ratio <= bar,
    }


def _run_apart(what: str, side: int, threads: int) -> dict[str, float]:
    return _answer([sys.executable, __file__, what, str(side), str(threads)], threads)


def _answer(command: list[str], threads: int) -> dict[str, float]:
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=_CHILDREN)
    parser.add_argument("side", type=int)
    parser.add_argument("threads", type=int)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(json.dumps(_CHILDREN[options.what](options.what, options.side)))


if __name__ == "__main__":
    _main()
