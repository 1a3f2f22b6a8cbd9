"""The engine as the dock and the command line run it."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_sam2_adapters.batch.job import BatchJob, BatchOptions, read_job_file
from napari_sam2_adapters.batch.lock import LOCK_FILE, in_use, locked_folder
from napari_sam2_adapters.batch.run import ItemRecord, run_batch
from napari_sam2_adapters.batch.scheme import survey_batch
from napari_sam2_adapters.batch.segment_file import notes_of
from napari_sam2_adapters.batch.stamps import file_sha256
from napari_sam2_adapters.config import Normalization, PredictConfig
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.io import read_image, read_labels, write_array
from napari_sam2_adapters.inference.predict import predict
from napari_sam2_adapters.models.model_file import load_adapter, read_header


def run(job: BatchJob, **options: bool) -> dict[str, ItemRecord]:
    """The last record of each image."""
    return {record.item.name: record for record in run_batch(job, BatchOptions(**options))}


def statuses(last: dict[str, ItemRecord]) -> Counter[str]:
    return Counter(record.status for record in last.values())


def results_of(folder: Path) -> dict[str, bytes]:
    """Content of every file but the reports, which hold times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("report.")
    }


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "report.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_comes_out_as_predicted_with_a_report(job: BatchJob, images: Path) -> None:
    records = list(run_batch(job))
    assert [record.status for record in records[:4]] == ["pending"] * 4
    of_second = [r.status for r in records[4:] if r.item.index == 1]
    assert of_second[0] == "running"
    assert of_second[-1] == "done"
    at_work = [r for r in records if r.status == "running" and r.all_tiles]
    assert [r.tiles for r in at_work] == [0, 1] * 4  # the plan comes before the first tile
    assert {r.plan and (r.plan.at_once, r.plan.side_px) for r in at_work} == {(1, 40)}  # all of it
    segmenter, header = load_adapter(job.model)
    for number in range(4):
        image = read_image(images / f"cell {number}.tif")
        expected = predict(
            segmenter.folded(),
            image.array,
            axes="YX",
            normalization=header.normalization,
            config=PredictConfig(tile_size_px=64),
        )
        mask = read_labels(job.output / f"cell {number}.tif")
        np.testing.assert_array_equal(mask.array, expected.labels)
        assert mask.pixel_size == pytest.approx((0.5, 0.5))
        assert mask.unit == "micrometer"
        (done,) = [r for r in records if r.item.index == number and r.status == "done"]
        assert set(np.unique(expected.labels)) == {1, 2}
        counted = {f"class {v}": int((expected.labels == v).sum()) for v in (1, 2)}
        assert done.pixels == counted
        row = table(job.output)[number]
        assert row["status"] == "done"
        assert row["result"] == f"cell {number}.tif"
        assert {k: int(row[f"pixels of {k}"]) for k in counted} == counted
        assert (row["pixel_size_z"], row["pixel_size_y"], row["unit"]) == ("", "0.5", "micrometer")
    about = read_job_file(job.output)
    assert about is not None
    assert about.model_sha256 == file_sha256(job.model)
    assert about.job.predict == PredictConfig(tile_size_px=64)
    assert [info.name for info in about.classes] == ["class 1", "class 2"]
    assert not (job.output / LOCK_FILE).exists()


def test_the_report_grows_as_it_goes(job: BatchJob) -> None:
    done = 0
    for record in run_batch(job):
        if record.status == "done":
            done += 1
            lines = (job.output / "report.jsonl").read_text().splitlines()
            finished = [json.loads(line)["status"] for line in lines]
            assert finished.count("done") == done
            assert len(table(job.output)) == done


def test_a_second_start_does_nothing_twice(job: BatchJob, images: Path, write_image) -> None:
    run(job)
    before = results_of(job.output)
    times = {path: path.stat().st_mtime_ns for path in job.output.glob("*.tif")}
    again = run(job)
    assert all(record.earlier and record.status == "done" for record in again.values())
    assert again["cell 0"].pixels
    assert {path: path.stat().st_mtime_ns for path in job.output.glob("*.tif")} == times

    write_image(images / "cell 1.tif", seed=77)  # changed
    write_image(images / "cell 9.tif", seed=9)  # new
    os.utime(images / "cell 2.tif", ns=(1, 1))  # copied: another time, the same content
    (job.output / "cell 3.tif").unlink()  # its result is lost
    third = run(job)
    assert {name for name, record in third.items() if not record.earlier} == {
        *("cell 1", "cell 3", "cell 9")
    }
    assert statuses(third) == {"done": 5}
    after = results_of(job.output)
    assert after["cell 3.tif"] == before["cell 3.tif"]
    assert after["cell 1.tif"] != before["cell 1.tif"]
    assert len(table(job.output)) == 5


