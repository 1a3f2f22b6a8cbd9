from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam2_adapters.data.formats import tiff
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.io import read_image, write_labels
from napari_sam2_adapters.data.matching import find_images
from napari_sam2_adapters.data.stacks import open_stack, stack_axis


def sections(folder: Path, number: int = 12, shape: tuple[int, ...] = (30, 40)) -> list[Path]:
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    for i in range(number):
        tifffile.imwrite(
            folder / f"s{i}.tif",
            rng.integers(0, 255, shape, dtype=np.uint8),
            imagej=True,
            resolution=(4.0, 2.0),
            metadata={"unit": "um"},
        )
    return find_images(folder)


def test_sections_come_in_natural_order_with_their_pixel_size(tmp_path: Path) -> None:
    paths = sections(tmp_path / "s")
    stack = open_stack(paths, spacing=3)
    assert stack.axes == "ZYX"
    assert stack.array.shape == (12, 30, 40)
    assert stack.pixel_size == (3, 0.5, 0.25)
    assert stack.unit == "micrometer"
    for i in (0, 2, 10):  # as text, 10 comes before 2
        np.testing.assert_array_equal(
            np.asarray(stack.array[i]), tifffile.imread(tmp_path / "s" / f"s{i}.tif")
        )
    whole = np.asarray(stack.array[1:4, 5:9, ::2])
    np.testing.assert_array_equal(whole[2], tifffile.imread(paths[3])[5:9, ::2])
    assert open_stack(paths).pixel_size == (0.5, 0.5, 0.25)


def test_only_what_is_looked_at_is_read(tmp_path: Path) -> None:
    paths = sections(tmp_path / "s")
    stack = open_stack(paths)
    for path in paths[3:]:
        path.unlink()
    assert np.asarray(stack.array[2]).any()
    with pytest.raises(FileNotFoundError, match=r"s3\.tif"):
        np.asarray(stack.array[3])


def test_colours_and_volumes_can_be_stacked(tmp_path: Path) -> None:
    for i in range(3):
        Image.fromarray(np.full((20, 30, 3), i, np.uint8)).save(tmp_path / f"{i}.png")
        tifffile.imwrite(
            tmp_path / f"{i}.tif",
            np.zeros((4, 20, 30), np.uint16),
            imagej=True,
            metadata={"axes": "ZYX"},
        )
    colours = open_stack(find_images(tmp_path, "*.png"))
    assert (colours.axes, colours.array.shape, colours.rgb) == ("ZYXC", (3, 20, 30, 3), True)
    assert np.asarray(colours.array[2]).max() == 2
    volumes = open_stack(find_images(tmp_path, "*.tif"))
    assert (volumes.axes, volumes.array.shape) == ("TZYX", (3, 4, 20, 30))
    with pytest.raises(ValueError, match="no axis left"):
        stack_axis("TZYX")


def test_planes_of_other_formats_can_be_stacked(tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 99, (3, 20, 30), dtype=np.uint8)
    place = Geometry((2.0, 3.0), "angstrom")
    for number, plane in enumerate(planes):
        path = tmp_path / f"p{number}.mrc"
        write_labels(path, plane, axes="YX", geometry=place)
    stack = open_stack(find_images(tmp_path), spacing=7.0)
    assert (stack.axes, stack.pixel_size) == ("ZYX", (7.0, 2.0, 3.0))
    np.testing.assert_array_equal(np.asarray(stack.array), planes)
    write_labels(path, planes[0, 1:], axes="YX", overwrite=True)
    with pytest.raises(ValueError, match=r"20 × 30 px, int8.*p2.mrc \(19 × 30"):
        open_stack(find_images(tmp_path))


def test_files_of_another_kind_are_named(tmp_path: Path) -> None:
    paths = sections(tmp_path / "s")
    tifffile.imwrite(paths[4], np.zeros((30, 41), np.uint8))
    tifffile.imwrite(paths[0], np.zeros((30, 40), np.uint16))
    with pytest.raises(
        ValueError, match=r"30 × 40 px, uint8.*s0.tif \(.*uint16\), s4.tif \(30 × 41"
    ):
        open_stack(paths)
    paths[4].write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"s4\.tif cannot be read"):
        open_stack(paths)


def test_a_volume_of_another_depth_is_named(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.tif" for n in range(3)]
    for path, depth in zip(paths, (3, 3, 4), strict=True):
        tifffile.imwrite(path, np.zeros((depth, 8, 9), np.uint8), imagej=True)
    with pytest.raises(ValueError, match=r"here 3 × 8 × 9 px, uint8.*2\.tif \(4 × 8 × 9 px"):
        open_stack(paths)
    assert open_stack(paths[:2]).array.shape == (2, 3, 8, 9)


def test_a_file_that_changed_since_is_refused_when_it_is_read(tmp_path: Path) -> None:
    paths = sections(tmp_path / "s", 3)
    stack = open_stack(paths)
    tifffile.imwrite(paths[1], np.zeros((10, 10), np.uint8))
    with pytest.raises(ValueError, match="Leave this file out"):
        np.asarray(stack.array[1])


def test_of_hundreds_of_sections_only_those_are_read_that_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sections(tmp_path / "s", 300)
    read: list[Path] = []

    def noted(path: Path) -> ImageFile:
        read.append(path)
        return read_image(path)

    stack = open_stack(paths, read=noted)
    assert stack.array.shape[0] == 300
    assert len(read) < 5  # of the others only the headers are looked at
    read.clear()
    np.testing.assert_array_equal(np.asarray(stack.array[200]), tifffile.imread(paths[200]))
    assert read == [paths[200]]


@pytest.mark.parametrize("ending", ["tif", "npy"])
def test_sections_of_either_byte_order_are_one_stack(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff, "_EAGER_BYTES", 0)  # as sections above 32 MB
    planes = np.random.default_rng(0).integers(0, 60000, (3, 20, 30), dtype=np.uint16)
    for number, (plane, order) in enumerate(zip(planes, "<><", strict=True)):
        path = tmp_path / f"s{number}.{ending}"
        if ending == "tif":
            tifffile.imwrite(path, plane, byteorder=order)
        else:
            np.save(path, plane.astype(f"{order}u2"))
    stack = open_stack(find_images(tmp_path))
    assert stack.array.dtype == np.uint16
    np.testing.assert_array_equal(np.asarray(stack.array), planes)
    np.testing.assert_array_equal(np.asarray(stack.array[1, 3:7]), planes[1, 3:7])
    assert np.asarray(stack.array[1]).dtype == np.uint16
