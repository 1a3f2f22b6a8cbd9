"""What `processes.py` runs in processes of their own: one measurement, printed as a line of JSON.

Peaks are of resident memory, over what is resident when the network is loaded; as in the command, all threads share one heap, also those of what
is compared with.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import torch
import zarr
from against_sam2 import CLASSES, step, tiny
from large_images import write_image, write_stack

from napari_sam2_adapters.config import ModelConfig, Normalization, PredictConfig
from napari_sam2_adapters.data.normalize import normalize_plane
from napari_sam2_adapters.heap import share_one_heap, use_huge_pages
from napari_sam2_adapters.inference.predict import Outputs, find_limits, predict, predict_tiles
from napari_sam2_adapters.inference.region import Region
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.models.segmenter import Segmenter

__all__ = ["SCALING", "TILE_PX", "peak_over_now", "stack_seconds"]

TILE_PX = 448
SCALING = Normalization(mode="percentile")
_BANDS = 4
"""Bands of a huge image that are timed: those of 8192 px are too large to be read in one go, as whole images of that size are."""


@contextmanager
def peak_over_now() -> Iterator[dict[str, float]]:
    """Fill a row with ``peak_mb`` over what is resident at the start; Linux can begin its count anew."""
    row: dict[str, float] = {}
    Path("/proc/self/clear_refs").write_text("5")
    before = psutil.Process().memory_info().rss
    yield row
    status = Path("/proc/self/status").read_text()
    (most,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    row["peak_mb"] = round((int(most) * 1024 - before) / 1e6, 1)


def _step(what: str, side: int, large_on: str) -> dict[str, float]:
    del large_on
    network = tiny("lw")
    if what == "step_full":
        network.requires_grad_(True)
    run = step(network, side)
    with peak_over_now() as peak:
        for _ in range(3):
            run()
    return peak


def _tiled(what: str, side: int, large_on: str) -> dict[str, float]:
    """Bands of the image, each followed by half as many bare passes as it had tiles; times are medians over bands of what a tile takes."""
    del what
    with tempfile.TemporaryDirectory() as folder:
        write_image(Path(folder) / "image.zarr", side, side)
        image = zarr.open_array(str(Path(folder) / "image.zarr"), mode="r")
        labels = zarr.create_array(
            str(Path(folder) / "labels.zarr"), shape=(side, side), chunks=(512, 512), dtype="u1"
        )
        network = _loaded(large_on)
        bare = _bare(network)
        config, outputs = PredictConfig(tile_size_px=TILE_PX), Outputs(labels)
        per_tile, per_pass, tiles = [], [], 0
        with peak_over_now() as peak:
            _warm_up(network)
            limits = find_limits(network, image, "YX", SCALING)
            for row in range(0, side, side // _BANDS):
                started = time.perf_counter()
                region = Region(rows=slice(row, min(row + side // _BANDS, side)))
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
                passes = -(-done // 2)
                for _ in range(passes):
                    bare()
                per_tile.append((between - started) / done)
                per_pass.append((time.perf_counter() - between) / passes)
                tiles += done
        return {
            "seconds": tiles * median(per_tile),
            "bare_seconds": tiles * median(per_pass),
            "tiles": tiles,
            **peak,
        }


def _rows_of_tiles(what: str, side: int, large_on: str) -> dict[str, float]:
    """The first three rows of tiles of a whole image: from the third on each takes what the one before took.

    The image is as wide as ``side`` tells and, from 4096 px on, too large to be read in one go.
    """
    del what
    with tempfile.TemporaryDirectory() as folder:
        shape = 10 * TILE_PX, side
        write_image(Path(folder) / "image.zarr", *shape)
        image = zarr.open_array(str(Path(folder) / "image.zarr"), mode="r")
        labels = zarr.create_array(
            str(Path(folder) / "labels.zarr"), shape=shape, chunks=(512, 512), dtype="u1"
        )
        network, rows = _loaded(large_on), 0
        with peak_over_now() as peak:
            _warm_up(network)
            for record in predict_tiles(
                *(network, image, "YX"),
                normalization=SCALING,
                config=PredictConfig(tile_size_px=TILE_PX),
                outputs=Outputs(labels),
            ):
                rows += record.rows.start < record.rows.stop
                if rows == 3:
                    break
        return peak


def _sliding(what: str, side: int, large_on: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        write_image(Path(folder) / "image.zarr", side, side)
        image = zarr.open_array(str(Path(folder) / "image.zarr"), mode="r")
        network = _loaded(large_on)
        limits = find_limits(network, image, "YX", SCALING)
        if what == "sliding_monai":
            from monai.inferers import sliding_window_inference
        with peak_over_now() as peak:
            _warm_up(network)
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


def _stack(what: str, side: int, large_on: str) -> dict[str, float]:
    del what
    network = _loaded(large_on)
    with peak_over_now() as peak:
        _warm_up(network)
        found = stack_seconds(network, side)
    return {**found, **peak}


def stack_seconds(network: Segmenter, side: int, at_once: int = 4) -> dict[str, float]:
    """64 slices from a zarr into a zarr: some at a time as a stack, and the same ones one by one (``bare_seconds``); by medians over turns.

    Few at a time slow both alike when others use the machine; all at once, batches follow each other, whose reading overlaps on a GPU.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_stack(Path(folder) / "stack.zarr", 64, side)
        image = zarr.open_array(str(Path(folder) / "stack.zarr"), mode="r")
        shape, chunks = image.shape, image.chunks
        labels = zarr.create_array(
            str(Path(folder) / "labels.zarr"), shape=shape, chunks=chunks, dtype="u1"
        )
        config = PredictConfig(tile_size_px=TILE_PX)
        predict(network, image[0], axes="YX", normalization=SCALING, config=config)
        seconds: dict[str, list[float]] = {"stack": [], "single": []}

        def together(planes: range) -> None:
            region = Region(tuple((z,) for z in planes))
            for _ in predict_tiles(
                *(network, image, "ZYX"),
                config=config,
                outputs=Outputs(labels),
                region=region,
                limits=limits,
            ):
                pass

        def one_by_one(planes: range) -> None:
            for z in planes:
                labels[z] = predict(
                    network, image[z], axes="YX", normalization=SCALING, config=config
                ).labels

        turns = [("stack", together), ("single", one_by_one)]
        started = time.perf_counter()
        limits = find_limits(network, image, "ZYX", SCALING)
        once = time.perf_counter() - started
        for first in range(0, shape[0], at_once):
            for what, work in turns:
                started = time.perf_counter()
                work(range(first, first + at_once))
                seconds[what].append(time.perf_counter() - started)
            turns.reverse()  # neither always follows the other
        stack, single = (len(found) * median(found) for found in seconds.values())
        return {"seconds": once + stack, "bare_seconds": single}


