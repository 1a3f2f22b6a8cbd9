from __future__ import annotations

import errno
import importlib
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import SimpleITK
import tifffile
from typer.testing import CliRunner

from napari_sam2_adapters.atomic import write_atomically
from napari_sam2_adapters.cli import app
from napari_sam2_adapters.cli.files import read_training_files
from napari_sam2_adapters.cli.train import _check_line, run_training
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import write_array, write_labels
from napari_sam2_adapters.data.packed_split import division_in
from napari_sam2_adapters.models.model_file import read_header
from napari_sam2_adapters.training.records import StepRecord, ValidationRecord
from napari_sam2_adapters.training.train import Trainer

SMALL = ("--steps", "1", "--batch-size", "1", "--crop-size-px", "32")


def arguments(blobs: Path, output: Path, *more: str, settings: Path | None = None) -> list[str]:
    return [
        *("train", "--device", "cpu", "--images", str(blobs / "images")),
        *(
            "--labels",
            str(blobs / "labels"),
            "--settings",
            str((settings or blobs) / "settings.yaml"),
        ),
        *("--output", str(output), *more),
    ]


def refusal(command: list[str]) -> str:
    """Run a command that must be refused as wrong input, and give its sentence."""
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.stderr


def test_the_file_tells_how_it_was_trained(trained: Path) -> None:
    header = read_header(trained)
    assert [(c.value, c.name) for c in header.classes] == [(1, "dark"), (2, "bright")]
    assert (header.model.adapter, header.model.backbone, header.model.seed) == ("lw", "mobile", 5)
    assert header.pixel_size == pytest.approx((0.5, 0.25))
    assert header.unit == "micrometer"
    assert header.training["steps"] == 8
    assert header.training["split"] == "1 of 3 images held out"
    assert header.scores["mean_dice"] > header.scores["mean_dice_before"]
    assert [file.name for file in trained.parent.iterdir()] == [trained.name]


def test_info_describes_the_file(trained: Path) -> None:
    result = CliRunner().invoke(app, ["info", str(trained)])
    assert result.exit_code == 0, result.output
    for word in ("lw on mobile", "bright", "0.5 × 0.25 micrometer", "1 of 3 images"):
        assert word in result.stdout


def test_flags_win_over_the_file(blobs: Path, tmp_path: Path) -> None:
    output = tmp_path / "flags.adapter.safetensors"
    more = ("--adapter", "lora", "--seed", "1", "--held-out-fraction", "0", "--half", *SMALL)
    result = CliRunner().invoke(app, arguments(blobs, output, *more))
    assert result.exit_code == 0, result.output
    assert "no honest score" in result.stdout
    assert result.stdout.count("Memory plan: ") == 1
    header = read_header(output)
    assert (header.model.adapter, header.model.seed, header.training["settings"]["seed"]) == (
        "lora",
        1,
        1,
    )
    assert header.training["settings"]["validate_every"] == 8
    assert header.scores == {}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--steps", "0"), "steps"),
        (("--backbone", "huge"), "no backbone 'huge'"),
        (("--backbone", "tiny"), "sam2-adapters backbones download tiny --from FILE'"),
        (("--device", "abacus"), "abacus"),
        (("--pattern", "*.czi"), "*.czi"),
        (("--settings", "nowhere.yaml"), "no settings file nowhere.yaml"),
        (("--resume", "nowhere.safetensors"), "--resume nowhere.safetensors does not exist"),
        (("--images", "nowhere"), "--images nowhere does not exist"),
        (("--labels", "nowhere"), "--labels nowhere does not exist"),
        (("--steps", "many"), "'many' is not a whole number"),
        (("--learning-rate", "much"), "'much' is not a number"),
        (("--adapter", "mlp"), "adapter should be hp, lw or lora (got 'mlp')"),
    ],
)
def test_wrong_input_is_refused_in_a_sentence(
    blobs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, str],
    words: str,
) -> None:
    monkeypatch.setenv("SAM2_ADAPTERS_CACHE", str(tmp_path / "cache"))
    output = tmp_path / "refused.adapter.safetensors"
    assert words in refusal(arguments(blobs, output, *more))
    assert not output.exists()


