from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_sam2_adapters.cli import app
from napari_sam2_adapters.models.model_file import read_header

SMALL = ("--steps", "1", "--batch-size", "1", "--crop-size-px", "32")


def arguments(blobs: Path, output: Path, *more: str) -> list[str]:
    return [
        *("train", "--device", "cpu", "--images", str(blobs / "images")),
        *("--labels", str(blobs / "labels"), "--settings", str(blobs / "settings.yaml")),
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
    for word in ("lw adapter on mobile", "bright", "0.5 × 0.25 micrometer", "1 of 3 images"):
        assert word in result.stdout


def test_flags_win_over_the_file(blobs: Path, tmp_path: Path) -> None:
    output = tmp_path / "flags.adapter.safetensors"
    more = ("--adapter", "lora", "--seed", "1", "--held-out-fraction", "0", "--half", *SMALL)
    result = CliRunner().invoke(app, arguments(blobs, output, *more))
    assert result.exit_code == 0, result.output
    assert "no honest score" in result.stdout
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
        (("--adapter", "mlp"), "adapter"),
        (("--backbone", "huge"), "no backbone 'huge'"),
        (("--backbone", "tiny"), "backbones download tiny"),
        (("--device", "abacus"), "abacus"),
        (("--pattern", "*.czi"), "*.czi"),
        (("--settings", "nowhere.yaml"), "nowhere.yaml"),
        (("--resume", "nowhere.safetensors"), "nowhere.safetensors"),
        (("--images", "nowhere"), "nowhere"),
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
    label.unlink()
    assert "cell1" in refusal(arguments(tmp_path / "copy", output))


def test_nothing_is_overwritten_unasked(blobs: Path, tmp_path: Path) -> None:
    output = tmp_path / "there.adapter.safetensors"
    output.write_bytes(b"precious")
    assert "--overwrite" in refusal(arguments(blobs, output))
    assert output.read_bytes() == b"precious"
    state = tmp_path / "new.checkpoint.safetensors"
    state.write_bytes(b"precious")
    stderr = refusal(arguments(blobs, tmp_path / "new.adapter.safetensors"))
    assert f"--resume {state}" in stderr
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
        text=True,
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
    go_on = ("--resume", str(state), "--overwrite", "--steps", str(done + 2))
    result = CliRunner().invoke(app, arguments(blobs, output, *go_on))
    assert result.exit_code == 0, result.output
    assert read_header(output).training["steps"] == done + 2
    assert not state.exists()


def test_a_training_that_brings_nothing_is_not_saved(blobs: Path, tmp_path: Path) -> None:
    output = tmp_path / "useless.adapter.safetensors"
    command = arguments(blobs, output, *SMALL, "--learning-rate", "1e-12")
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1, result.output
    assert "No better than before" in result.stderr
    assert not output.exists()
