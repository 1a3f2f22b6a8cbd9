from __future__ import annotations

import csv
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
from typer.testing import CliRunner, Result

from napari_sam2_adapters.batch import segment_file, streaming
from napari_sam2_adapters.batch.segment_file import SegmentedFile
from napari_sam2_adapters.cli import app
from napari_sam2_adapters.data.io import read_image, read_labels
from napari_sam2_adapters.data.units import convert
from napari_sam2_adapters.inference.postprocess import clean_block
from napari_sam2_adapters.inference.rules import ClassRule
from napari_sam2_adapters.inference.tile_progress import TileProgress
from napari_sam2_adapters.models.model_file import load_adapter, read_header, save_adapter


def predict(model: Path, images: Path, output: Path, *more: str) -> Result:
    return CliRunner().invoke(
        app,
        [
            *("predict", "--device", "cpu", "--model", str(model)),
            *("--images", str(images), "--output", str(output), *more),
        ],
    )


def test_an_image_whose_results_would_have_too_long_a_name_does_not_stop_the_others(
    blobs: Path, trained: Path, tmp_path: Path
) -> None:
    folder, long = tmp_path / "images", "n" * 251
    folder.mkdir()
    for name in ("a", long, "z"):
        shutil.copy(blobs / "images" / "cell0.tif", folder / f"{name}.tif")
    result = predict(trained, folder, tmp_path / "masks", "--uncertainty")
    assert result.exit_code == 1
    assert "2 of 3 images segmented" in result.stdout
    assert f"{long}.tif failed: The name nnn" in result.stderr
    assert "would be too long. Shorten the image's name." in result.stderr
    assert {path.name[:2] for path in (tmp_path / "masks").iterdir()} == {"a.", "a_", "z.", "z_"}


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


@pytest.mark.parametrize("other", ["cell.png", "Cell.png"])
def test_two_images_do_not_write_one_file(trained: Path, tmp_path: Path, other: str) -> None:
    """Also where a file system takes Cell.tif for cell.tif, so that masks go the same way everywhere."""
    flat = np.zeros((40, 50), np.uint8)
    tifffile.imwrite(tmp_path / "cell.tif", flat)
    (tmp_path / other).write_bytes(imagecodecs.png_encode(flat))
    result = predict(trained, tmp_path, tmp_path / "masks")
    assert result.exit_code == 2, result.output
    said = " ".join(result.stderr.split())
    own = f"'{Path(other).stem}.tif'"
    assert "would be one file" in said
    assert own in said
    assert "'cell.tif'" in said
    assert not (tmp_path / "masks").exists()


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
    assert "Failed, see above: 2." in result.stderr
    assert "b.tif failed: The image has 3 channels" in result.stderr
    assert "a.tif failed" in result.stderr
    assert "Traceback" not in result.output


def test_masks_below_the_images_are_no_images(blobs: Path, trained: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    (images / "day 1").mkdir(parents=True)
    (images / "day 1" / "a.tif").write_bytes((blobs / "images" / "cell0.tif").read_bytes())
    everywhere = ("--pattern", "**/*.tif")
    first = predict(trained, images, images / "masks", *everywhere)
    assert first.exit_code == 0, first.output
    again = predict(trained, images, images / "masks", *everywhere)
    assert again.exit_code == 0, again.output
    assert "0 of 1 image segmented" in again.stdout
    assert "because their masks are there: 1;" in again.stdout
    only = predict(trained, images, images / "masks", "--pattern", "masks/*.tif")
    assert only.exit_code == 2
    assert "Only masks lie in" in only.stderr


def test_masks_that_are_there_are_left_alone(blobs: Path, trained: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "cell1.tif").write_bytes(b"precious")
    image = blobs / "images"
    result = predict(trained, image, masks, "--pattern", "cell[01].tif")
    assert result.exit_code == 0, result.output
    assert "because their masks are there: 1;" in result.stdout
    assert (masks / "cell1.tif").read_bytes() == b"precious"
    again = predict(trained, image / "cell1.tif", masks, "--overwrite")
    assert again.exit_code == 0, again.output
    assert read_labels(masks / "cell1.tif").array.shape == (96, 96)


def test_what_a_killed_run_left_half_written_goes_with_the_next(
    blobs: Path, trained: Path, tmp_path: Path
) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "cell1.tif").write_bytes(b"precious")
    writes = "from napari_sam2_adapters.atomic import new_partial_folder; import pathlib, sys; new_partial_folder(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", writes, str(masks)], check=True)
    assert len(list(masks.iterdir())) == 2
    assert predict(trained, blobs / "images" / "cell1.tif", masks).exit_code == 0
    assert [path.name for path in masks.iterdir()] == ["cell1.tif"]