def test_labels_that_do_not_belong_are_named(blobs: Path, tmp_path: Path) -> None:
    shutil.copytree(blobs, tmp_path / "copy")
    output = tmp_path / "refused.adapter.safetensors"
    label = tmp_path / "copy" / "labels" / "cell1.tif"
    tifffile.imwrite(label, np.ones((5, 5), np.uint8))
    assert "cell1.tif" in refusal(arguments(tmp_path / "copy", output))
    label.rename(label.with_name("cell7.tif"))
    stderr = refusal(arguments(tmp_path / "copy", output))
    assert "belong to no image" in stderr
    assert ": cell7.tif. Give" in stderr
    for path in label.parent.iterdir():
        path.rename(path.with_stem(f"{path.stem}_mask"))
    stderr = refusal(arguments(tmp_path / "copy", output))
    assert "None of the 3 images" in stderr
    assert "cell0.tif and cell0_mask.tif" in stderr


def test_a_mask_of_0_and_1_is_told_how_0_becomes_a_class(blobs: Path, tmp_path: Path) -> None:
    shutil.copytree(blobs, tmp_path / "copy")
    for path in (tmp_path / "copy" / "labels").iterdir():
        tifffile.imwrite(path, (tifffile.imread(path) == 2).astype(np.uint8))
    (tmp_path / "copy" / "settings.yaml").write_text("train: {steps: 1}")
    output = tmp_path / "refused.adapter.safetensors"
    stderr = refusal(arguments(tmp_path / "copy", output))
    assert "or say that 0 is background (--zero-is background on the command line, " in stderr
    assert not output.exists()


def test_one_image_without_labels_is_named_as_one(blobs: Path, tmp_path: Path) -> None:
    output = tmp_path / "refused.adapter.safetensors"
    (tmp_path / "others").mkdir()
    shutil.copy(blobs / "images" / "cell0.tif", tmp_path / "others" / "another.tif")
    stderr = refusal(arguments(blobs, output, "--images", str(tmp_path / "others")))
    assert stderr.startswith("Error: No image in ")


def test_images_given_as_labels_are_refused(blobs: Path, tmp_path: Path) -> None:
    shutil.copytree(blobs / "images", tmp_path / "cells_by_mistake")
    command = arguments(blobs, tmp_path / "a.adapter.safetensors")
    command[command.index("--labels") + 1] = str(tmp_path / "cells_by_mistake")
    assert "in no class" in refusal(command)  # the settings file names two classes
    del command[command.index("--settings") : command.index("--settings") + 2]
    assert "these look like grey values" in refusal(command)


def test_images_without_labels_are_left_out(blobs: Path, tmp_path: Path) -> None:
    shutil.copytree(blobs, tmp_path / "copy")
    (tmp_path / "copy" / "labels" / "cell1.tif").unlink()
    output = tmp_path / "two.adapter.safetensors"
    more = ("--held-out-fraction", "0", *SMALL)
    result = CliRunner().invoke(app, arguments(tmp_path / "copy", output, *more))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("2 of 3 images have labels; the others are left out.\n")
    assert output.is_file()


PLACE = Geometry((3.0, 2.0, 2.0), "millimeter", (5.0, -7.0, 11.0))
MIRRORED = replace(PLACE, direction=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)))


