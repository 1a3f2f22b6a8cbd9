"""What the batch engine costs: over bare prediction, per image on a cluster, and what a second worker brings.

    python benchmarks/batch.py --json benchmarks/results/performance.jsonl --plot resources/batch-scheduling.png
    python benchmarks/batch.py --only overhead --images 20

A row has the form of those of `performance.py`. Run it on an idle machine: the times of two workers mean nothing on busy cores.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from distributed import Client, Scheduler, SpecCluster
from numpy.typing import NDArray
from performance import machine
from PIL import Image, ImageDraw, ImageFont

from napari_sam2_adapters.batch.cluster import local_workers
from napari_sam2_adapters.batch.dask_workers import DaskWorkers
from napari_sam2_adapters.batch.draft import Draft
from napari_sam2_adapters.batch.job import BatchJob
from napari_sam2_adapters.batch.report import Entry
from napari_sam2_adapters.batch.run import run_batch
from napari_sam2_adapters.batch.segment_item import Network, Progress
from napari_sam2_adapters.batch.shared_item import Opened, Part, Steps
from napari_sam2_adapters.batch.stamps import FileStamp
from napari_sam2_adapters.config import ModelConfig, Normalization, PredictConfig, default_classes
from napari_sam2_adapters.inference.predict import predict
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.models.model_file import load_adapter, save_adapter

SIDE_PX = 512
SCALING_IMAGES = 40
SCHEDULED = (1000, 2500, 5000, 10_000)


def main() -> None:
    """Measure what is asked for and write a row for each."""
    options = _options()
    for name in options.only or CASES:
        with tempfile.TemporaryDirectory() as folder:
            row = CASES[name](Path(folder), options)
        threads = 1 if name != "overhead" else options.threads
        load = round(os.getloadavg()[1], 1)  # of five minutes: says whether the machine was idle
        row = {"name": f"batch_{name}", **row, "load": load, **machine(threads)}
        row["command"] = f"batch.py --only {name}"
        print(json.dumps(row), flush=True)
        if options.json:
            with options.json.open("a") as stream:
                stream.write(json.dumps(row) + "\n")


def overhead(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Images by the engine, against `predict` on arrays that are in memory already.

    Each image is predicted barely as soon as the engine is done with it, so that a busy moment slows both alike. What the engine does before
    the first image and after the last one counts.
    """
    torch.set_num_threads(options.threads)
    job = _job(folder, options.images or 100)
    segmenter, header = load_adapter(job.model)
    network = segmenter.folded()
    config = PredictConfig(tile_size_px=header.tile_size_px)

    def bare(array: NDArray[np.uint8]) -> None:
        predict(network, array, axes="YX", normalization=header.normalization, config=config)

    seconds, baseline = [], []
    for _ in range(options.repeats):
        shutil.rmtree(job.output, ignore_errors=True)
        engine = between = 0.0
        records = run_batch(job)
        while True:
            started = time.perf_counter()
            record = next(records, None)
            engine += time.perf_counter() - started
            if record is None:
                break
            if record.status == "failed":
                raise SystemExit(record.reason)
            if record.status == "done":
                array = tifffile.imread(record.item.source)
                between += _timed(lambda array=array: bare(array))
        seconds.append(engine)
        baseline.append(between)
        print(f"{engine:.2f} s, bare {between:.2f} s: {engine / between:.4f}", flush=True)
    mine, theirs = statistics.median(seconds), statistics.median(baseline)
    n_images = len(list((folder / "images").iterdir()))
    row = _row(f"bare prediction of the {n_images} images of 512²", mine, theirs)
    return row | {"bar": 1.05, "ok": mine / theirs <= 1.05}


