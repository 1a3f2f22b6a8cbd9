from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner, Result

from napari_sam2_adapters.cli import app
from napari_sam2_adapters.data.io import read_image, read_labels


def predict(model: Path, images: Path, output: Path, *more: str) -> Result:
    return CliRunner().invoke(
        app,
        [
            *("predict", "--device", "cpu", "--model", str(model)),
            *("--images", str(images), "--output", str(output), *more),
        ],
    )


def test_masks_have_the_names_and_pixel_sizes_of_their_images(
    blobs: Path, trained: Path, tmp_path: Path
) -> None:
    result = predict(trained, blobs / "images", tmp_path / "masks", "--uncertainty")
    assert result.exit_code == 0, result.output
    assert "3 of 3 images" in result.stdout
    names = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert names == sorted(f"cell{i}{end}.tif" for i in range(3) for end in ("", "_uncertainty"))
    for i in range(3):
        mask = read_labels(tmp_path / "masks" / f"cell{i}.tif")
        assert mask.pixel_size == pytest.approx((0.5, 0.25))
        assert mask.unit == "micrometer"
        truth = tifffile.imread(blobs / "labels" / f"cell{i}.tif")
        assert set(np.unique(mask.array)) <= {1, 2}
        assert (np.asarray(mask.array) == truth).mean() > 0.8
    unsure = read_image(tmp_path / "masks" / "cell0_uncertainty.tif").array
    assert unsure.shape == (96, 96)
    assert 0 <= np.min(unsure) < np.max(unsure) <= 1


def test_evaluate_scores_what_predict_wrote(blobs: Path, trained: Path, tmp_path: Path) -> None:
    command = [
        *("evaluate", "--device", "cpu", "--model", str(trained)),
        *("--images", str(blobs / "images"), "--labels", str(blobs / "labels")),
    ]
    result = CliRunner().invoke(app, [*command, "--json", str(tmp_path / "scores.json")])
    assert result.exit_code == 0, result.output
    assert "bright" in result.stdout
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["images"] == 3

    predict(trained, blobs / "images", tmp_path / "masks")
    dice = []
    for i in range(3):
        mask = tifffile.imread(tmp_path / "masks" / f"cell{i}.tif") == 2
        truth = tifffile.imread(blobs / "labels" / f"cell{i}.tif") == 2
        dice.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    assert scores["dice"]["bright"] == pytest.approx(np.mean(dice), abs=1e-5)

    printed = CliRunner().invoke(app, [*command, "--json", "-"])
    assert json.loads(printed.stdout) == scores


def test_a_bad_file_does_not_stop_the_others(blobs: Path, trained: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.tif").write_bytes(b"II*\0 not an image")
    tifffile.imwrite(images / "b.tif", np.zeros((40, 40, 3), np.uint8), photometric="rgb")
    (images / "c.tif").write_bytes((blobs / "images" / "cell0.tif").read_bytes())
    result = predict(trained, images, tmp_path / "masks")
    assert result.exit_code == 1
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["c.tif"]
    assert "1 of 3 images" in result.stdout
    assert "2 images failed" in result.stderr
    assert "b.tif failed: The image has 3 channel(s)" in result.stderr
    assert "a.tif failed" in result.stderr
    assert "Traceback" not in result.output


def test_masks_that_are_there_are_left_alone(blobs: Path, trained: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "cell1.tif").write_bytes(b"precious")
    image = blobs / "images"
    result = predict(trained, image, masks, "--pattern", "cell[01].tif")
    assert result.exit_code == 0, result.output
    assert "1 masks were there already" in result.stdout
    assert (masks / "cell1.tif").read_bytes() == b"precious"
    again = predict(trained, image / "cell1.tif", masks, "--overwrite")
    assert again.exit_code == 0, again.output
    assert read_labels(masks / "cell1.tif").array.shape == (96, 96)


def test_png_masks(blobs: Path, trained: Path, tmp_path: Path) -> None:
    result = predict(trained, blobs / "images" / "cell0.tif", tmp_path / "masks", "--png")
    assert result.exit_code == 0, result.output
    assert read_labels(tmp_path / "masks" / "cell0.png").array.shape == (96, 96)


def test_another_pixel_size_is_told(blobs: Path, trained: Path, tmp_path: Path) -> None:
    image = tmp_path / "coarse.tif"
    settings = {"imagej": True, "resolution": (1.0, 1.0), "metadata": {"unit": "um"}}
    tifffile.imwrite(image, tifffile.imread(blobs / "images" / "cell0.tif"), **settings)
    result = predict(trained, image, tmp_path / "masks")
    assert result.exit_code == 0, result.output
    assert "pixels are 1 micrometer wide" in result.stderr


def test_what_would_destroy_images_or_masks_is_refused(
    blobs: Path, trained: Path, tmp_path: Path
) -> None:
    among = predict(trained, blobs / "images", blobs / "images", "--overwrite")
    assert among.exit_code == 2
    assert "among the images" in among.stderr
    for name in ("x.tif", "x.png"):
        (tmp_path / name).write_bytes(b"")
    twins = predict(trained, tmp_path, tmp_path / "masks")
    assert twins.exit_code == 2
    assert "'x'" in twins.stderr


@pytest.mark.parametrize("more", [("--tile-size-px", "100"), ("--overlap", "2")])
def test_wrong_settings_are_refused(
    blobs: Path, trained: Path, tmp_path: Path, more: tuple[str, str]
) -> None:
    result = predict(trained, blobs / "images", tmp_path / "masks", *more)
    assert result.exit_code == 2
    assert "predict settings are not valid" in result.stderr
    assert not (tmp_path / "masks").exists()