@pytest.mark.parametrize(
    ("name", "place", "told"),
    [
        ("a.nii.gz", PLACE, False),
        ("a.nrrd", Geometry((3e3, 2e3, 2e3), "micrometer", (5e3, -7e3, 11e3)), False),
        ("a.nii.gz", MIRRORED, True),
        ("a.nrrd", replace(PLACE, origin=(5.0, -7.0, 14.0)), True),
        ("a.nii.gz", replace(PLACE, origin=(5.0, -7.0, 12.0)), False),  # by half a pixel
        ("a.nii.gz", replace(PLACE, pixel_size=(4.0, 2.0, 2.0)), True),
        ("a.nii.gz", Geometry((3.0, 2.0, 2.0), "millimeter"), False),
        ("a.tif", MIRRORED, False),  # whose place other programs do not keep
    ],
)
def test_labels_that_lie_elsewhere_by_their_header_are_told(
    tmp_path: Path, name: str, place: Geometry, told: bool
) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    labels = np.ones((6, 24, 20), np.uint8)
    labels[:, :, :8] = 2
    write_array(tmp_path / "images" / "a.nii.gz", labels * 50.0, axes="ZYX", geometry=PLACE)
    write_labels(tmp_path / "labels" / name, labels, axes="ZYX", geometry=place)
    found = read_training_files(tmp_path / "images", tmp_path / "labels", "*")
    assert ("mirrored, turned or shifted against their images: a." in found.notice) is told
    assert bool(found.notice) is told


def test_one_image_and_its_labels_may_be_folders(tmp_path: Path) -> None:
    image, labels = np.arange(1600, dtype=np.uint16).reshape(40, 40), np.ones((40, 40), np.uint8)
    zarr, dicom = tmp_path / "im.ome.zarr", tmp_path / "series"
    write_array(zarr, image, axes="YX")
    write_array(tmp_path / "im.tif", image, axes="YX")
    write_labels(tmp_path / "lab.ome.zarr", labels, axes="YX")
    write_labels(tmp_path / "lab.tif", labels, axes="YX")
    write_labels(zarr / "labels" / "cells", labels, axes="YX")
    dicom.mkdir()
    plane = SimpleITK.GetImageFromArray(image.astype(np.int16))
    SimpleITK.WriteImage(plane, str(dicom / "1.dcm"))
    for images, its_labels in (
        (zarr, tmp_path / "lab.ome.zarr"),
        (zarr, tmp_path / "lab.tif"),
        (zarr, zarr / "labels" / "cells"),
        (tmp_path / "im.tif", tmp_path / "lab.ome.zarr"),
    ):
        (pair,) = read_training_files(images, its_labels, "*").pairs
        np.testing.assert_array_equal(pair.image, image)
        np.testing.assert_array_equal(pair.labels, labels)
    (pair,) = read_training_files(dicom, tmp_path / "lab.tif", "*").pairs
    assert pair.image.shape[-2:] == (40, 40)
    with pytest.raises(ValueError, match="as its own labels"):
        read_training_files(zarr, zarr, "*")
    with pytest.raises(ValueError, match=r"is a folder, but --labels .* is one image"):
        read_training_files(tmp_path, tmp_path / "lab.ome.zarr", "*")


def test_labels_of_images_that_the_pattern_leaves_out_are_no_mistake(blobs: Path) -> None:
    files = read_training_files(blobs / "images", blobs / "labels", "cell[01]*")
    assert [pair.name for pair in files.pairs] == ["cell0.tif", "cell1.tif"]
    assert files.notice == ""
    one = read_training_files(blobs / "images" / "cell2.tif", blobs / "labels", "*")
    assert [pair.name for pair in one.pairs] == ["cell2.tif"]
    with pytest.raises(ValueError, match=r"is a folder, but --labels .* is one image"):
        read_training_files(blobs / "images", blobs / "labels" / "cell2.tif", "*")


def test_an_output_that_cannot_be_written_is_refused_before_training(
    blobs: Path, tmp_path: Path
) -> None:
    stderr = refusal(arguments(blobs, tmp_path))
    assert f"is a folder. Give a file in it, such as {tmp_path / 'NAME.adapter'}" in stderr
    (tmp_path / "file").write_text("precious")
    result = CliRunner().invoke(
        app, arguments(blobs, tmp_path / "file" / "new" / "a.adapter.safetensors")
    )
    assert result.exit_code == 2
    assert "Nothing can be written into the folder" in result.stderr
    assert "step" not in result.stdout


