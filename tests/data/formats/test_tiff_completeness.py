"""TIFF files that were cut short are refused with what they should hold; those that hold less or more than is read say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_sam2_adapters.data.formats import tiff
from napari_sam2_adapters.data.io import read_image
from napari_sam2_adapters.data.samples import load_sample


@pytest.fixture
def stack() -> np.ndarray:
    return np.stack([load_sample("fluorescence").train_images[0][:60, :70]] * 20)


def _cut(path: Path, n_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:n_bytes])


@pytest.mark.parametrize("eager_bytes", [1000, 2**25])
@pytest.mark.parametrize(
    ("name", "options", "cut", "sentence"),
    [
        ("a.tif", {"imagej": True}, 0.35, "20 planes of 60 × 70 pixels and has room for 7"),
        ("a.tif", {"imagej": True, "byteorder": ">"}, 0.35, "20 planes of 60 × 70"),
        ("a.tif", {"imagej": True, "compression": "zlib"}, 0.9, "20 planes of 60 × 70 pixels; "),
        ("a.ome.tif", {}, 0.5, "cut short"),
        ("a.ome.tif", {"compression": "zlib"}, 0.5, "cut short"),
        ("a.ome.tif", {"compression": "zlib"}, 0.99, "cut short"),  # only the description is gone
        ("a.ome.tif", {"bigtiff": True, "tile": (32, 32)}, 0.5, "cut short"),
        ("a.tif", {}, 0.5, "20 planes of 60 × 70"),
        ("a.tif", {"metadata": None}, 0.5, "cut short"),
        ("a.tif", {"metadata": None, "compression": "zlib"}, 0.5, "cut short"),
        ("a.tif", {"metadata": None, "bigtiff": True}, 0.98, "cut short"),
    ],
)
def test_a_stack_that_was_cut_short_is_a_sentence(
    tmp_path: Path, stack: np.ndarray, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any], cut: float, sentence: str, eager_bytes: int
) -> None:  # fmt: skip
    monkeypatch.setattr(tiff, "_EAGER_BYTES", eager_bytes)
    path = tmp_path / name
    tifffile.imwrite(path, stack, photometric="minisblack", **options)
    assert read_image(path).array.shape == stack.shape
    size = path.stat().st_size
    _cut(path, int(size * cut))
    with pytest.raises(ValueError, match=rf"cut short.*ends at byte {int(size * cut)}.*Copy it again") as found:  # fmt: skip
        read_image(path)
    assert sentence in str(found.value)
    assert str(path) in str(found.value)


@pytest.mark.parametrize("eager_bytes", [100, 2**25])
def test_one_page_whose_pixels_were_cut_short_is_a_sentence(
    tmp_path: Path, stack: np.ndarray, monkeypatch: pytest.MonkeyPatch, eager_bytes: int
) -> None:
    monkeypatch.setattr(tiff, "_EAGER_BYTES", eager_bytes)
    path = tmp_path / "a.tif"
    for options in ({}, {"compression": "zlib"}, {"tile": (32, 32)}):
        tifffile.imwrite(path, stack[0], **options)
        _cut(path, path.stat().st_size - 200)
        with pytest.raises(ValueError, match=r"cut short: its pixels should end at byte.*Copy it"):
            read_image(path)


def _with_one_page(path: Path, stack: np.ndarray) -> int:
    """An ImageJ stack whose one page tells of all planes, as ImageJ writes those above 4 GB; gives where its pixels begin."""
    lines = f"ImageJ=1.54f\nimages={len(stack)}\nslices={len(stack)}\nloop=false\n"
    tifffile.imwrite(path, stack[0], description=lines, metadata=None)
    with tifffile.TiffFile(path) as file:
        start = int(file.pages.first.dataoffsets[0])
    path.write_bytes(path.read_bytes()[:start] + stack.tobytes())
    return start


def test_imagej_stacks_above_four_gigabytes_are_read(tmp_path: Path, stack: np.ndarray) -> None:
    path = tmp_path / "a.tif"
    start = _with_one_page(path, stack)
    found = read_image(path)
    np.testing.assert_array_equal(found.array, stack)
    assert (found.axes, found.notices) == ("ZYX", ())
    _cut(path, start + stack[:7].nbytes + 100)
    with pytest.raises(
        ValueError, match=r"20 planes of 60 × 70 pixels and has room for 7; it ends"
    ):
        read_image(path)


def test_one_plane_under_the_description_of_a_stack_is_read_with_a_notice(
    tmp_path: Path, stack: np.ndarray
) -> None:
    path = tmp_path / "a.tif"
    _cut(path, _with_one_page(path, stack) + stack[0].nbytes)
    found = read_image(path)
    np.testing.assert_array_equal(found.array, stack[0])
    assert found.notices == (
        "ImageJ's description tells of 20 planes, but there is 1 in the file.",
    )


def test_some_planes_under_the_description_of_a_stack_are_read_with_a_notice(
    tmp_path: Path, stack: np.ndarray
) -> None:
    """As programs leave them that copy some pages of a file with all their tags."""
    path = tmp_path / "a.tif"
    lines = f"ImageJ=1.54f\nimages={len(stack)}\nslices={len(stack)}\nloop=false\n"
    with tifffile.TiffWriter(path) as writer:
        for plane in stack[:5]:
            writer.write(plane, description=lines, metadata=None, contiguous=False)
    found = read_image(path)
    np.testing.assert_array_equal(found.array, stack[:5])
    assert found.notices == (
        "ImageJ's description tells of 20 planes, but there are 5 in the file.",
    )
    _cut(path, path.stat().st_size - stack[0].nbytes - 300)
    with pytest.raises(ValueError, match="cut short"):
        read_image(path)


def test_planes_that_a_microscope_did_not_write_are_said(tmp_path: Path, stack: np.ndarray) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path, stack[:4], photometric="minisblack", compression="zlib", metadata={"axes": "TYX"}
    )
    with tifffile.TiffFile(path) as file:
        xml = file.ome_metadata
    xml = xml.replace('SizeT="4"', 'SizeT="6"')
    tifffile.imwrite(
        path, stack[:4], photometric="minisblack", compression="zlib", metadata=None, description=xml.encode()
    )  # fmt: skip
    found = read_image(path)
    assert found.array.shape == (6, 60, 70)
    np.testing.assert_array_equal(found.array[:4], stack[:4])
    assert not found.array[4:].any()
    assert found.notices == ("2 of 6 planes are not in the file, and are read as 0.",)


def test_images_of_other_sizes_are_said(tmp_path: Path, stack: np.ndarray) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(stack[0], metadata=None)
        writer.write(stack[0, :30], metadata=None)
    series = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(series, ome=True) as writer:
        writer.write(stack[0], metadata={"axes": "YX"})
        writer.write(stack[0, :30], metadata={"axes": "YX"})
    for name in (path, series):
        found = read_image(name)
        np.testing.assert_array_equal(found.array, stack[0])
        (notice,) = found.notices
        assert "holds 2 images, of which the first (60 × 70) is read" in notice
        assert "30 × 70" in notice


def test_the_levels_of_a_pyramid_are_no_other_images(tmp_path: Path, stack: np.ndarray) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        options = {"metadata": None, "tile": (16, 16), "compression": "zlib"}
        writer.write(stack[0], **options)
        writer.write(stack[0, ::2, ::2], subfiletype=1, **options)
    assert read_image(path).notices == ()


def test_a_header_without_a_page_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + b"\xff" * 60)
    with pytest.raises(ValueError, match=r"cut short or damaged: it should go on"):
        read_image(path)