def test_other_settings_never_mix_into_the_results(
    job: BatchJob, saved_model: Callable[..., Path]
) -> None:
    run(job)
    before = results_of(job.output)
    faster = PredictConfig(tile_size_px=64, batch_size=4)
    assert all(r.earlier for r in run(job.model_copy(update={"predict": faster})).values())
    for other in ({"predict": PredictConfig(tile_size_px=96)}, {"model": saved_model(5)}):
        changed = job.model_copy(update=other)
        with pytest.raises(ValueError, match="with other settings"):
            run(changed)
    assert results_of(job.output).keys() == before.keys()
    replaced = run(changed, overwrite=True)
    assert statuses(replaced) == {"done": 4}
    assert not any(record.earlier for record in replaced.values())
    assert (job.output / "cell 0.tif").read_bytes() != before["cell 0.tif"]
    assert len(table(job.output)) == 4


def test_a_survey_says_where_images_stand_and_writes_nothing(job: BatchJob, images: Path) -> None:
    before = survey_batch(job)
    assert [record.status for record in before.records] == ["pending"] * 4
    assert not job.output.exists()
    (images / "cell 3.tif").write_bytes(b"broken")
    run(job)
    state = results_of(job.output)
    after = survey_batch(job)
    assert [record.status for record in after.records] == ["done"] * 3 + ["failed"]
    assert all(record.earlier for record in after.records)
    assert not after.conflict
    again = survey_batch(job, BatchOptions(retry_failed=True))
    assert [record.status for record in again.records] == ["done"] * 3 + ["pending"]
    other = job.model_copy(update={"predict": PredictConfig(tile_size_px=96)})
    assert "with other settings" in survey_batch(other).conflict
    assert not survey_batch(other, BatchOptions(overwrite=True)).conflict
    assert results_of(job.output) == state


def test_results_can_be_made_anew(job: BatchJob) -> None:
    run(job)
    assert not any(record.earlier for record in run(job, skip_done=False).values())


def test_files_of_a_user_are_left_alone(job: BatchJob) -> None:
    job.output.mkdir()
    drawn = job.output / "cell 2.tif"
    drawn.write_bytes(b"drawn by hand")
    first = run(job)
    assert statuses(first) == {"done": 3, "failed": 1}
    assert "is not a result of this batch" in first["cell 2"].reason
    assert drawn.read_bytes() == b"drawn by hand"

    corrected = job.output / "cell 1.tif"
    tifffile.imwrite(corrected, np.ones((40, 40), np.uint8))
    mine = corrected.read_bytes()
    second = run(job, retry_failed=True)
    assert "was changed after it was written" in second["cell 1"].reason
    assert corrected.read_bytes() == mine
    assert {row["status"] for row in table(job.output) if "cell 1" in row["image"]} == {"failed"}

    drawn.unlink()
    assert run(job)["cell 2"].status == "done"  # without asking for what failed
    assert run(job, overwrite=True)["cell 1"].status == "done"
    assert corrected.read_bytes() != mine