def scaling(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Two workers of one thread against one, each with its network loaded."""
    job = _job(folder, options.images or SCALING_IMAGES)
    seconds = {}
    for number in (2, 1):
        with _cluster(number, folder) as client:
            _last(job.model_copy(update={"output": folder / f"warm {number}"}), client)
            measured = []
            for repeat in range(options.repeats):
                again = job.model_copy(update={"output": folder / f"{number} {repeat}"})
                measured.append(_timed(lambda again=again, client=client: _last(again, client)))
            seconds[number] = statistics.median(measured)
    row = _row("one worker of one thread", seconds[2], seconds[1])
    row["speed_up"] = round(seconds[1] / seconds[2], 3)
    return row | {"bar": round(1 / 1.7, 3), "ok": seconds[1] / seconds[2] >= 1.7}


def scheduling(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What an image costs besides its segmentation, on two workers that do nothing."""

    def nothing(network: Network, part: Part) -> Generator[Progress, None, Entry]:
        yield Progress(part.task.item.index, 0.0, 1, 1)
        return _done(part)

    counts = [n for n in SCHEDULED if n <= (options.images or SCHEDULED[-1])]
    job = _job(folder, 1)
    costs, busy = [], []
    with _cluster(2, folder) as client:
        workers = DaskWorkers(client, steps=Steps(open=nothing))
        for _ in run_batch(job, cluster=workers):  # the workers get ready
            pass
        for count in counts:
            many = folder / f"many {count}"
            many.mkdir()
            for number in range(count):
                (many / f"{number}.tif").touch()
            wanted = job.model_copy(update={"folder": many, "output": folder / f"results {count}"})
            started = time.process_time()
            seconds = _timed(lambda wanted=wanted: _exhaust(run_batch(wanted, cluster=workers)))
            costs.append(1000 * seconds / count)
            busy.append(1000 * (time.process_time() - started) / count)
            print(f"{count} images: {costs[-1]:.2f} ms each, {busy[-1]:.2f} of them computing")
    if options.plot:
        _plot(options.plot, "images", counts, costs, busy)
    total = costs[-1] * counts[-1] / 1000
    row = _row("20 ms for each image", total, 0.02 * counts[-1])
    return row | {
        "bar": 1.0,
        "ok": costs[-1] <= 20,
        "milliseconds_by_images": _points(counts, costs),
        "computing_milliseconds_by_images": _points(counts, busy),
    }


def chunks(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What a chunk of one shared image costs besides its segmentation, on two workers that do nothing; a plane is a chunk here."""

    def begin(network: Network, part: Part) -> Generator[Progress, None, Opened]:
        yield Progress(part.task.item.index, 0.0, 0, 0)
        return Opened(
            draft=Draft(key="", folder="", array=""),
            shape=(int(part.task.item.source.stem), SIDE_PX, SIDE_PX),
            axes="ZYX",
            band_px=SIDE_PX,
            low=(0.0,),
            high=(1.0,),
            source=FileStamp.of(part.task.item.source),
        )

    def nothing(network: Network, part: Part) -> Generator[Progress, None, None]:
        first, stop = part.run or (0, 0)
        for band in range(first, stop):
            yield Progress(part.task.item.index, 0.0, band - first, stop - first, (), (band,))

    def end(network: Network, part: Part) -> Generator[Progress, None, Entry]:
        yield Progress(part.task.item.index, 0.0, 0, 0)
        return _done(part)

    counts = [n for n in SCHEDULED if n <= (options.images or SCHEDULED[-1])]
    job = _job(folder, 1)
    costs, busy = [], []
    with _cluster(2, folder) as client:
        workers = DaskWorkers(client, steps=Steps(open=begin, segment=nothing, finish=end))
        for count in (1, *counts):  # with the first, the workers get ready
            image = folder / f"one {count}" / f"{count}.tif"
            image.parent.mkdir()
            image.touch()
            wanted = job.model_copy(
                update={"folder": image.parent, "output": folder / f"results {count}"}
            )
            started = time.process_time()
            seconds = _timed(lambda wanted=wanted: _exhaust(run_batch(wanted, cluster=workers)))
            costs.append(1000 * seconds / count)
            busy.append(1000 * (time.process_time() - started) / count)
            print(f"{count} chunks: {costs[-1]:.2f} ms each, {busy[-1]:.2f} of them computing")
    del costs[0], busy[0]
    if options.plot:
        path = options.plot.with_stem(f"{options.plot.stem}-chunks")
        _plot(path, "chunks of one image", counts, costs, busy)
    total = costs[-1] * counts[-1] / 1000
    row = _row("20 ms for each chunk", total, 0.02 * counts[-1])
    return row | {
        "bar": 1.0,
        "ok": costs[-1] <= 20,
        "milliseconds_by_chunks": _points(counts, costs),
        "computing_milliseconds_by_chunks": _points(counts, busy),
    }


def _done(part: Part) -> Entry:
    item = part.task.item
    return Entry(
        name=item.name,
        image=item.image,
        status="done",
        settings_sha256=part.task.settings_sha256,
    )


def _points(counts: list[int], values: list[float]) -> dict[str, float]:
    return {str(count): round(value, 3) for count, value in zip(counts, values, strict=True)}


def _plot(path: Path, what: str, counts: list[int], costs: list[float], busy: list[float]) -> None:
    """Seconds over images or chunks as a PNG, with the bar of 20 ms for each."""
    width, height, left, bottom = 900, 560, 90, 70
    right, top = width - 40, 50
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=17)
    bar_s = 0.02 * counts[-1]
    most_s = max(bar_s, costs[-1] * counts[-1] / 1000) * 1.1

    def place(number: float, seconds: float) -> tuple[float, float]:
        return (
            left + (right - left) * number / counts[-1],
            height - bottom - (height - bottom - top) * seconds / most_s,
        )

    for step in range(6):
        _, y = place(0, most_s * step / 5)
        pen.line((left, y, right, y), "#e3e6eb")
        pen.text((left - 12, y), f"{most_s * step / 5:.0f}", "#333333", font, anchor="rm")
    for count in counts:
        x, y = place(count, 0)
        pen.text((x, y + 10), f"{count:,}", "#333333", font, anchor="mt")
    pen.line((*place(0, 0), *place(counts[-1], bar_s)), "#d55e00", 3)
    pen.text((left + 16, top + 10), "bar: 20 ms each", "#d55e00", font)
    for line, (values, colour, spent) in enumerate(
        ((costs, "#0072b2", "all in all"), (busy, "#009e73", "computing here")), 1
    ):
        text = f"{values[-1]:.1f} ms each {spent}"
        pen.text((left + 16, top + 10 + 26 * line), text, colour, font)
        points = [place(n, n * value / 1000) for n, value in zip(counts, values, strict=True)]
        pen.line([place(0, 0), *points], colour, 3)
        for x, y in points:
            pen.ellipse((x - 5, y - 5, x + 5, y + 5), colour)
    pen.text((left, 14), "Seconds besides segmentation", "#111111", font)
    pen.text((right, height - 26), what, "#111111", font, anchor="rt")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _job(folder: Path, n_images: int) -> BatchJob:
    model = folder / "mobile.adapter.safetensors"
    segmenter = build_segmenter(
        ModelConfig(adapter="hp", input_channels=1), default_classes([1, 2])
    )
    scaling = Normalization(mode="percentile")
    save_adapter(model, segmenter, normalization=scaling, tile_size_px=448)
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for number in range(n_images):
        image = rng.integers(0, 255, (SIDE_PX, SIDE_PX), dtype=np.uint8)
        tifffile.imwrite(folder / "images" / f"{number:04}.tif", image)
    return BatchJob(model=model, folder=folder / "images", output=folder / "results", device="cpu")


@contextmanager
def _cluster(n_workers: int, folder: Path) -> Iterator[Client]:
    workers = local_workers(n_workers, "cpu", str(folder))
    for worker in workers.values():
        worker["options"]["nthreads"] = 1
    options = {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": ":0"}
    with (
        SpecCluster(
            scheduler={"cls": Scheduler, "options": options},
            workers=workers,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.wait_for_workers(n_workers)
        yield client


def _last(job: BatchJob, client: Client | None = None) -> None:
    """Run a job to its end, and refuse times of one that failed."""
    workers = None if client is None else DaskWorkers(client)
    last = {record.item.index: record.status for record in run_batch(job, cluster=workers)}
    if set(last.values()) != {"done"}:
        raise SystemExit(f"Not all images of {job.folder} were segmented.")


def _exhaust(records: Iterator[Any]) -> None:
    for _ in records:
        pass


def _timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _row(baseline: str, seconds: float, baseline_seconds: float) -> dict[str, Any]:
    return {
        "baseline": baseline,
        "seconds": round(seconds, 4),
        "baseline_seconds": round(baseline_seconds, 4),
        "ratio": round(seconds / baseline_seconds, 3),
    }


CASES: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "overhead": overhead,
    "scaling": scaling,
    "scheduling": scheduling,
    "chunks": chunks,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=CASES, help="run these alone")
    parser.add_argument("--images", type=int, help="images, instead of 100, 40 and up to 10,000")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of torch, for overhead")
    parser.add_argument("--json", type=Path, help="file of JSON lines that grows")
    parser.add_argument(
        "--plot", type=Path, help="picture of the cost of scheduling; that of chunks lies beside it"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