_CHILDREN: dict[str, Callable[[str, int, str], dict[str, float]]] = {
    "step_lw": _step,
    "step_full": _step,
    "tiled": _tiled,
    "rows_of_tiles": _rows_of_tiles,
    "sliding_ours": _sliding,
    "sliding_monai": _sliding,
    "stack": _stack,
}


def _loaded(backbone: str) -> Segmenter:
    """LW on this backbone, folded."""
    if backbone == "tiny":  # of which no weights need be there: speed does not depend on them
        return tiny("lw").folded()
    return build_segmenter(ModelConfig(backbone=backbone, adapter="lw"), CLASSES).folded()


def _warm_up(network: Segmenter) -> None:
    bare = _bare(network)
    for _ in range(3):
        bare()


def _bare(network: Segmenter) -> Callable[[], object]:
    tile = torch.rand(1, 1, TILE_PX, TILE_PX)

    @torch.inference_mode()
    def run() -> object:
        return network(tile)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=_CHILDREN)
    parser.add_argument("side", type=int)
    parser.add_argument("threads", type=int)
    parser.add_argument("large_on")
    options = parser.parse_args()
    share_one_heap()
    use_huge_pages()
    torch.set_num_threads(options.threads)
    print(json.dumps(_CHILDREN[options.what](options.what, options.side, options.large_on)))


if __name__ == "__main__":
    main()
