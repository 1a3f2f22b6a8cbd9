from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner, Result

from napari_sam2_adapters.cli import app
from napari_sam2_adapters.cli.evaluate import score_table
from napari_sam2_adapters.inference.evaluate import Scores


def evaluate(model: Path, images: Path, labels: Path, *more: str) -> Result:
    return CliRunner().invoke(
        app,
        [
            *("evaluate", "--device", "cpu", "--model", str(model)),
            *("--images", str(images), "--labels", str(labels), *more),
        ],
    )


def test_it_scores_what_predict_wrote(blobs: Path, trained: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "scores.json"
    result = evaluate(trained, blobs / "images", blobs / "labels", "--json", str(target))
    assert result.exit_code == 0, result.output
    assert "bright" in result.stdout
    scores = json.loads(target.read_text())
    assert scores["images"] == 3

    command = [
        *("predict", "--device", "cpu", "--model", str(trained)),
        *("--images", str(blobs / "images"), "--output", str(tmp_path / "masks")),
    ]
    assert CliRunner().invoke(app, command).exit_code == 0
    dice = []
    for i in range(3):
        mask = tifffile.imread(tmp_path / "masks" / f"cell{i}.tif") == 2
        truth = tifffile.imread(blobs / "labels" / f"cell{i}.tif") == 2
        dice.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    assert scores["dice"]["bright"] == pytest.approx(np.mean(dice), abs=1e-5)

    printed = evaluate(trained, blobs / "images", blobs / "labels", "--json", "-")
    assert json.loads(printed.stdout) == scores


def test_scores_that_are_there_are_replaced_only_on_request(
    blobs: Path, trained: Path, tmp_path: Path
) -> None:
    target = tmp_path / "scores.json"
    target.write_text("precious")
    one = (blobs / "images" / "cell0.tif", blobs / "labels" / "cell0.tif")
    refused = evaluate(trained, *one, "--json", str(target))
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr
    assert target.read_text() == "precious"
    result = evaluate(trained, *one, "--json", str(target), "--overwrite")
    assert result.exit_code == 0, result.output
    assert json.loads(target.read_text())["images"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]


def test_images_that_cannot_be_scored_are_named(blobs: Path, trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(blobs, copy)
    image, label = copy / "images" / "cell1.tif", copy / "labels" / "cell1.tif"
    tifffile.imwrite(label, np.full((96, 96), 9, np.uint8))
    wrong = evaluate(trained, copy / "images", copy / "labels")
    assert wrong.exit_code == 2
    assert "cell1.tif has the label 9" in wrong.stderr
    tifffile.imwrite(image, np.zeros((96, 96, 3), np.uint8), photometric="rgb")
    colour = evaluate(trained, copy / "images", copy / "labels")
    assert colour.exit_code == 2
    assert "cell1.tif cannot be scored: The image has 3 channels" in colour.stderr
    tifffile.imwrite(label, np.full((96, 96), 0.5, np.float32))
    real = evaluate(trained, copy / "images", copy / "labels")
    assert real.exit_code == 2
    assert "cell1.tif holds float32, but labels are whole numbers" in real.stderr


@pytest.mark.parametrize(
    ("axes", "shape", "masks_as"), [("ZTYX", (2, 3, 40, 48), "tif"), ("TYX", (2, 40, 48), "nii.gz")]
)
def test_masks_whose_format_stores_other_axes_are_perfect_labels(
    trained: Path, tmp_path: Path, axes: str, shape: tuple[int, ...], masks_as: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    image, masks = tmp_path / "a.ome.tif", tmp_path / "masks"
    tifffile.imwrite(image, pixels, photometric="minisblack", metadata={"axes": axes})
    command = [
        *("predict", "--device", "cpu", "--model", str(trained), "--masks-as", masks_as),
        *("--images", str(image), "--output", str(masks)),
    ]
    assert CliRunner().invoke(app, command).exit_code == 0
    result = evaluate(trained, image, masks / f"a.{masks_as}", "--json", "-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["mean_dice"] == 1


def test_labels_whose_axes_may_be_exchanged_are_told(trained: Path, tmp_path: Path) -> None:
    """Where time and depth are as long as each other, the shape does not tell which is which."""
    for name, axes in (("a", "ZTYX"), ("b", "TZYX")):
        array = np.random.default_rng(0).integers(1, 3, (2, 2, 40, 48), np.uint8)
        tifffile.imwrite(
            tmp_path / f"{name}.tif", array, photometric="minisblack", metadata={"axes": axes}
        )
    result = evaluate(trained, tmp_path / "a.tif", tmp_path / "b.tif", "--json", "-")
    assert result.exit_code == 0, result.output
    assert "in another order than those of their images: b.tif (TZYX on ZTYX)" in result.stderr


def test_images_without_labels_are_left_out(blobs: Path, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(blobs / "labels", tmp_path / "labels")
    (tmp_path / "labels" / "cell1.tif").unlink()
    (tmp_path / "labels" / "cell2.tif").unlink()
    result = evaluate(trained, blobs / "images", tmp_path / "labels", "--json", "-")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("1 of 3 images has labels; the others are left out.\n")
    assert json.loads(result.stdout)["images"] == 1


def test_a_folder_for_the_scores_is_refused(blobs: Path, trained: Path, tmp_path: Path) -> None:
    result = evaluate(trained, blobs / "images", blobs / "labels", "--json", str(tmp_path))
    assert result.exit_code == 2
    assert f"Give a file in it, such as {tmp_path / 'scores.json'}" in result.stderr


def test_a_class_that_is_nowhere_has_no_score() -> None:
    scores = Scores(0.5, {"cell": 0.5, "wall": math.nan}, {"cell": 0.4, "wall": math.nan}, 0.5, 1)
    table = score_table(scores)
    assert list(table.columns[1].cells) == ["0.500", "–", "0.500"]
    assert str(table.caption).startswith("1 image; ")
    assert "nowhere segmented" in str(table.caption)


def test_an_image_is_not_its_own_label(blobs: Path, trained: Path) -> None:
    for place in (blobs / "images", blobs / "images" / "cell0.tif"):
        result = evaluate(trained, place, place)
        assert result.exit_code == 2
        assert "own label" in result.stderr