def test_images_of_one_name_in_two_folders_keep_their_results(
    job: BatchJob, tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    run(job)
    before = results_of(job.output)
    write_image(tmp_path / "other" / "cell 1.tif", seed=40)
    (tmp_path / "other" / "cell 2.tif").write_bytes((tmp_path / "images/cell 2.tif").read_bytes())
    other = job.model_copy(update={"folder": tmp_path / "other"})
    for _ in range(2):  # also when it was refused before
        last = run(other)
        assert last["cell 1"].status == "failed"
        assert f"is the result of {tmp_path / 'images' / 'cell 1.tif'}" in last["cell 1"].reason
        assert last["cell 2"].earlier  # moved, but the same image
    after = results_of(job.output)
    assert {name: after[name] for name in before if name != "job.json"} == {
        name: content for name, content in before.items() if name != "job.json"
    }
    assert all(record.earlier for record in run(job).values())
    assert run(other, overwrite=True)["cell 1"].status == "done"


def test_a_half_written_result_is_not_taken_for_one(job: BatchJob) -> None:
    run(job)
    mask = job.output / "cell 0.tif"
    whole = mask.read_bytes()
    mask.write_bytes(whole[:100])
    assert run(job)["cell 0"].status == "failed"
    mask.unlink()
    assert run(job)["cell 0"].status == "done"
    assert mask.read_bytes() == whole


def test_one_bad_file_never_stops_the_rest(
    tmp_path: Path, job: BatchJob, write_image: Callable[..., Path]
) -> None:
    folder = tmp_path / "many"
    for number in range(20):
        write_image(folder / f"good {number:02}.tif", number)
    good = (folder / "good 00.tif").read_bytes()
    broken = {
        "empty.tif": b"",
        "text.tif": b"this is no image",
        "cut.tif": good[: len(good) // 2],
        "header.tif": b"II*\0" + b"\xff" * 60,
        "liar.png": good,
        "noise.png": b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
        "noise.jpg": b"\xff\xd8\xff" + b"\0" * 50,
    }
    for name, content in broken.items():
        (folder / name).write_bytes(content)
    colour = np.zeros((40, 40, 3), np.uint8)
    tifffile.imwrite(folder / "colour.tif", colour, photometric="rgb")
    tifffile.imwrite(folder / "complex.tif", np.zeros((40, 40), np.complex64))
    (folder / "nowhere.tif").symlink_to(folder / "not here.tif")
    (folder / "folder.tif").mkdir()
    last = run(job.model_copy(update={"folder": folder}))
    failed = {name: record.reason for name, record in last.items() if record.status == "failed"}
    assert set(failed) == {Path(name).stem for name in broken} | {"colour", "complex"} - {"noise"}
    assert statuses(last)["done"] == 20
    for reason in failed.values():
        assert reason.endswith(".")
        assert "Traceback" not in reason
        assert "should not happen" not in reason
    assert "3 channels" in failed["colour"]


def test_an_image_without_a_number_fails(job: BatchJob, images: Path) -> None:
    tifffile.imwrite(images / "lost.tif", np.full((40, 40), np.nan, np.float32))
    for label_format in ("tif", "ome.zarr"):
        output = job.output / f"as_{label_format[:3]}"
        records = run(job.model_copy(update={"label_format": label_format, "output": output}))
        reasons = {name: record.reason for name, record in records.items()}
        assert [name for name, reason in reasons.items() if reason] == ["lost"], reasons
        assert "NaN or infinite" in records["lost"].reason
        assert not (output / f"lost.{label_format}").exists()


def test_what_failed_is_tried_again_on_request(
    job: BatchJob, images: Path, write_image: Callable[..., Path]
) -> None:
    good = (images / "cell 3.tif").read_bytes()
    (images / "cell 3.tif").write_bytes(b"broken")
    assert statuses(run(job)) == {"done": 3, "failed": 1}
    again = run(job)["cell 3"]
    assert again.earlier
    assert "cannot be read" in again.reason
    tried = run(job, retry_failed=True)["cell 3"]
    assert not tried.earlier
    (images / "cell 3.tif").write_bytes(good)  # mended: tried without being asked
    assert run(job)["cell 3"].status == "done"
    assert [row["status"] for row in table(job.output)] == ["done"] * 4


def test_cancel_ends_after_the_tile_and_the_next_start_goes_on(
    job: BatchJob, images: Path, write_image: Callable[..., Path]
) -> None:
    write_image(images / "cell 1.tif", seed=1, side=160)
    records = run_batch(job)
    for record in records:
        if record.item.name == "cell 1" and record.tiles == 2:
            assert record.all_tiles > 2
            break
    records.close()
    assert sorted(path.name for path in job.output.glob("*.tif")) == ["cell 0.tif"]
    assert not (job.output / LOCK_FILE).exists()
    last = run(job)
    assert [record.earlier for record in last.values()] == [True, False, False, False]
    undisturbed = job.model_copy(update={"output": job.output.with_name("undisturbed")})
    run(undisturbed)
    one, other = results_of(job.output), results_of(undisturbed.output)
    del one["job.json"], other["job.json"]  # they name their folders
    assert one == other


def test_a_cancelled_repetition_keeps_what_was_known(job: BatchJob) -> None:
    run(job)
    records = run_batch(job, BatchOptions(skip_done=False))
    for record in records:
        if record.tiles:
            break
    records.close()
    assert all(record.earlier for record in run(job).values())


def test_two_runs_on_one_folder_are_refused(job: BatchJob) -> None:
    records = run_batch(job)
    next(records)
    with pytest.raises(
        BlockingIOError, match=rf"Another run is at work .* \(process {os.getpid()} on"
    ):
        next(run_batch(job))
    records.close()
    assert statuses(run(job)) == {"done": 4}


def test_a_folder_is_in_use_as_long_as_a_run_is_at_work_on_it(job: BatchJob) -> None:
    assert not in_use(job.output)  # nor is it made
    assert not job.output.exists()
    records = run_batch(job)
    next(records)
    assert f"(process {os.getpid()} on" in in_use(job.output)
    records.close()
    assert not in_use(job.output)


def test_a_lock_left_by_a_dead_process_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text('{"process": 1, "computer": "x", "since": "2020"}')
    with locked_folder(tmp_path):
        assert (tmp_path / LOCK_FILE).exists()


@pytest.mark.parametrize("what", ["missing", "damaged"])
def test_a_model_that_cannot_be_used_ends_the_run_before_it_begins(
    job: BatchJob, tmp_path: Path, what: str
) -> None:
    model = tmp_path / "x.adapter.safetensors"
    if what == "damaged":
        model.write_bytes(job.model.read_bytes()[:-100])
    with pytest.raises((ValueError, FileNotFoundError), match=r"x\.adapter\.safetensors"):
        run(job.model_copy(update={"model": model}))
    assert not list(tmp_path.rglob("report.csv")) or not table(job.output)


def test_a_model_that_is_replaced_while_a_batch_begins_is_not_taken_for_the_one_before(
    job: BatchJob, tmp_path: Path, saved_model: Callable[..., Path]
) -> None:
    model = tmp_path / "cells.adapter.safetensors"
    model.write_bytes(job.model.read_bytes())
    records = run_batch(job.model_copy(update={"model": model}))
    next(records)  # the checksum of the model is in the reports by now, but it is not loaded yet
    model.write_bytes(saved_model(6).read_bytes())
    with pytest.raises(ValueError, match="was replaced or removed while the batch began"):
        list(records)
    assert not list(job.output.glob("*.tif"))


def test_an_image_that_changes_meanwhile_fails(job: BatchJob, images: Path, write_image) -> None:
    for record in run_batch(job):
        if record.item.name == "cell 2" and record.tiles:
            write_image(images / "cell 2.tif", seed=50)
        if record.item.name == "cell 2" and record.status == "failed":
            assert "was changed while" in record.reason
            break
    else:
        pytest.fail("nothing was said")
    assert run(job)["cell 2"].status == "done"


def test_all_kinds_of_results(job: BatchJob) -> None:
    everything = PredictConfig(tile_size_px=64, probabilities=True, uncertainty=True)
    wanted = job.model_copy(update={"predict": everything, "label_format": "ome.tif"})
    last = run(wanted)
    assert statuses(last) == {"done": 4}
    names = {path.name for path in job.output.glob("cell 0*")}
    beside = {"cell 0_probabilities.ome.tif", "cell 0_uncertainty.ome.tif"}
    assert names == {"cell 0.ome.tif", *beside}
    assert read_image(job.output / "cell 0_probabilities.ome.tif").array.shape == (2, 40, 40)
    assert all(record.earlier for record in run(wanted).values())
    (job.output / "cell 0_uncertainty.ome.tif").unlink()
    assert not run(wanted)["cell 0"].earlier


@pytest.mark.parametrize("ending", ["ome.zarr", "nii.gz"])
def test_probabilities_have_the_format_of_the_masks(job: BatchJob, ending: str) -> None:
    predict = PredictConfig(tile_size_px=64, probabilities=True)
    wanted = job.model_copy(update={"predict": predict, "label_format": ending})
    assert statuses(run(wanted)) == {"done": 4}
    mask = np.squeeze(read_labels(job.output / f"cell 0.{ending}").array[:])
    found = read_image(job.output / f"cell 0_probabilities.{ending}")
    np.testing.assert_array_equal(np.squeeze(found.array[:]).argmax(0) + 1, mask)
    assert found.pixel_size is not None
    assert found.pixel_size[-2:] == pytest.approx((0.5, 0.5))
    assert all(record.earlier for record in run(wanted).values())
    again = run(wanted, skip_done=False, overwrite=True)
    assert statuses(again) == {"done": 4}
    assert not any(record.earlier for record in again.values())


def test_png_takes_planes_and_refuses_stacks_before_the_work(job: BatchJob, images: Path) -> None:
    tifffile.imwrite(
        images / "stack.tif", np.zeros((5, 40, 40), np.uint8), metadata={"axes": "ZYX"}
    )
    last = run(job.model_copy(update={"label_format": "png"}))
    assert "one plane" in last["stack"].reason
    assert last["stack"].seconds < 1
    assert read_labels(job.output / "cell 0.png").array.shape == (40, 40)


def test_names_of_every_kind(
    tmp_path: Path, job: BatchJob, write_image: Callable[..., Path]
) -> None:
    folder = tmp_path / "ordner mit ü und leer"
    names = ["ä ö ü 細胞 🧫", "two\nlines", '=cmd|"a","b"', "n" * 251, "-dash", "50% #1", "a.b.c"]
    for number, name in enumerate(names):
        write_image(folder / f"{name}.tif", number)
    os.link(folder / "a.b.c.tif", os.fsencode(folder) + b"/caf\xe9.tif")
    output = tmp_path / "résultats 2"
    wanted = job.model_copy(update={"folder": folder, "output": output})
    assert statuses(run(wanted)) == {"done": 8}
    assert {f"{name}.tif" for name in names} < {path.name for path in output.iterdir()}
    assert all(record.earlier for record in run(wanted).values())
    assert {row["image"] for row in table(output)} >= {str(folder / f"{n}.tif") for n in names}


def test_a_name_that_leaves_no_room_for_hidden_files(
    tmp_path: Path, job: BatchJob, write_image: Callable[..., Path]
) -> None:
    """OME-Zarr is streamed, with a hidden file beside it."""
    for name in ("n" * 246, "ü" * 123):
        write_image(tmp_path / "long" / f"{name}.tif")
    wanted = job.model_copy(update={"folder": tmp_path / "long", "label_format": "ome.zarr"})
    assert statuses(run(wanted)) == {"done": 2}
    assert not list(job.output.glob(".*"))
    assert all(record.earlier for record in run(wanted).values())


def test_another_pixel_size_is_told(job: BatchJob, images: Path) -> None:
    coarse = {"imagej": True, "resolution": (0.5, 0.5), "metadata": {"unit": "um"}}
    tifffile.imwrite(images / "coarse.tif", np.eye(40, dtype=np.uint8), **coarse)
    (note,) = run(job)["coarse"].notices
    assert "pixels are 2 micrometer wide" in note


@pytest.mark.parametrize(
    ("size", "unit", "told"),
    [
        (500.0, "nanometer", ""),
        (50.0, "nanometer", "pixels are 0.05 micrometer wide, but the adapter was trained on 0.5."),
        (0.5, "millimeter", "pixels are 500 micrometer wide"),
        (2.0, "micron", "pixels are 2 micrometer wide"),
        (2.0, None, ""),
        (2.0, "furlong", ""),
    ],
)
def test_pixel_sizes_are_compared_in_one_unit(
    saved_model, size: float, unit: str | None, told: str
) -> None:
    place = Geometry((size, size), unit)
    image = ImageFile(np.eye(40, dtype=np.uint8), "YX", Path("a.tif"), geometry=place)
    notes = notes_of(image, read_header(saved_model()))
    assert told in "".join(notes)
    assert bool(notes) is bool(told)


def test_grey_values_that_the_adapter_does_not_take_are_told(tmp_path: Path, saved_model) -> None:
    fixed = Normalization(mode="range", low=0, high=255)
    header = read_header(saved_model()).model_copy(update={"normalization": fixed})
    path = tmp_path / "a.tif"
    for dtype, factor, count in ((np.uint8, 1, 0), (np.float32, 1 / 255, 1)):
        tifffile.imwrite(path, (np.arange(1600).reshape(40, 40) % 256 * factor).astype(dtype))
        assert len(notes_of(read_image(path), header)) == count


@pytest.mark.parametrize("label_format", ["ome.zarr", "npz"])
def test_results_with_classes_are_known_again(job: BatchJob, label_format: str) -> None:
    """Also those that are folders: left alone while they stay, made again when they were changed and may be replaced."""
    job = job.model_copy(update={"label_format": label_format})
    assert statuses(run(job)) == {"done": 4}
    path = job.output / f"cell 0.{label_format}"
    labels = read_labels(path)
    assert [info.name for info in labels.classes] == ["class 1", "class 2"]
    assert labels.pixel_size == pytest.approx((0.5, 0.5))
    values = np.asarray(labels.array[:])
    assert all(record.earlier for record in run(job).values())
    changed = path / "0" / "0" / "0" if path.is_dir() else path
    changed.write_bytes(b"")
    assert not run(job, overwrite=True)["cell 0"].earlier
    np.testing.assert_array_equal(np.asarray(read_labels(path).array[:]), values)


def test_an_ome_zarr_is_an_image_of_a_batch(job: BatchJob, images: Path) -> None:
    cell = read_image(images / "cell 0.tif")
    write_array(images / "zarr.ome.zarr", cell.array, axes="YX", geometry=cell.geometry)
    last = run(job)
    assert statuses(last) == {"done": 5}
    one, other = (read_labels(job.output / f"{name}.tif") for name in ("cell 0", "zarr"))
    np.testing.assert_array_equal(one.array, other.array)
    assert one.geometry == other.geometry
    assert all(record.earlier for record in run(job).values())
