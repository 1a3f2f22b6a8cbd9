from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_sam2_adapters.cli import app
from napari_sam2_adapters.data.io import read_image, read_labels
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.models.model_file import load_adapter


def test_the_demo_leaves_scores_masks_a_picture_and_the_adapter(tmp_path: Path) -> None:
    folder = tmp_path / "demo-output"
    command = ["demo", "--output", str(folder), "--device", "cpu", "--steps", "12"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    for word in ("nucleus", "border", "before training"):
        assert word in result.stdout

    scores = json.loads((folder / "scores.json").read_text())
    assert set(scores["dice"]) == {"background", "nucleus", "border"}
    assert scores["mean_dice"] == pytest.approx(np.mean(list(scores["dice"].values())), abs=1e-5)
    assert scores["seconds"] > 0

    sample = load_sample("fluorescence")
    truth = sample.held_out_labels == 2
    masks = [read_labels(folder / "masks" / f"held_out_{i}.tif").array == 2 for i in (1, 2, 3)]
    dice = [2 * (m & t).sum() / (m.sum() + t.sum()) for m, t in zip(masks, truth, strict=True)]
    assert scores["dice"]["nucleus"] == pytest.approx(np.mean(dice), abs=1e-5)
    assert scores["dice"]["nucleus"] > 0.6

    picture = np.asarray(read_image(folder / "overlay.png").array)
    assert picture.shape[1] > 3 * 256
    nuclei = tuple(bytes.fromhex(sample.classes[1].color[1:]))
    assert (picture == nuclei).all(axis=2).any()  # in the legend

    _, header = load_adapter(folder / scores["adapter"])
    assert header.model.adapter == "hp"
    assert header.scores["mean_dice"] == scores["mean_dice"]

    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


def test_an_unknown_sample_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "demo-output"
    result = CliRunner().invoke(app, ["demo", "--sample", "cats", "--output", str(folder)])
    assert result.exit_code == 2
    assert "tissue" in result.stderr
    assert not folder.exists()


def test_an_output_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"precious")
    result = CliRunner().invoke(app, ["demo", "--output", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert "is a file" in result.stderr