def test_what_is_missing_beside_a_mask_is_made_and_the_mask_left_alone(
    blobs: Path, trained: Path, tmp_path: Path
) -> None:
    """Also the way on after a stop between two files of an image."""
    masks = tmp_path / "masks"
    masks.mkdir()
    for precious in ("cell0.tif", "cell1_uncertainty.tif"):
        (masks / precious).write_bytes(b"precious")
    result = predict(trained, blobs / "images", masks, "--pattern", "cell[01].tif", "--uncertainty")
    assert result.exit_code == 0, result.output
    assert "2 of 2 images" in result.stdout
    for precious in ("cell0.tif", "cell1_uncertainty.tif"):
        assert (masks / precious).read_bytes() == b"precious"
        assert f"{precious} was there and left alone" in " ".join(result.stderr.split())
    assert read_labels(masks / "cell1.tif").array.shape == (96, 96)
    assert np.max(read_image(masks / "cell0_uncertainty.tif").array) <= 1


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """As in a terminal: what a shell starts in the background ignores Ctrl-C, and so would the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_keeps_the_masks_that_are_done(
    blobs: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    small = tifffile.imread(blobs / "images" / "cell0.tif")
    tifffile.imwrite(images / "a.tif", small)
    tifffile.imwrite(images / "b.tif", np.tile(small, (10, 10)))
    segment = segment_file.segment_file

    def interrupted_in_b(*given: Any, **more: Any) -> Generator[TileProgress, None, SegmentedFile]:
        tiles = segment(*given, **more)
        if given[2].name == "b.tif":
            yield next(tiles)
            signal.raise_signal(signal.SIGINT)
        return (yield from tiles)

    monkeypatch.setattr(segment_file, "segment_file", interrupted_in_b)
    result = predict(trained, images, masks)
    assert result.exit_code == 130, result.output
    assert "Stopped. Segmented 1 of 2 images into" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert [path.name for path in masks.iterdir()] == ["a.tif"]


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("there", [False, True])
def test_a_run_that_replaces_masks_and_is_stopped_does_not_advise_to_leave_old_ones(
    blobs: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    def interrupted(*_: Any, **__: Any) -> Generator[TileProgress, None, SegmentedFile]:
        signal.raise_signal(signal.SIGINT)
        yield from ()
        raise AssertionError

    if there:
        (tmp_path / "cell2.tif").write_bytes(b"of another adapter")
    monkeypatch.setattr(segment_file, "segment_file", interrupted)
    result = predict(trained, blobs / "images", tmp_path, "--overwrite")
    said = " ".join(result.stderr.split())
    assert ("the same command makes all of them anew" in said) == there
    assert ("without --overwrite goes on" in said) != there


@pytest.mark.parametrize("masks_as", ["tif", "ome.zarr"])
def test_a_full_disk_ends_it_and_nothing_half_written_stays(
    blobs: Path, trained: Path, small_disk: Path, masks_as: str
) -> None:
    free = shutil.disk_usage(small_disk).free
    (small_disk / "movie").write_bytes(b"\0" * free)
    masks = small_disk / "masks"
    result = predict(trained, blobs / "images", masks, "--masks-as", masks_as)
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert "Make room on the disk. Segmented 0 of 3 images into" in said
    assert "cell1" not in said  # it would fail as well, after all its tiles
    assert list(masks.rglob("*")) == []


def test_labels_in_ome_zarr_that_are_left_before_their_end_are_removed(
    blobs: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(streaming, "finish_draft", stop)
    result = predict(trained, blobs / "images", tmp_path / "masks", "--masks-as", "ome.zarr")
    assert result.exit_code == 130
    assert list((tmp_path / "masks").iterdir()) == []


def test_a_mask_has_the_axes_of_an_image_that_names_none(trained: Path, tmp_path: Path) -> None:
    """As napari and scikit-image save arrays; the mask was turned round, and lay on other planes."""
    image = np.random.default_rng(0).integers(0, 255, (2, 3, 40, 50), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack")
    result = predict(trained, tmp_path / "a.tif", tmp_path / "masks")
    assert result.exit_code == 0, result.output
    assert tifffile.imread(tmp_path / "masks" / "a.tif").shape == image.shape


def test_png_masks(blobs: Path, trained: Path, tmp_path: Path) -> None:
    result = predict(trained, blobs / "images" / "cell0.tif", tmp_path / "masks", "--png")
    assert result.exit_code == 0, result.output
    assert read_labels(tmp_path / "masks" / "cell0.png").array.shape == (96, 96)


def test_masks_in_ome_zarr(blobs: Path, trained: Path, tmp_path: Path) -> None:
    image, masks = blobs / "images" / "cell0.tif", tmp_path / "masks"
    assert predict(trained, image, masks, "--masks-as", "ome.zarr").exit_code == 0
    found = read_labels(masks / "cell0.ome.zarr")
    assert found.array.shape == (96, 96)
    assert found.classes
    refused = predict(trained, image, masks, "--masks-as", "bmp")
    assert refused.exit_code != 0
    assert "--masks-as takes tif, ome.tif, ome.zarr" in refused.output


@pytest.mark.parametrize(
    ("masks_as", "ending", "kind"),
    [
        ("tif", "tif", "float16"),
        ("ome.tif", "ome.tif", "float32"),
        ("ome.zarr", "ome.zarr", "float16"),
        ("png", "tif", "float16"),
        ("npz", "npz", "float16"),
        ("nii.gz", "nii.gz", "float32"),
        ("nrrd", "nrrd", "float32"),
    ],
)
def test_probabilities_and_objects_lie_beside_the_mask_in_its_format(
    blobs: Path, trained: Path, tmp_path: Path, masks_as: str, ending: str, kind: str
) -> None:
    image, out = blobs / "images" / "cell0.tif", tmp_path / "masks"
    flags = ("--probabilities", "--uncertainty", "--instances", "2", "--masks-as", masks_as)
    result = predict(trained, image, out, *flags)
    assert result.exit_code == 0, result.output
    beside = [f"cell0_{what}.{ending}" for what in ("objects", "probabilities", "uncertainty")]
    assert sorted(path.name for path in out.iterdir()) == [f"cell0.{masks_as}", *beside]
    mask, objects = read_labels(out / f"cell0.{masks_as}"), read_labels(out / beside[0])
    probabilities, uncertainty = read_image(out / beside[1]), read_image(out / beside[2])
    assert (probabilities.array.dtype, uncertainty.array.dtype) == (kind, kind)
    if ending in ("tif", "ome.tif", "ome.zarr", "npz"):
        assert probabilities.channel_names == tuple(c.name for c in read_header(trained).classes)
    channels = np.moveaxis(np.asarray(probabilities.array[:]), probabilities.axes.index("C"), 0)
    planes = channels.reshape(2, 96, 96)  # NIfTI and NRRD may have a Z of 1
    np.testing.assert_array_equal(np.squeeze(mask.array[:]) - 1, planes.argmax(0))
    np.testing.assert_allclose(planes.astype(float).sum(0), 1, atol=2e-3)
    found = np.squeeze(objects.array[:])
    np.testing.assert_array_equal(found > 0, np.squeeze(mask.array[:]) == 2)
    assert 0 <= np.min(uncertainty.array) < np.max(uncertainty.array) <= 1
    for file in (objects, probabilities, uncertainty):
        assert file.pixel_size is not None
        sizes_um = [convert(size, file.unit, "micrometer") for size in file.pixel_size[-2:]]
        assert sizes_um == pytest.approx(read_image(image).pixel_size)


@pytest.mark.parametrize("more", [(), ("--fill-holes", "50")])
def test_masks_of_nifti_lie_where_their_images_lie(
    blobs: Path, trained: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    values = tifffile.imread(blobs / "images" / "cell0.tif")
    affine = np.array([[-0.4, 0.1, 0, 9], [0.1, 0.5, 0, -8], [0, 0, 2, 7], [0, 0, 0, 1.0]])
    (tmp_path / "scans").mkdir()
    image = nibabel.Nifti1Image(np.stack([values, values]).T, affine)
    image.set_qform(affine, 2)
    image.set_sform(affine, 3)
    nibabel.save(image, tmp_path / "scans" / "head.nii.gz")
    result = predict(trained, tmp_path / "scans", tmp_path / "masks", "--masks-as", "nii.gz", *more)
    assert result.exit_code == 0, result.output
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["head.nii.gz"]
    mask = nibabel.load(tmp_path / "masks" / "head.nii.gz")
    np.testing.assert_array_equal(mask.affine, nibabel.load(tmp_path / "scans/head.nii.gz").affine)
    assert (int(mask.header["qform_code"]), int(mask.header["sform_code"])) == (2, 3)
    assert mask.shape == image.shape
    if not more:
        wanted = ("--masks-as", "nii.gz", "--probabilities")
        assert predict(trained, tmp_path / "scans", tmp_path / "more", *wanted).exit_code == 0
        found = nibabel.load(tmp_path / "more" / "head_probabilities.nii.gz")
        np.testing.assert_array_equal(found.affine, mask.affine)
        assert (int(found.header["qform_code"]), int(found.header["sform_code"])) == (2, 3)
        assert found.shape == (*image.shape, 1, 2)
        np.testing.assert_array_equal(
            np.squeeze(found.get_fdata()).argmax(-1) + 1, mask.get_fdata()
        )
    assert "other programs show it straight" not in result.stderr
    as_tiff = predict(trained, tmp_path / "scans", tmp_path / "tiff", *more)
    assert "head.nii.gz: head.tif keeps rotation, shear and flips for this plugin" in as_tiff.stderr
    assert as_tiff.stderr.count("NIfTI and NRRD can.") == 1


def test_a_folder_of_slices_is_one_image_and_what_is_odd_is_said(
    blobs: Path, trained: Path, tmp_path: Path
) -> None:
    values = tifffile.imread(blobs / "images" / "cell0.tif").astype(np.int16)
    scan = tmp_path / "scan"
    scan.mkdir()
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, place in enumerate((0, 2, 4.4, 6)):
        image = SimpleITK.JoinSeries(SimpleITK.GetImageFromArray(values))
        for key, text in {
            "0008|0018": f"1.2.826.{number + 1}",
            "0008|0060": "CT",
            "0020|000d": "1.2.826.8",
            "0020|000e": "1.2.826.9",
            "0020|0032": "\\".join(("0", "0", str(place))),
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }.items():
            image.SetMetaData(key, text)
        writer.SetFileName(str(scan / f"slice{number}.dcm"))
        writer.Execute(image)
    result = predict(trained, scan, tmp_path / "masks", "--masks-as", "nrrd")
    assert result.exit_code == 0, result.output
    assert "The slices lie 1.6 to 2.4 mm apart" in " ".join(result.stderr.split())
    mask = read_labels(tmp_path / "masks" / "scan.nrrd")
    assert (mask.axes, mask.array.shape) == ("ZYX", (4, 96, 96))
    assert mask.pixel_size == (2.0, 1.0, 1.0)


def test_png_images_and_settings_from_a_file(blobs: Path, trained: Path, tmp_path: Path) -> None:
    image = tifffile.imread(blobs / "images" / "cell0.tif")
    folder = tmp_path / "Bilder mit Leerzeichen é 图"
    folder.mkdir()
    (folder / "zelle 1.png").write_bytes(imagecodecs.png_encode(image))
    (folder / "notes.txt").touch()
    settings = tmp_path / "settings.yaml"
    settings.write_text("predict: {tile_size_px: 64, uncertainty: true, overlap: 0.5}")
    more = ("--settings", str(settings), "--no-uncertainty", "--probabilities")
    result = predict(trained, folder, tmp_path / "masks", *more)
    assert result.exit_code == 0, result.output
    names = ["zelle 1.tif", "zelle 1_probabilities.tif"]
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == names
    probabilities = read_image(tmp_path / "masks" / names[1])
    assert (probabilities.axes, probabilities.array.shape) == ("CYX", (2, 96, 96))
    mask = np.asarray(read_labels(tmp_path / "masks" / names[0]).array)
    np.testing.assert_array_equal(mask - 1, np.argmax(probabilities.array, axis=0))


def odd_images(image: np.ndarray) -> dict[str, np.ndarray]:
    """What microscopes and people save, by what is to become of it."""
    return {
        "done_nan": np.where(image > 500, np.nan, image).astype(np.float32),
        "failed_only_nan": np.full((40, 50), np.nan, np.float32),
        "done_infinite": np.where(image > 500, np.inf, image).astype(np.float32),
        "done_constant": np.full((40, 50), 7, np.uint16),
        "done_bool": image > 500,
        "done_negative": image.astype(np.int32) - 500,
        "done_float64": image.astype(np.float64),
        "done_float16": image.astype(np.float16),
        "failed_one_pixel": np.ones((1, 1), np.uint8),
        "failed_complex": image.astype(np.complex64),
        "failed_rgba": np.dstack([image.astype(np.uint8)] * 4),
        "failed_six_axes": np.zeros((2, 2, 2, 2, 30, 30), np.uint8),
    }


def test_every_kind_of_image_is_segmented_or_refused_in_a_sentence(
    blobs: Path, trained: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    odd = odd_images(tifffile.imread(blobs / "images" / "cell0.tif"))
    for name, array in odd.items():
        tifffile.imwrite(images / f"{name}.tif", array)
    (images / "failed_empty.tif").touch()
    (images / "failed_text.png").write_text("no picture")
    whole = (blobs / "images" / "cell0.tif").read_bytes()
    (images / "failed_cut.tif").write_bytes(whole[: len(whole) // 2])
    result = predict(trained, images, tmp_path / "masks")
    assert result.exit_code == 1
    done = sorted(path.stem for path in (tmp_path / "masks").iterdir())
    assert done == sorted(name for name in odd if name.startswith("done"))
    for name in [*(n for n in odd if n.startswith("failed")), "failed_empty", "failed_cut"]:
        (line,) = (line for line in result.stderr.splitlines() if line.startswith(f"{name}.tif"))
        assert line.endswith(".")
    assert "should not happen" not in result.stderr
    assert "Traceback" not in result.output


def test_a_unit_that_nobody_knows_does_not_cost_the_mask(
    blobs: Path, trained: Path, tmp_path: Path
) -> None:
    image = tmp_path / "old.tif"
    settings = {"imagej": True, "resolution": (4.0, 2.0), "metadata": {"unit": "furlong"}}
    tifffile.imwrite(image, tifffile.imread(blobs / "images" / "cell0.tif"), **settings)
    result = predict(trained, image, tmp_path / "masks")
    assert result.exit_code == 0, result.output
    mask = read_labels(tmp_path / "masks" / "old.tif")
    assert (mask.pixel_size, mask.unit) == (pytest.approx((0.5, 0.25)), "furlong")
    said = " ".join(result.output.split())
    assert "in 'furlong', which is no unit of length that is known here" in said
    for ending in ("ome.tif", "nii.gz", "nrrd"):
        result = predict(trained, image, tmp_path / ending, "--masks-as", ending)
        assert result.exit_code == 0, result.output
        mask = read_labels(tmp_path / ending / f"old.{ending}")
        assert (mask.pixel_size, mask.unit) == (pytest.approx((0.5, 0.25)), None)


def test_a_stack_is_refused_as_png_before_it_is_segmented(trained: Path, tmp_path: Path) -> None:
    stack = tmp_path / "stack.tif"
    tifffile.imwrite(stack, np.zeros((3, 40, 40), np.uint8), photometric="minisblack")
    for more in ((), ("--min-size", "5", "--measure")):
        result = predict(trained, stack, tmp_path / "masks", "--png", *more)
        assert result.exit_code == 1
        assert (
            "stack.tif failed: PNG holds one plane of values up to 65535, but stack.png would have the axes ZYX"
            in result.stderr
        )
        assert list((tmp_path / "masks").iterdir()) == []  # no table of a mask that is not there
    result = predict(trained, stack, tmp_path / "masks")
    assert result.exit_code == 0, result.output
    assert read_labels(tmp_path / "masks" / "stack.tif").array.shape == (3, 40, 40)


def test_an_output_that_is_no_folder_is_refused(blobs: Path, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"precious")
    for output in (tmp_path / "file", tmp_path / "file" / "masks"):
        result = predict(trained, blobs / "images", output)
        assert result.exit_code == 2
        assert str(tmp_path / "file") in result.stderr
    assert (tmp_path / "file").read_bytes() == b"precious"


def test_another_pixel_size_is_told(blobs: Path, trained: Path, tmp_path: Path) -> None:
    image = tmp_path / "coarse.tif"
    settings = {"imagej": True, "resolution": (1.0, 1.0), "metadata": {"unit": "um"}}
    tifffile.imwrite(image, tifffile.imread(blobs / "images" / "cell0.tif"), **settings)
    result = predict(trained, image, tmp_path / "masks")
    assert result.exit_code == 0, result.output
    assert "pixels are 1 micrometer wide" in result.stderr


def test_ome_zarr_in_a_folder_that_is_called_like_one_is_refused_before_the_work(
    blobs: Path, trained: Path, tmp_path: Path
) -> None:
    more = ("--masks-as", "ome.zarr", "--measure")
    result = predict(trained, blobs / "images", tmp_path / "out.ome.zarr", *more)
    assert result.exit_code == 2
    assert "which is called like an OME-Zarr image. Choose a folder of another" in result.stderr
    assert f"(--output), such as {tmp_path / 'out_masks'}." in result.stderr
    assert list(tmp_path.iterdir()) == []


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
    assert "'x.tif'" in twins.stderr
    for name in ("y.tif", "y_uncertainty.tif"):
        (tmp_path / name).write_bytes(b"")
    twins = predict(trained, tmp_path, tmp_path / "masks", "--pattern", "y*", "--uncertainty")
    assert twins.exit_code == 2
    assert "'y_uncertainty.tif'" in twins.stderr


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--min-size", "9" * 14), "--min-size takes PIXELS, up to 1,000,000,000,"),
        (("--png", "--masks-as", "nrrd"), "ask for two formats"),
    ],
)
def test_flags_that_cannot_be_followed_are_refused_in_a_sentence(
    blobs: Path, trained: Path, tmp_path: Path, more: tuple[str, ...], words: str
) -> None:
    result = predict(trained, blobs / "images", tmp_path / "masks", *more)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert not (tmp_path / "masks").exists()


@pytest.mark.parametrize("more", [("--tile-size-px", "100"), ("--overlap", "2")])
def test_wrong_settings_are_refused(
    blobs: Path, trained: Path, tmp_path: Path, more: tuple[str, str]
) -> None:
    result = predict(trained, blobs / "images", tmp_path / "masks", *more)
    assert result.exit_code == 2
    assert "predict settings are not valid" in result.stderr
    assert not (tmp_path / "masks").exists()


def test_masks_are_tidied_numbered_and_measured(blobs: Path, trained: Path, tmp_path: Path) -> None:
    images, plain, tidy = blobs / "images" / "cell0.tif", tmp_path / "plain", tmp_path / "tidy"
    assert predict(trained, images, plain).exit_code == 0
    result = predict(
        trained, images, tidy,
        *("--min-size", "2=200", "--fill-holes", "2=50", "--instances", "2", "--measure"),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    names = {"cell0.tif", "cell0_objects.tif", "cell0_measured.csv"}
    assert {path.name for path in tidy.iterdir()} == names
    before, mask, objects = (
        read_labels(path)
        for path in (plain / "cell0.tif", tidy / "cell0.tif", tidy / "cell0_objects.tif")
    )
    rules = [ClassRule(value=1), ClassRule(value=2, smallest_px=200, fill_holes_px=50)]
    np.testing.assert_array_equal(mask.array, clean_block(np.asarray(before.array), rules, [1, 2]))
    assert mask.pixel_size == objects.pixel_size == pytest.approx((0.5, 0.25))
    np.testing.assert_array_equal(np.asarray(objects.array) > 0, np.asarray(mask.array) == 2)
    with (tidy / "cell0_measured.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == np.max(objects.array)
    pixels = sum(int(row["pixels"]) for row in rows)
    assert pixels == np.count_nonzero(np.asarray(mask.array) == 2)
    assert sum(float(row["area_um2"]) for row in rows) == pytest.approx(pixels * 0.125)
    again = predict(trained, images, tidy, "--instances", "2", "--measure")
    assert "because their masks are there: 1;" in again.stdout


def test_a_table_of_nothing_has_its_columns(blobs: Path, trained: Path, tmp_path: Path) -> None:
    result = predict(
        trained, blobs / "images" / "cell0.tif", tmp_path,
        *("--min-size", "2=1000000", "--instances", "2", "--measure"),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with (tmp_path / "cell0_measured.csv").open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file)
        assert list(table) == []
        assert {"index", "class", "area_um2", "intensity_mean"} <= set(table.fieldnames or ())


def test_only_the_largest_object_is_kept(blobs: Path, trained: Path, tmp_path: Path) -> None:
    images = blobs / "images" / "cell0.tif"
    predict(trained, images, tmp_path / "plain")
    result = predict(trained, images, tmp_path / "tidy", "--only-largest", "2")
    assert result.exit_code == 0, result.output
    before, mask = (read_labels(tmp_path / name / "cell0.tif").array for name in ("plain", "tidy"))
    rules = [ClassRule(value=2, only_largest=True)]
    np.testing.assert_array_equal(mask, clean_block(np.asarray(before), rules, [1, 2]))


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--min-size", "many"), "takes PIXELS, up to 1,000,000,000, or CLASS=PIXELS"),
        (("--instances", "nucleos"), "knows no class 'nucleos'"),
        (("--fill-holes", "moon=5"), "knows no class 'moon'"),
        (("--only-largest", "moon"), "knows no class 'moon'"),
    ],
)
def test_what_cannot_be_finished_so_is_said_before_the_work(
    blobs: Path, trained: Path, tmp_path: Path, flags: tuple[str, ...], sentence: str
) -> None:
    result = predict(trained, blobs / "images", tmp_path / "masks", *flags)
    assert result.exit_code != 0
    assert sentence in " ".join(result.stderr.split())
    assert not (tmp_path / "masks").exists()


def test_a_mask_that_another_run_writes_meanwhile_is_left_alone(
    blobs: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = tmp_path / "masks"
    write_labels = segment_file.write_labels

    def late(path: Path, *arguments: Any, **wishes: Any) -> None:
        if path.stem == "cell1":
            path.write_bytes(b"of the other run")
        write_labels(path, *arguments, **wishes)

    monkeypatch.setattr(segment_file, "write_labels", late)
    result = predict(trained, blobs / "images", masks)
    assert result.exit_code == 0, result.output
    assert "cell1.tif: another run has written its mask meanwhile." in result.stderr
    assert "2 of 3 images segmented" in result.stdout
    assert "their masks are there: 1;" in " ".join(result.stdout.split())
    assert (masks / "cell1.tif").read_bytes() == b"of the other run"


def test_the_memory_plan_is_told_before_the_work_and_keeps_below_the_share(
    blobs: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM2_ADAPTERS_MEMORY_SHARE", "0.9")  # put back after the test
    images = tmp_path / "images"
    images.mkdir()
    cell = read_image(blobs / "images" / "cell0.tif").array
    small, large = ([np.tile(cell, (n, n))] for n in (1, 10))
    for name, image in zip("abcd", [*small, *large, *large, *small], strict=True):
        tifffile.imwrite(images / f"{name}.tif", image)
    side = max(large[0].shape)
    usual = predict(trained, images, tmp_path / "a", "--tile-size-px", "896")
    plan = " ".join(usual.stdout.split())
    # that of the first image, by its own size, and of the first one that takes larger tiles
    sides = re.findall(r"Memory plan: 1 tile of (\d+) px at a time", plan)
    assert sides == [str(cell.shape[0]), str(side)]  # up to half longer than a tile is not cut
    tight = predict(
        *(trained, images, tmp_path / "b", "--tile-size-px", "896"),
        *("--memory-share", "0.0001"),
    )
    assert tight.exit_code == 0, tight.output
    plan = " ".join(tight.stdout.split())
    assert side > 128
    unmeasured = f"Memory plan: 1 tile of {cell.shape[0]} px at a time; no more of the memory of cpu may be used"
    assert plan.count(unmeasured) == 1
    assert plan.count("Memory plan: 1 tile of 128 px at a time, about 0.") == 1
    assert "more than the 0.00 GB that may be used on cpu" in plan
    assert tight.stderr.count("tiles of 128 px are taken") == 2  # as it is planned, so it is run
    refused = predict(trained, blobs / "images", tmp_path / "c", "--memory-share", "1.5")
    assert refused.exit_code == 2
    assert "number above 0 and up to 1" in " ".join(refused.stderr.split())


def test_a_region_comes_out_as_in_the_whole_mask(
    blobs: Path, trained: Path, tmp_path: Path
) -> None:
    one = blobs / "images" / "cell0.tif"
    assert predict(trained, one, tmp_path / "whole").exit_code == 0
    where = ("--region", "30:60,:50", "--min-size", "4", "--measure")
    result = predict(trained, one, tmp_path / "part", *where)
    assert result.exit_code == 0, result.output
    whole, part = (
        np.asarray(read_labels(tmp_path / folder / "cell0.tif").array)
        for folder in ("whole", "part")
    )
    inside = np.zeros(whole.shape, bool)
    inside[30:60, :50] = True
    assert not part[~inside].any()
    assert part[inside].all()
    cleaned = clean_block(
        np.where(inside, whole, 0),
        [ClassRule(value=1, smallest_px=4), ClassRule(value=2, smallest_px=4)],
        [1, 2],
    )
    np.testing.assert_array_equal(part, cleaned)
    with (tmp_path / "part" / "cell0_measured.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["pixels"]) for row in rows) == 30 * 50


def test_planes_of_a_stack(blobs: Path, trained: Path, tmp_path: Path) -> None:
    plane = tifffile.imread(blobs / "images" / "cell0.tif")
    (tmp_path / "images").mkdir()
    stack = np.stack([plane, plane[::-1], plane.T])
    tifffile.imwrite(
        tmp_path / "images" / "stack.tif", stack, imagej=True, metadata={"axes": "ZYX"}
    )
    masks = tmp_path / "masks"
    result = predict(
        trained, tmp_path / "images", masks, "--planes", "1:", "--masks-as", "ome.zarr"
    )
    assert result.exit_code == 0, result.output
    found = np.asarray(read_labels(masks / "stack.ome.zarr").array[:])
    assert [bool(plane.all()) for plane in found] == [False, True, True]
    assert not found[0].any()
    one = predict(trained, tmp_path / "images", tmp_path / "one", "--planes", "2")
    assert one.exit_code == 0, one.output
    only = np.asarray(read_labels(tmp_path / "one" / "stack.tif").array)
    np.testing.assert_array_equal(only[2], found[2])
    assert not only[:2].any()


@pytest.mark.parametrize(
    ("flags", "said", "code"),
    [
        (("--region", "0:10"), "--region takes TOP:BOTTOM,LEFT:RIGHT", 2),
        (("--region", "10:5,0:4"), "--region takes TOP:BOTTOM,LEFT:RIGHT", 2),
        (("--planes", "a:b"), "--planes takes a number or FIRST:STOP", 2),
        (("--planes", "7"), "the image has 1, counted from 0", 1),
        (("--region", "0:10,500:600"), "Choose a region that lies on the image", 1),
    ],
)
def test_a_region_that_is_none_is_said(
    blobs: Path, trained: Path, tmp_path: Path, flags: tuple[str, str], said: str, code: int
) -> None:
    result = predict(trained, blobs / "images" / "cell0.tif", tmp_path / "masks", *flags)
    assert result.exit_code == code
    assert said in " ".join(result.stderr.split())


def test_views_that_an_adapter_cannot_know_are_advised_against(
    blobs: Path, trained: Path, tmp_path: Path
) -> None:
    segmenter, header = load_adapter(trained)
    upright = tmp_path / "upright.adapter.safetensors"
    save_adapter(
        upright,
        segmenter,
        normalization=header.normalization,
        tile_size_px=header.tile_size_px,
        training={"settings": {"recipe": "upright"}},
    )
    flips = ("--test-time-augmentation", "flips_and_turns", "--pattern", "cell0.tif")
    result = predict(upright, blobs / "images", tmp_path / "upright", *flips)
    assert result.exit_code == 0, result.output
    assert "the same way round" in " ".join(result.stderr.split())
    result = predict(trained, blobs / "images", tmp_path / "masks", *flips)
    assert result.exit_code == 0, result.output
    assert "the same way round" not in " ".join(result.stderr.split())