@pytest.mark.parametrize(
    ("dice", "line"),
    [
        ({"cell": 0.9, "wall": 0.5}, "held-out Dice 0.700 (cell 0.900, wall 0.500)  best"),
        (
            {"cell": 0.7, "wall": math.nan},
            "held-out Dice 0.700 (cell 0.700, wall not held out)  best",
        ),
    ],
)
def test_a_check_is_one_short_line(dice: dict[str, float], line: str) -> None:
    assert _check_line(check_of(dice)) == f"step   50  {line}"


def test_of_many_classes_only_the_weakest_are_named() -> None:
    many = {f"class {i}": i / 40 for i in range(1, 31)} | {
        "class 31": math.nan,
        "class 32": math.nan,
    }
    line = _check_line(check_of(many))
    assert "(weakest: class 1 0.025, class 2 0.050," in line
    assert line.endswith("class 8 0.200, 2 classes not held out)  best")
    assert "nan" not in line


def test_a_calibrated_check_says_so() -> None:
    check = replace(check_of({"cell": 0.7}), class_bias={"cell": 0.0})
    assert _check_line(check).endswith("(cell 0.700)  calibrated")


def check_of(dice: dict[str, float]) -> ValidationRecord:
    return ValidationRecord(
        step=50, dice=dice, iou=dice, mean_dice=0.7, loss=1.0, best=True, seconds=1.0, pixels=9
    )


def test_nothing_is_overwritten_unasked(blobs: Path, tmp_path: Path) -> None:
    output = tmp_path / "there.adapter.safetensors"
    output.write_bytes(b"precious")
    assert "--overwrite" in refusal(arguments(blobs, output))
    assert output.read_bytes() == b"precious"
    state = tmp_path / "new.checkpoint.safetensors"
    state.write_bytes(b"precious")
    stderr = refusal(arguments(blobs, tmp_path / "new.adapter.safetensors"))
    assert f"--resume {state}" in stderr
    (tmp_path / "new.adapter.safetensors").write_bytes(b"the best so far")
    stderr = refusal(arguments(blobs, tmp_path / "new.adapter.safetensors"))
    assert f"Go on with --resume {state} --overwrite" in stderr
    second = tmp_path / "new.2.checkpoint.safetensors"  # not the state of new.adapter.safetensors
    second.write_bytes(b"precious")
    stderr = refusal(arguments(blobs, tmp_path / "new.2.adapter.safetensors"))
    assert f"--resume {second}" in stderr
    assert ".adapter.safetensors" in refusal(arguments(blobs, tmp_path / "new.pt"))


