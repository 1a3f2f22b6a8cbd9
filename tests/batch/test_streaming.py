"""Labels that are streamed into OME-Zarr are those of a run in memory, also when the run was stopped and continued."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sam2_adapters.atomic import machine_id, remove_partial_files
from napari_sam2_adapters.batch import draft
from napari_sam2_adapters.batch.draft import kept_drafts
from napari_sam2_adapters.batch.job import BatchJob
from napari_sam2_adapters.batch.run import run_batch
from napari_sam2_adapters.batch.streaming import can_stream, stream_labels
from napari_sam2_adapters.config import Normalization, PredictConfig
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.io import read_labels, write_array
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.inference import tile_plan
from napari_sam2_adapters.inference.predict import predict

CONFIG = PredictConfig(tile_size_px=96)
PLACE = Geometry((2.0, 0.5, 0.25), "micrometer")


class Header:
    """What streaming reads of a model file's header."""

    normalization = Normalization(mode="percentile")


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    """Two planes of 300 × 180 px: three rows of chunks each."""
    plane = np.tile(load_sample("fluorescence").train_images[0], (2, 1))[:300, :180]
    return np.stack([plane, plane[::-1]])


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "CHUNK_PX", 128)


@pytest.fixture
def network(tiny_segmenter) -> Any:
    import torch

    segmenter = tiny_segmenter(adapter="lw")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in filter(lambda p: p.requires_grad, segmenter.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return segmenter.folded()


def stream(
    network: Any, volume: np.ndarray, target: Path, key: str | None = "a", **options: Any
) -> Any:
    image = ImageFile(volume, "ZYX", target.parent / "volume.tif", geometry=PLACE)
    return stream_labels(
        network, Header(), image, target, CONFIG, key=key, **{"overwrite": False, **options}
    )


def drained(tiles: Any) -> tuple[int, dict[int, int]]:
    count = 0
    while True:
        try:
            tile = next(tiles)
        except StopIteration as end:
            return count, end.value[1]
        count += 1
        assert tile.done <= tile.total


def whole(network: Any, volume: np.ndarray) -> np.ndarray:
    normalization = Header.normalization
    return predict(network, volume, axes="ZYX", normalization=normalization, config=CONFIG).labels


def test_streamed_is_as_in_memory(network, volume, tmp_path: Path) -> None:
    target = tmp_path / "labels.ome.zarr"
    _, counts = drained(stream(network, volume, target))
    expected = whole(network, volume)
    assert len(np.unique(expected)) > 1
    found = read_labels(target)
    np.testing.assert_array_equal(found.array[:], expected)
    assert found.geometry is not None
    assert found.geometry.pixel_size == PLACE.pixel_size
    assert [c.name for c in found.classes] == [c.name for c in network.classes]
    assert counts == dict(zip(*np.unique(expected, return_counts=True), strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["labels.ome.zarr"]


@pytest.mark.parametrize("stops", [(1,), (7, 9), (3, 3, 15)])
def test_a_stopped_run_goes_on_with_what_is_missing(
    network, volume, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    target = tmp_path / "labels.ome.zarr"
    undisturbed, _ = drained(stream(network, volume, tmp_path / "whole.ome.zarr"))
    done = 0
    for stop in stops:
        tiles = stream(network, volume, target)
        for _ in range(stop):
            next(tiles)
        tiles.close()
        done += stop
        assert not target.exists()
        # what a new run of the batch does first; the draft is kept, other leftovers are not
        (tmp_path / f".0123456789abcdef.{machine_id()}-{os.getpid()}.partial").touch()
        remove_partial_files(tmp_path, keep=kept_drafts(tmp_path))
        assert len(list(tmp_path.glob(".*.partial"))) == 1
    rest, counts = drained(stream(network, volume, target))
    np.testing.assert_array_equal(read_labels(target).array[:], whole(network, volume))
    assert sum(counts.values()) == volume.size
    # only what was not yet a whole row of chunks is done again: less than three rows of tiles a stop
    per_row = 3
    assert undisturbed <= done + rest <= undisturbed + 3 * per_row * len(stops)
    assert not list(tmp_path.glob(".*"))


def test_another_job_begins_anew(network, volume, tmp_path: Path) -> None:
    target = tmp_path / "labels.ome.zarr"
    undisturbed, _ = drained(stream(network, volume, tmp_path / "whole.ome.zarr"))
    tiles = stream(network, volume, target)
    for _ in range(12):
        next(tiles)
    tiles.close()
    count, _ = drained(stream(network, volume, target, key="b"))
    assert count == undisturbed
    assert not list(tmp_path.glob(".*"))


def test_nothing_is_replaced_unasked(network, volume, tmp_path: Path) -> None:
    target = tmp_path / "labels.ome.zarr"
    drained(stream(network, volume, target))
    with pytest.raises(FileExistsError, match="allow it to be overwritten"):
        next(stream(network, volume, target))
    drained(stream(network, volume, target, overwrite=True))


@pytest.mark.parametrize(
    ("name", "axes", "extra", "fits"),
    [
        ("a.ome.zarr", "ZYX", {}, True),
        ("a.ome.zarr", "TCZYX", {}, True),
        ("a.ome.zarr", "ZTYX", {}, False),
        ("a.ome.zarr", "ZYX", {"uncertainty": True}, False),
        ("a.tif", "ZYX", {}, False),
    ],
)
def test_what_can_be_streamed(name: str, axes: str, extra: dict[str, bool], fits: bool) -> None:
    assert can_stream(Path(name), axes, PredictConfig(**extra)) is fits


def test_a_batch_streams_and_goes_on(saved_model, volume, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    write_array(images / "a.tif", volume, axes="ZYX", geometry=PLACE)
    write_array(images / "b.ome.zarr", volume[0], axes="YX")
    job = BatchJob(
        model=saved_model(), folder=images, output=tmp_path / "out", label_format="ome.zarr"
    )
    plain = job.model_copy(update={"label_format": "tif", "output": tmp_path / "plain"})
    done = [r for r in run_batch(plain) if r.status == "done"]
    assert len(done) == 2

    records = run_batch(job)
    stopped = next(r for r in records if r.tiles > 0.8 * max(r.all_tiles, 1) > 0)
    records.close()
    assert not (job.output / "a.ome.zarr").exists()
    again = [r for r in run_batch(job) if r.status in ("running", "done")]
    assert min(r.tiles for r in again if r.item.name == stopped.item.name and r.tiles) >= 1
    assert sum(r.item.name == stopped.item.name for r in again) < stopped.tiles
    for name in ("a", "b"):
        found, expected = (
            read_labels(job.output / f"{name}.ome.zarr"),
            read_labels(plain.output / f"{name}.tif"),
        )
        np.testing.assert_array_equal(found.array[:], expected.array)
    assert found.pixel_size is None
    assert {r.status for r in run_batch(job)} == {"done"}  # nothing is done twice
    assert not list(job.output.glob(".*.partial"))


def test_labels_without_a_key_are_removed_when_they_are_left_but_not_those_of_another_run(
    network: Any, volume: np.ndarray, tmp_path: Path
) -> None:
    target = tmp_path / "a.ome.zarr"
    left = stream(network, volume, target, key=None)
    next(left)
    left.close()
    assert list(tmp_path.iterdir()) == []
    late = stream(network, volume, target, key=None)
    next(late)
    kept = stream(network, volume, target)
    next(kept)
    late.close()
    assert len(kept_drafts(tmp_path)) == 1
    drained(kept)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ome.zarr"]


@pytest.mark.parametrize("other", [None, "key"], ids=["predict", "batch"])
def test_labels_without_a_key_and_those_of_another_run_do_not_disturb_each_other(
    network: Any, volume: np.ndarray, tmp_path: Path, other: str | None
) -> None:
    target = tmp_path / "a.ome.zarr"
    one = stream(network, volume, target, key=other)
    next(one)
    two = stream(network, volume, target, key=None, overwrite=True)
    next(two)
    drained(one)
    drained(two)
    np.testing.assert_array_equal(read_labels(target).array[:], whole(network, volume))
    assert [path.name for path in tmp_path.iterdir()] == ["a.ome.zarr"]


class FullBeyond:
    """A network for which memory is full, from some pass on, for more than a number of pixels."""

    def __init__(self, network: Any, monkeypatch: pytest.MonkeyPatch, most_pixels: int) -> None:
        self.left = 10**9
        inner = type(network).forward

        def forward(segmenter: Any, image: Any) -> Any:
            self.left -= 1
            if self.left < 0 and image.shape[0] * image.shape[2] * image.shape[3] > most_pixels:
                raise MemoryError
            return inner(segmenter, image)

        monkeypatch.setattr(type(network), "forward", forward)


@pytest.mark.parametrize("passes", [0, 2, 9, 13])
@pytest.mark.parametrize("stop", [0, 6])
def test_progress_never_falls_back_when_tiles_become_smaller(
    network, volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, passes: int
) -> None:
    stack = np.concatenate([volume, volume[:1]])
    target = tmp_path / "labels.ome.zarr"
    memory = FullBeyond(network, monkeypatch, 32 * 32)
    monkeypatch.setattr(tile_plan, "SMALLEST_TILE_PX", 32)
    tiles = stream(network, stack, target)
    for _ in range(stop):
        next(tiles)
    tiles.close()
    shares, notices = [], []
    tiles = stream(network, stack, target)
    memory.left = 10**9
    for tile in tiles:
        if not shares:
            memory.left = passes  # what the plan measures fits
        notices.append(tile.notice)
        shares.append(Fraction(tile.done, tile.total))
    assert any("tiles of 32 px" in notice for notice in notices if notice)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert shares[-2] < 1
