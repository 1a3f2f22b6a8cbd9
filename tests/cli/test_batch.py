"""The command line of a batch; the engine is tested in tests/batch."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner, Result

from napari_sam2_adapters.batch.run import run_batch
from napari_sam2_adapters.cli import app
from napari_sam2_adapters.data.io import read_image


def arguments(model: Path, images: Path, output: Path, *more: str) -> list[str]:
    return [
        *("batch", "--device", "cpu", "--model", str(model)),
        *("--images", str(images), "--output", str(output), *more),
    ]


def batch(*given: Path | str) -> Result:
    return CliRunner().invoke(app, arguments(*given))


@pytest.fixture
def folder(blobs: Path, tmp_path: Path) -> Path:
    """Two images and a broken one."""
    (tmp_path / "images").mkdir()
    for number in range(2):
        source = blobs / "images" / f"cell{number}.tif"
        (tmp_path / "images" / source.name).write_bytes(source.read_bytes())
    (tmp_path / "images" / "broken.tif").write_bytes(b"broken")
    return tmp_path / "images"


@pytest.mark.parametrize("workers", [(), ("--workers", "1")])
def test_plans_of_larger_tiles_and_of_those_that_do_not_fit_are_shown(
    blobs: Path,
    trained: Path,
    tmp_path: Path,
    workers: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SAM2_ADAPTERS_MEMORY_SHARE", "0.9")  # put back after the test
    cell = read_image(blobs / "images" / "cell0.tif").array
    (tmp_path / "images").mkdir()
    for name, tiles in (("a", 1), ("b", 3), ("c", 1), ("d", 3)):
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", np.tile(cell, (tiles, tiles)))
    arguments = "--tile-size-px", "256", "--memory-share", "0.0001", *workers
    done = batch(trained, tmp_path / "images", tmp_path / "results", *arguments)
    assert done.exit_code == 0, done.output
    plans = [line for line in done.stdout.splitlines() if line.startswith("Memory plan")]
    assert [plan.partition(" px")[0] for plan in plans] == [
        f"Memory plan: 1 tile of {side}" for side in (cell.shape[0], 128)
    ]
    assert all("it is tried all the same" in plan for plan in plans)


def test_what_is_wrong_with_a_cluster_is_said_before_anything_is_written(
    folder: Path, trained: Path, tmp_path: Path
) -> None:
    options = tmp_path / "slurm.yaml"
    options.write_text("cores: many")
    arguments = "--workers", "1", "--slurm", "--slurm-options", str(options)
    wrong = batch(trained, folder, tmp_path / "results", *arguments)
    assert wrong.exit_code == 2
    assert "options that dask-jobqueue does not take" in " ".join(wrong.stderr.split())
    assert wrong.stdout == ""
    assert not (tmp_path / "results").exists()


def test_a_folder_is_segmented_and_summed_up(folder: Path, trained: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    first = batch(trained, folder, results)
    assert first.exit_code == 1
    assert "2 of 3 images are segmented." in first.stdout
    assert "broken failed: " in first.stderr
    assert first.stdout.count("Memory plan: 1 tile of ") == 1  # both are of one size
    assert "1 image failed, report.csv says why" in first.stderr
    assert "Traceback" not in first.output
    names = {path.name for path in results.iterdir()}
    assert names == {"cell0.tif", "cell1.tif", "job.json", "report.csv", "report.jsonl"}
    with (results / "report.csv").open(encoding="utf-8-sig") as file:
        rows = {Path(row["image"]).stem: row for row in csv.DictReader(file)}
    assert int(rows["cell0"]["pixels of bright"]) + int(rows["cell0"]["pixels of dark"]) == 96**2

    again = batch(trained, folder, results)
    assert "2 of them by an earlier run" in again.stdout
    assert (
        "1 of them failed in an earlier run and was left alone; --again failed tries it."
        in again.stderr
    )
    (folder / "broken.tif").unlink()
    assert batch(trained, folder, results).exit_code == 0


def test_tables_pictures_and_a_page(folder: Path, trained: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    done = batch(trained, folder, results, "--measurements", "--html-report")
    assert done.exit_code == 1
    assert f"with pictures in {results / 'report.html'}." in done.stdout
    assert (results / "measurements" / "cell0.csv").is_file()
    assert (results / "overlays" / "cell1.png").is_file()
    assert "broken" in (results / "report.html").read_text(encoding="utf-8")


def test_other_settings_are_refused_until_asked_for(
    folder: Path, trained: Path, tmp_path: Path
) -> None:
    results, more = tmp_path / "results", ("--pattern", "cell0*", "--tile-size-px", "96")
    assert batch(trained, folder, results, "--pattern", "cell0*").exit_code == 0
    refused = batch(trained, folder, results, *more)
    assert refused.exit_code == 2
    assert "with other settings" in refused.stderr
    assert batch(trained, folder, results, *more, "--overwrite").exit_code == 0


def test_a_disk_that_fills_up_ends_with_a_sum(
    folder: Path, trained: Path, small_disk: Path
) -> None:
    content = (folder / "cell0.tif").read_bytes()
    for number in range(40):
        (folder / f"copy{number}.tif").write_bytes(content)
    (small_disk / "movie").write_bytes(b"\0" * 100_000)
    result = batch(trained, folder, small_disk / "results", "--pattern", "copy*")
    assert result.exit_code == 1
    assert "Make room" in result.stderr
    done = int(result.stdout.split(" of 40 images are segmented")[0].split()[-1])
    masks = len(list((small_disk / "results").glob("*.tif")))
    assert masks - 1 <= done <= masks  # it may have been the report that had no room any more
    assert 0 < done < 40


def test_one_image_is_summed_up_as_one(folder: Path, trained: Path, tmp_path: Path) -> None:
    result = batch(trained, folder / "cell0.tif", tmp_path / "results")
    assert "1 of 1 image is segmented. The results" in result.stdout


def test_a_list_of_images(folder: Path, trained: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("image,dose\nimages/cell1.tif,3\n")
    result = batch(trained, listed, tmp_path / "results", "--masks-as", "png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "results" / "cell1.png").is_file()


def test_the_settings_file_may_say_who_works_and_what_comes_besides(
    folder: Path, trained: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("extras: {overlays: true}\ncluster: {scheduler: tcp://a:1, workers: 2}\n")
    refused = batch(trained, folder, tmp_path / "results", "--settings", str(settings))
    assert refused.exit_code == 2
    assert "either joins a running scheduler" in refused.stderr
    settings.write_text("extras: {overlays: true}\n")
    batch(trained, folder, tmp_path / "results", "--settings", str(settings))
    assert (tmp_path / "results" / "overlays" / "cell1.png").is_file()


def test_a_log_without_a_terminal_says_how_far_it_is(
    folder: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the command hides its module
    monkeypatch.setattr(sys.modules["napari_sam2_adapters.cli.batch"], "_LOG_INTERVAL_S", 0)
    told = batch(trained, folder, tmp_path / "results").stderr.splitlines()
    assert told.index("0 of 3 images") < told.index("2 of 3 images") < told.index("3 of 3 images")
    small = ("--tile-size-px", "64", "--overlap", "0", "--batch-size", "1")
    cell = read_image(folder / "cell0.tif").array
    tifffile.imwrite(tmp_path / "cell0.tif", np.tile(cell, (2, 2))[:128, :128])
    told = batch(trained, tmp_path / "cell0.tif", tmp_path / "one", *small).stderr.splitlines()
    assert [line for line in told if "tiles" in line] == [
        f"0 of 1 image, cell0: {done} of 4 tiles" for done in range(5)
    ]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--masks-as", "gif"), "--masks-as takes tif, "),
        (("--pattern", "*.gif"), "No image fits"),
        (("--again", "some"), "takes 'failed' or 'all'"),
        (("--overlap", "2"), "predict settings are not valid"),
    ],
)
def test_wrong_input_is_said_in_a_sentence(
    folder: Path, trained: Path, tmp_path: Path, more: tuple[str, str], said: str
) -> None:
    result = batch(trained, folder, tmp_path / "results", *more)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "results").exists()


def test_a_file_in_the_place_of_the_results_is_refused(
    folder: Path, trained: Path, tmp_path: Path
) -> None:
    file = tmp_path / "results"
    file.write_bytes(b"precious")
    result = batch(trained, folder, file)
    assert result.exit_code == 2
    assert result.stderr.strip() == f"Error: {file} is a file. Choose a folder for the results."
    assert file.read_bytes() == b"precious"


def test_nothing_there(trained: Path, tmp_path: Path) -> None:
    assert "There is no folder" in batch(trained, tmp_path / "x", tmp_path / "results").stderr


def test_ctrl_c_while_it_looks_at_earlier_results_is_a_stop(
    folder: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_sam2_adapters.batch import run as engine

    judge, calls = engine.judge, []

    def judge_and_stop(*given: object) -> object:
        calls.append(given)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return judge(*given)

    monkeypatch.setattr(engine, "judge", judge_and_stop)
    result = batch(trained, folder, tmp_path / "results")
    assert result.exit_code == 130, result.output
    assert "KeyError" not in result.output


HALF_WAY = """
import sys
from contextlib import closing
from napari_sam2_adapters.batch import run
from napari_sam2_adapters.cli import main

