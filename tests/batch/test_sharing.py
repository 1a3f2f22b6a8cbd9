"""A huge image among several workers gives the labels of a run in one process, whatever becomes of the workers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Generator, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client

from napari_sam2_adapters.batch import draft as draft_module
from napari_sam2_adapters.batch import remote
from napari_sam2_adapters.batch.bands import Bands, count_bands, joined, missing
from napari_sam2_adapters.batch.dask_workers import DaskWorkers
from napari_sam2_adapters.batch.draft import Draft
from napari_sam2_adapters.batch.job import BatchJob, BatchOptions
from napari_sam2_adapters.batch.plan import Item
from napari_sam2_adapters.batch.report import Entry
from napari_sam2_adapters.batch.run import ItemRecord, run_batch
from napari_sam2_adapters.batch.segment_item import Network, Progress, Task
from napari_sam2_adapters.batch.shared_item import (
    Opened,
    Part,
    Steps,
    finish_item,
    open_item,
    segment_bands,
)
from napari_sam2_adapters.batch.sharing import SharedImage
from napari_sam2_adapters.batch.stamps import FileStamp
from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.data.io import read_labels, write_array
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.inference.outputs import Outputs
from napari_sam2_adapters.inference.region import Region
from napari_sam2_adapters.inference.tiled_run import TiledRun
from napari_sam2_adapters.models.memory_plan import MemoryPlan
from napari_sam2_adapters.models.segmenter import Segmenter

HEIGHT, WIDTH, TILE = 2100, 96, 256
"""Five bands of chunks, the last of them low, and eleven rows of one tile."""


def sharing(**steps: Any) -> Steps:
    """Share images of any size; inner functions travel to the workers, which do not know this file."""

    def open_any(network: Network, part: Part) -> Generator[Progress, None, Entry | Opened]:
        return (yield from open_item(network, part, least_tiles=1))

    return Steps(open=open_any, **steps)


def noting(folder: Path, workers: int = 1) -> Steps:
    """Leave a file for each band when it is begun to be segmented, called by the process; nobody begins before so many workers can."""

    def segment(network: Network, part: Part) -> Generator[Progress, None, Entry | None]:
        assert part.run is not None
        (folder / f"process {os.getpid()}").touch()
        while len(list(folder.glob("process *"))) < workers:
            time.sleep(0.01)
        for band in range(*part.run):
            (folder / f"{band} {os.getpid()}").touch()
        return (yield from segment_bands(network, part))

    return sharing(segment=segment)


@pytest.fixture
def huge(tmp_path: Path, saved_model: Callable[..., Path]) -> BatchJob:
    sample = load_sample("fluorescence").train_images[0]
    across = np.tile(sample, (HEIGHT // sample.shape[0] + 1, WIDTH // sample.shape[1] + 1))
    write_array(tmp_path / "images" / "huge.ome.zarr", across[:HEIGHT, :WIDTH], axes="YX")
    return BatchJob(
        model=saved_model(),
        folder=tmp_path / "images",
        output=tmp_path / "results",
        label_format="ome.zarr",
        predict=PredictConfig(tile_size_px=TILE),
        device="cpu",
    )


@pytest.fixture(scope="module")
def whole() -> dict[str, dict[str, bytes]]:
    """Files of a run in one process, made once."""
    return {}


@pytest.fixture
def expected(huge: BatchJob, whole: dict[str, dict[str, bytes]]) -> dict[str, bytes]:
    if not whole:
        other = huge.model_copy(update={"output": huge.output.with_name("undisturbed")})
        assert last(run_batch(other)).status == "done"
        whole["files"] = files(other)
    return whole["files"]


def last(records: Iterable[ItemRecord]) -> ItemRecord:
    return list(records)[-1]


def files(job: BatchJob) -> dict[str, bytes]:
    """Every file of the labels, but not their link to the image."""
    folder = job.output / "huge.ome.zarr"
    found = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {str(name): content for name, content in found.items()}


def leftovers(job: BatchJob) -> list[str]:
    return sorted(p.name for p in job.output.glob(".*"))


def test_labels_of_many_hands_are_those_of_one(
    client: Client,
    wait_for_workers: Callable[[int], None],
    huge: BatchJob,
    expected: dict[str, bytes],
    tmp_path: Path,
) -> None:
    wait_for_workers(2)
    steps = noting(tmp_path, workers=2)
    records = list(run_batch(huge, cluster=DaskWorkers(client, steps=steps)))
    done = records[-1]
    assert done.status == "done"
    assert sum(done.pixels.values()) == HEIGHT * WIDTH
    assert files(huge) == expected
    assert len(np.unique(read_labels(huge.output / "huge.ome.zarr").array[:])) > 1
    begun = [p.name.split() for p in tmp_path.glob("[0-9] *")]
    assert sorted(int(band) for band, _ in begun) == list(range(5))  # nothing is done twice
    assert len({process for _, process in begun}) == 2
    running = [r for r in records if r.status == "running" and r.all_tiles]
    assert all(r.tiles <= r.all_tiles for r in running)
    assert running[-1].tiles == running[-1].all_tiles
    assert not leftovers(huge)
    assert last(run_batch(huge)).earlier


def test_a_worker_killed_with_a_part_in_hand_is_replaced(
    client: Client,
    wait_for_workers: Callable[[int], None],
    huge: BatchJob,
    expected: dict[str, bytes],
    tmp_path: Path,
) -> None:
    """The other worker goes on; what of the part was final stays."""

    def deadly(network: Network, part: Part) -> Generator[Progress, None, Entry | None]:
        assert part.run is not None
        steps, bands = segment_bands(network, part), list(range(*part.run))
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                return end.value
            final = [*progress.bands]
            yield progress
            # in the middle of the band after the first, once
            if bands[0] in final and len(bands) > 1 and not (tmp_path / "killed").exists():
                (tmp_path / "killed").write_text(str(bands[0]))
                os.kill(os.getpid(), signal.SIGKILL)
            for band in final:
                (tmp_path / f"{band} {os.getpid()}").touch()

    wait_for_workers(2)
    steps = sharing(segment=deadly)
    assert last(run_batch(huge, cluster=DaskWorkers(client, steps=steps))).status == "done"
    assert files(huge) == expected
    assert (tmp_path / "killed").exists()
    final = sorted(int(p.name.split()[0]) for p in tmp_path.glob("[0-9] *"))
    assert set(final) >= set(range(5)) - {int((tmp_path / "killed").read_text())}
    assert len(leftovers(huge)) == 0


def test_a_worker_killed_while_it_finishes_is_replaced(
    client: Client,
    wait_for_workers: Callable[[int], None],
    huge: BatchJob,
    expected: dict[str, bytes],
    tmp_path: Path,
) -> None:
    """Just behind the moment in which the labels get their name, before it can tell."""

    def deadly(network: Network, part: Part) -> Generator[Progress, None, Entry]:
        target = part.task.item.outputs["labels"]
        hidden = target.with_name(f".{target.name}.progress.json")
        kept = hidden.read_bytes()
        entry = yield from finish_item(network, part)
        if not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            hidden.write_bytes(kept)
            os.kill(os.getpid(), signal.SIGKILL)
        return entry

    wait_for_workers(1)
    steps = sharing(finish=deadly)
    assert last(run_batch(huge, cluster=DaskWorkers(client, steps=steps))).status == "done"
    assert (tmp_path / "killed").exists()
    assert files(huge) == expected
    assert not leftovers(huge)


def test_cancel_keeps_final_bands_and_a_run_without_workers_goes_on(
    client: Client,
    wait_for_workers: Callable[[int], None],
    huge: BatchJob,
    expected: dict[str, bytes],
) -> None:
    def one_band(network: Network, part: Part) -> Generator[Progress, None, Entry | None]:
        """Wait with a final band to be stopped, for whoever stops it may take long to hear of the band."""
        told = len(remote._stopped)
        for progress in segment_bands(network, part):
            yield progress
            while progress.bands and len(remote._stopped) == told:
                time.sleep(0.01)
        return None

    wait_for_workers(2)
    records = run_batch(huge, cluster=DaskWorkers(client, steps=sharing(segment=one_band)))
    for _ in records:
        if count_bands(state(huge).done) >= 1:
            break
    records.close()
    kept = state(huge)
    assert 1 <= count_bands(kept.done) < 5
    assert not (huge.output / "huge.ome.zarr").exists()
    again = [r for r in run_batch(huge) if r.status == "running" and r.all_tiles]
    bands = Bands((HEIGHT, WIDTH), "YX", 512)
    left = sum(bands.tiles(run, huge.predict or PredictConfig()) for run in missing(kept.done, 5))
    assert again[-1].tiles == left  # only what is missing
    assert files(huge) == expected


def test_workers_go_on_where_one_process_was_stopped(
    client: Client,
    wait_for_workers: Callable[[int], None],
    huge: BatchJob,
    expected: dict[str, bytes],
    tmp_path: Path,
) -> None:
    records = run_batch(huge)
    next(r for r in records if count_bands(state(huge).done) >= 2)
    records.close()
    kept = count_bands(state(huge).done)
    wait_for_workers(1)
    run = run_batch(huge, cluster=DaskWorkers(client, steps=noting(tmp_path)))
    assert last(run).status == "done"
    assert files(huge) == expected
    begun = {int(p.name.split()[0]) for p in tmp_path.glob("[0-9] *")}
    assert begun == set(range(kept, 5))


def test_a_band_that_kills_its_workers_fails_the_image_and_a_retry_goes_on(
    client: Client,
    wait_for_workers: Callable[[int], None],
    huge: BatchJob,
    expected: dict[str, bytes],
) -> None:
    hidden = huge.output / ".huge.ome.zarr.progress.json"

    def deadly(network: Network, part: Part) -> Generator[Progress, None, Entry | None]:
        if part.run is not None and part.run[1] == 5:
            while not Draft.model_validate_json(hidden.read_bytes()).done:
                time.sleep(0.01)  # the other worker has the first bands
            os.kill(os.getpid(), signal.SIGKILL)
        return (yield from segment_bands(network, part))

    wait_for_workers(2)  # one alone would be given all bands, and none would be final
    steps = sharing(segment=deadly)
    failed = last(run_batch(huge, cluster=DaskWorkers(client, steps=steps)))
    assert failed.status == "failed"
    assert "died without a word, twice" in failed.reason
    assert state(huge).done
    assert last(run_batch(huge)).earlier
    again = last(run_batch(huge, BatchOptions(retry_failed=True)))
    assert again.status == "done"
    assert files(huge) == expected


def test_an_image_whose_part_cannot_be_read_fails_with_the_reason(
    client: Client, wait_for_workers: Callable[[int], None], huge: BatchJob
) -> None:
    wait_for_workers(1)
    for chunk in (huge.folder / "huge.ome.zarr" / "0" / "3").iterdir():
        chunk.write_bytes(b"broken")
    failed = last(run_batch(huge, cluster=DaskWorkers(client, steps=sharing())))
    assert failed.status == "failed"
    assert failed.reason
    assert not (huge.output / "huge.ome.zarr").exists()


def state(job: BatchJob) -> Draft:
    """What the hidden file says; nothing is final where there is none yet."""
    file = job.output / ".huge.ome.zarr.progress.json"
    if not file.exists():
        return Draft(key="", folder="", array="")
    return Draft.model_validate_json(file.read_bytes())


def shared(n_rows: int, tmp_path: Path, n_planes: int = 1, tile: int = 448) -> SharedImage:
    item = Item(0, "a", tmp_path / "a.ome.zarr", {"labels": tmp_path / "b.ome.zarr"})
    predict = PredictConfig(tile_size_px=tile)
    task = Task(item, False, predict, "", tmp_path)
    opened = Opened(
        draft=Draft(key="k", folder="f", array="0"),
        shape=(n_planes, n_rows, 500),
        axes="ZYX",
        band_px=512,
        low=(0.0,),
        high=(1.0,),
        source=FileStamp(size=0, mtime_ns=0, sha256=""),
    )
    return SharedImage(task, opened)


def runs_of(image: SharedImage, n_workers: int) -> list[tuple[int, int]]:
    """Give out all bands, with no worker being done before."""
    runs = []
    while image.has_part:
        run = image.take_part(f"call {len(runs)}", n_workers).run
        assert run is not None
        runs.append(run)
    return runs


@pytest.mark.parametrize("n_workers", [1, 2, 7, 100])
@pytest.mark.parametrize(("rows", "planes"), [(16_384, 1), (700, 40), (513, 1), (2000, 3)])
def test_parts_cover_all_bands_once(tmp_path: Path, n_workers: int, rows: int, planes: int) -> None:
    image = shared(rows, tmp_path, planes)
    runs = runs_of(image, n_workers)
    bands = [band for run in runs for band in range(*run)]
    per_plane = -(-rows // 512)
    assert bands == list(range(per_plane * planes))
    assert len(runs) >= min(n_workers, len(bands))
    assert image.progress().tiles == 0


def test_seams_cost_little_where_an_image_is_much_larger_than_a_tile(tmp_path: Path) -> None:
    image = shared(32_768, tmp_path)
    whole = Bands((1, 32_768, 500), "ZYX", 512)
    predict = PredictConfig()
    alone = whole.tiles((0, whole.count), predict)
    assert sum(whole.tiles(run, predict) for run in runs_of(image, 2)) < 1.2 * alone


def test_whole_planes_are_given_out_while_there_are_enough(tmp_path: Path) -> None:
    runs = runs_of(shared(1000, tmp_path, 20), 2)
    assert all(first % 2 == 0 for first, _ in runs[:4])


def test_progress_does_not_fall_back_where_tiles_of_a_part_become_smaller_or_it_is_lost(
    tmp_path: Path,
) -> None:
    image = shared(16_384, tmp_path)
    shares = [Fraction(0)]

    def tell(progress: Progress) -> None:
        shares.append(Fraction(progress.tiles, progress.all_tiles))

    for tiles, all_tiles in ((5, 20), (3, 80), (80, 80)):
        image.take_part("one", 2) if tiles == 5 else None
        tell(image.take_progress("one", Progress(0, 1.0, tiles, all_tiles)))
    image.end_part("one")
    tell(image.progress())
    image.take_part("two", 2)
    tell(image.take_progress("two", Progress(0, 1.0, 10, 20)))
    image.lose_part("two")
    tell(image.progress())
    assert shares == sorted(shares)
    assert 0 < shares[1] < shares[3] < shares[-1] < 1


def test_what_a_lost_part_has_left_is_given_out_again(tmp_path: Path) -> None:
    image = shared(16_384, tmp_path)
    part = image.take_part("one", 2)
    assert part.run is not None
    assert part.run[0] == 0
    plan = MemoryPlan("tile", "cpu", 448, 2, 448, 10**8, 10**9)
    image.take_progress("one", Progress(0, 1.0, 5, 20, ("slow",), (0, 1), plan))
    assert image.opened.draft.done == ((0, 2),)
    assert image.lose_part("one") == 2
    again = image.take_part("two", 2)
    assert again.run is not None
    assert again.run[0] == 2
    assert Draft.model_validate_json(
        (tmp_path / ".b.ome.zarr.progress.json").read_bytes()
    ).done == ((0, 2),)
    assert image.progress().notices == ("slow",)
    assert image.progress().plan == plan


def test_bands_are_numbered_through_the_planes() -> None:
    bands = Bands((2, 3, 1200, 50), "TZYX", 512)
    assert (bands.per_plane, bands.count) == (3, 18)
    assert bands.number((1, 0), 1100) == 11
    config = PredictConfig()
    regions = [region for region, _ in bands.regions((1, 11), config)]
    assert [r.planes for r in regions] == [((0, 0),), ((0, 1), (0, 2)), ((1, 0),)]
    assert [r.rows for r in regions] == [slice(512, None), slice(None), slice(None, 1024)]
    assert [r.rows for r in (region for region, _ in bands.regions((4, 5), config))] == [
        slice(512, 1024)
    ]


@pytest.mark.parametrize(
    ("plane", "of_plane", "of_first_band"),
    [((600, 600), 1, 1), ((600, 1344), 4, 4), ((1344, 500), 4, 2), ((1344, 1344), 16, 8)],
)
def test_tiles_are_counted_as_they_are_laid_out(
    tiny_segmenter: Callable[..., Segmenter],
    plane: tuple[int, int],
    of_plane: int,
    of_first_band: int,
) -> None:
    bands = Bands((2, *plane), "ZYX", 512)
    for run, tiles in (((0, bands.per_plane), of_plane), ((0, 1), of_first_band)):
        assert bands.tiles(run, PredictConfig()) == tiles
    image = np.zeros((2, *plane), np.uint8)
    laid_out = TiledRun(
        *(tiny_segmenter(), image, "ZYX", [(0.0, 1.0)], PredictConfig(), Outputs(image)),
        Region(planes=((0,),)),
        live=False,
    )
    assert laid_out.total == of_plane


def test_runs_are_joined_and_missing_ones_found() -> None:
    runs = joined(joined(joined((), (4, 6)), (0, 1)), (6, 7))
    assert runs == ((0, 1), (4, 7))
    assert missing(runs, 9) == ((1, 4), (7, 9))
    assert joined(runs, (1, 4)) == ((0, 7),)
    assert joined(runs, (5, 5)) == runs
    assert missing((), 2) == ((0, 2),)
    assert missing(((0, 2),), 2) == ()
    assert draft_module.CHUNK_PX == 512