def test_an_interrupt_keeps_the_best_and_the_run_goes_on(blobs: Path, tmp_path: Path) -> None:
    output = tmp_path / "stopped.adapter.safetensors"
    command = [sys.executable, "-c", "from napari_sam2_adapters.cli import main; main()"]
    many = arguments(blobs, output, "--steps", "100000", "--validate-every", "2")
    with subprocess.Popen(
        [*command, *many],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("step") and line[5:9] != "   0" and "best" in line:
                break
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    state = tmp_path / "stopped.checkpoint.safetensors"
    assert f"--resume {state} --overwrite" in stdout
    stopped = read_header(output)
    assert stopped.training["ended"] == "Stopped by the user."
    assert stopped.scores["mean_dice"] > stopped.scores["mean_dice_before"]

    done = stopped.training["steps"]
    spelt_otherwise = os.path.relpath(state)
    go_on = ("--resume", spelt_otherwise, "--overwrite", "--steps", str(done + 2))
    result = CliRunner().invoke(app, arguments(blobs, output, *go_on))
    assert result.exit_code == 0, result.output
    assert read_header(output).training["steps"] == done + 2
    assert not state.exists()


def test_two_trainings_do_not_write_one_state(
    blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that ended first deleted the state of the other, which then could not save its adapter."""
    train_module = importlib.import_module("napari_sam2_adapters.cli.train")
    output = tmp_path / "cells.adapter.safetensors"
    second: list[str] = []

    def begin_another(trainer: Trainer) -> bool:
        monkeypatch.setattr(train_module, "run_training", run_training)
        result = CliRunner().invoke(app, arguments(blobs, output, *SMALL, "--overwrite"))
        assert result.exit_code == 1, result.output
        second.append(" ".join(result.stderr.split()))
        return run_training(trainer)

    monkeypatch.setattr(train_module, "run_training", begin_another)
    result = CliRunner().invoke(app, arguments(blobs, output, *SMALL))
    assert f"(process {os.getpid()} on" in second[0]
    assert "Another training is at work on" in second[0]
    assert "choose another name" in second[0]
    assert "Traceback" not in result.output
    assert not list(tmp_path.glob(".train-*"))


def more_blobs(blobs: Path, folder: Path, names: Sequence[str], value: int = 2) -> Path:
    """``images/`` and ``labels/`` with the blobs of these names upside down, and this value for the bright ones."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
        for name in names:
            array = tifffile.imread(blobs / kind / name)[::-1].copy()
            if kind == "labels":
                array[array == 2] = value
            tifffile.imwrite(folder / kind / f"new_{name}", array)
    return folder


def test_an_adapter_is_trained_further_and_what_was_held_out_stays_so(
    blobs: Path, trained: Path, tmp_path: Path
) -> None:
    before = division_in(read_header(trained).training)
    assert before is not None
    data = more_blobs(blobs, tmp_path / "data", ["cell0.tif", "cell1.tif"])
    for kind in ("images", "labels"):
        shutil.copytree(blobs / kind, data / kind, dirs_exist_ok=True)
    output = tmp_path / "further.adapter.safetensors"
    more = ("--start-from", str(trained), "--steps", "30", "--learning-rate", "3e-3")
    result = CliRunner().invoke(app, arguments(data, output, *more, settings=blobs))
    assert result.exit_code == 0, result.output
    header = read_header(output)
    assert header.training["went_on_from"] == "blobs"
    assert [info.name for info in header.classes] == ["dark", "bright"]
    assert header.normalization == read_header(trained).normalization
    after = division_in(header.training)
    assert after is not None
    # the image held out before and no other, under the number that it has now
    held_out = [after.images[region.pair] for region in after.held_out]
    assert held_out == [before.images[region.pair] for region in before.held_out]
    assert len(after.train) == len(before.train) + 2
    # nothing was learnt before the first check, so this is the score of the adapter as it was
    assert header.scores["mean_dice_before"] == pytest.approx(
        read_header(trained).scores["mean_dice"], abs=1e-3
    )
    shown = CliRunner().invoke(app, ["info", str(output)])
    assert "went on from" in shown.output
    assert "division" not in shown.output


def test_what_speaks_against_the_adapter_that_is_trained_further_is_refused(
    blobs: Path, trained: Path, tmp_path: Path
) -> None:
    output = tmp_path / "further.adapter.safetensors"

    def said(folder: Path, *more: str, settings: Path = blobs) -> str:
        start = ("--start-from", str(trained), *more)
        return " ".join(refusal(arguments(folder, output, *start, settings=settings)).split())

    network = said(blobs, "--adapter", "hp", "--seed", "3")
    assert "adapter hp (it has lw). Leave these out" in network
    assert "seed" not in network
    (tmp_path / "settings.yaml").write_text("normalization: {mode: range, low: 0, high: 900}")
    assert "another normalization (it has percentile" in said(blobs, settings=tmp_path)
    (tmp_path / "settings.yaml").write_text("classes: [{value: 1, name: a}, {value: 5, name: b}]")
    assert "does not know b (5); it has dark (1), bright (2)" in said(blobs, settings=tmp_path)
    (tmp_path / "settings.yaml").write_text("train: {steps: 2}")
    other = more_blobs(blobs, tmp_path / "other", ["cell0.tif"], value=9)
    assert "has the label values [9]" in said(other, settings=tmp_path)
    colours = more_blobs(blobs, tmp_path / "colours", ["cell0.tif"])
    path = colours / "images" / "new_cell0.tif"
    grey = tifffile.imread(path)
    tifffile.imwrite(path, np.dstack([grey] * 3), photometric="rgb")
    assert "takes images of 1 channel, but these have 3" in said(colours, settings=tmp_path)
    missing = ("--start-from", str(tmp_path / "no.adapter.safetensors"))
    assert "There is no adapter file" in refusal(arguments(blobs, output, *missing))
    assert not output.exists()


def test_a_training_that_brings_nothing_is_not_saved(blobs: Path, tmp_path: Path) -> None:
    output = tmp_path / "useless.adapter.safetensors"
    command = arguments(blobs, output, *SMALL, "--learning-rate", "1e-12")
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1, result.output
    assert "No better than before" in result.stderr
    assert not output.exists()


def test_a_training_that_is_stopped_before_it_brings_something_needs_no_more_steps(
    blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, state = (tmp_path / f"new.{kind}.safetensors" for kind in ("adapter", "checkpoint"))
    train_module = importlib.import_module("napari_sam2_adapters.cli.train")
    monkeypatch.setattr(train_module, "run_training", lambda trainer: [*trainer.run()] != [])
    result = CliRunner().invoke(app, arguments(blobs, output, *SMALL, "--learning-rate", "1e-12"))
    assert result.exit_code == 1, result.output
    assert "Stopped early. No better than before" in result.stderr
    assert result.stderr.rstrip().endswith(f"repeat the command with --resume {state}.")


def test_a_second_ctrl_c_while_it_settles_loses_nothing() -> None:
    class Settling:
        def run(self) -> Generator[StepRecord, None, None]:
            signal.raise_signal(signal.SIGINT)
            try:
                yield StepRecord(1, 9, 0.5, 1e-3, 0.1, 40.0)
            finally:
                signal.raise_signal(signal.SIGINT)

    assert run_training(Settling()) is True  # stopped, and what it has learnt can be saved


def fill_the_disk_after(monkeypatch: pytest.MonkeyPatch, files: int) -> None:
    """Let so many files of tensors be written, and then none."""
    written: list[Path] = []

    def write(path: Path, fill: Callable[[BinaryIO], Any], *, overwrite: bool = False) -> Path:
        if len(written) == files:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written.append(path)
        return write_atomically(path, fill, overwrite=overwrite)

    monkeypatch.setattr("napari_sam2_adapters.models.tensor_file.write_atomically", write)


@pytest.mark.parametrize(("files", "kept"), [(2, "4 steps"), (4, "8 steps")])
def test_a_disk_that_fills_up_leaves_a_state_that_is_named(
    blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, kept: str
) -> None:
    output, state = (tmp_path / f"full.{kind}.safetensors" for kind in ("adapter", "checkpoint"))
    command = arguments(blobs, output, "--validate-every", "4", "--overwrite")
    with monkeypatch.context() as full:  # at the second check, and when the adapter is saved
        fill_the_disk_after(full, files)
        result = CliRunner().invoke(app, command)
    assert result.exit_code == 1, result.output
    assert "could not be written: No space left on device. Make room" in result.stderr
    assert f"The training up to {kept} is kept in {state}: to go on" in result.stderr
    assert result.stderr.rstrip().endswith(f"repeat the command with --resume {state}.")
    assert not output.exists()
    again = CliRunner().invoke(app, [*command, "--resume", str(state)])
    assert again.exit_code == 0, again.output
    assert read_header(output).training["steps"] == 8


def test_the_state_of_an_earlier_run_is_not_named_as_that_of_this_one(
    blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, state = (tmp_path / f"full.{kind}.safetensors" for kind in ("adapter", "checkpoint"))
    state.write_bytes(b"of an earlier run")
    fill_the_disk_after(monkeypatch, 0)
    result = CliRunner().invoke(app, arguments(blobs, output, *SMALL, "--overwrite"))
    assert result.exit_code == 1, result.output
    assert "No space left on device" in result.stderr
    assert "--resume" not in result.stderr