most, segment = int(sys.argv.pop(1)), run.run_batch

def held(*given, **more):
    done = 0
    with closing(segment(*given, **more)) as records:
        for record in records:
            yield record
            done += record.status == "done"
            if done == most:
                sys.stdin.read()

run.run_batch = held
main()
"""
"""The program, which waits when so many images are done until its input is closed: who is slow to interrupt it meets it at work."""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no Ctrl-C to one process")
def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(
    blobs: Path, trained: Path, tmp_path: Path
) -> None:
    images, results = tmp_path / "images", tmp_path / "results"
    images.mkdir()
    content = (blobs / "images" / "cell0.tif").read_bytes()
    for number in range(40):
        (images / f"{number}.tif").write_bytes(content)
    command = [sys.executable, "-c", HALF_WAY, "20", *arguments(trained, images, results)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8") as run:
        while not list(results.glob("*.tif")) and run.poll() is None:
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        said, complaint = run.communicate()
    done = len(list(results.glob("*.tif")))
    assert 0 < done < 40
    assert f"{done} of 40 images are segmented" in said
    assert "the same command goes on" in complaint
    assert run.returncode == 130
    from napari_sam2_adapters.batch.job import read_job_file

    written = read_job_file(results)
    assert written is not None
    records = run_batch(written.job)
    assert sum(next(records).earlier for _ in range(40)) == done
    records.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no Ctrl-C to one group of processes")
def test_ctrl_c_of_a_terminal_ends_a_run_with_workers_well(
    blobs: Path, trained: Path, tmp_path: Path
) -> None:
    images, results = tmp_path / "images", tmp_path / "results"
    images.mkdir()
    content = (blobs / "images" / "cell0.tif").read_bytes()
    for number in range(60):
        (images / f"{number}.tif").write_bytes(content)
    given = arguments(trained, images, results, "--workers", "2")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", HALF_WAY, "30", *given],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        encoding="utf-8",
        start_new_session=True,
    ) as run:
        while not list(results.glob("*.tif")) and run.poll() is None:
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGINT)  # a terminal sends it to the workers as well
        said, complaint = run.communicate()
    written_masks = len(list(results.glob("*.tif")))
    assert 0 < written_masks < 60
    # the workers may have written the two masks in their hands without being able to say so any more
    done = int(said.split(" of 60 images are segmented")[0].split()[-1])
    assert written_masks - 2 <= done <= written_masks
    # the bar of a run that was begun ends with an empty line
    told = [line for line in complaint.splitlines() if line and "of 60 images" not in line]
    assert told == ["Stopped; the same command goes on where this one ended."]
    assert run.returncode == 130
    from napari_sam2_adapters.batch.job import read_job_file

    written = read_job_file(results)
    assert written is not None
    records = run_batch(written.job)
    assert sum(next(records).earlier for _ in range(60)) == done
    records.close()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--workers", "2", "--scheduler", "tcp://a:1"), "either joins a running scheduler"),
        (("--slurm",), "needs a number of workers"),
        (("--scheduler", "node1"), "an address such as tcp://node1:8786, but 'node1' is none"),
        (("--workers", "2", "--slurm-queue", "gpu"), "slurm_queue is for jobs of Slurm"),
        (("--scheduler-file", "nowhere.json"), "There is no scheduler file nowhere.json"),
    ],
)
def test_a_wrong_cluster_is_said_in_a_sentence(
    folder: Path, trained: Path, tmp_path: Path, more: tuple[str, ...], said: str
) -> None:
    result = batch(trained, folder, tmp_path / "results", *more)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.filterwarnings("default")
def test_a_warning_is_a_sentence(folder: Path, trained: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "report.html").write_text("<p>mine</p>")
    result = batch(trained, folder, results, "--html-report")
    assert "with pictures" not in result.stdout
    (told,) = [line for line in result.stderr.splitlines() if "report.html" in line]
    assert told.startswith(f"Warning: {results / 'report.html'} was not written by a batch")
