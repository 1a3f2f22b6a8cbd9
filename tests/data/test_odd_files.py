"""A zoo of odd files: each is read right, or refused in one sentence that names the file, what it is and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam2_adapters.data.io import read_image, read_labels, write_labels

GREY = np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)
TIFF = {"photometric": "minisblack", "metadata": None}


@pytest.mark.parametrize(
    ("name", "array", "options", "axes"),
    [
        ("float16.tif", GREY.astype(np.float16), {}, "YX"),
        ("signed.tif", GREY.astype(np.int16) - 100, {}, "YX"),
        ("double.tif", GREY.astype(np.float64), {}, "YX"),
        ("big_endian.tif", GREY.astype(">u2"), {"byteorder": ">"}, "YX"),
        ("bit.tif", GREY > 100, {}, "YX"),
        ("big.tif", GREY, {"bigtiff": True}, "YX"),
        ("tiled.tif", GREY, {"tile": (16, 16), "compression": "lzw"}, "YX"),
        ("colour_series.tif", np.stack([np.dstack([GREY] * 3)] * 6).reshape(2, 3, 40, 50, 3), {"photometric": "rgb", "imagej": True, "metadata": {"axes": "TZYXS"}}, "TZYXC"),
    ],
)  # fmt: skip
def test_odd_tiffs_are_read_right(tmp_path, name, array, options, axes) -> None:
    tifffile.imwrite(tmp_path / name, array, **{**TIFF, **options})
    found = read_image(tmp_path / name)
    assert (found.axes, found.rgb) == (axes, axes.endswith("C"))
    assert found.array.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(np.asarray(found.array), array)


def _complex(path: Path) -> None:
    tifffile.imwrite(path, GREY.astype(np.complex64))


def _inks(path: Path) -> None:
    tifffile.imwrite(path, np.dstack([GREY] * 4), photometric="separated")


def _no_page(path: Path) -> None:
    path.write_bytes(b"II*\0\0\0\0\0")


def _cut(path: Path) -> None:
    tifffile.imwrite(path, GREY, compression="zlib")
    path.write_bytes(path.read_bytes()[:300])


def _cut_in_the_head(path: Path) -> None:
    path.write_bytes(b"II*\0\x08\0")


def _damaged_words(path: Path) -> None:
    tifffile.imwrite(path, GREY, ome=True, metadata={"axes": "YX"})
    path.write_bytes(path.read_bytes().replace(b"<Pixels", b"<<ixels"))


def _damaged_numbers(path: Path) -> None:
    tifffile.imwrite(path, GREY, resolution=(1, 1))
    with tifffile.TiffFile(path) as file:
        entry = file.pages.first.tags["BitsPerSample"].offset
    whole = bytearray(path.read_bytes())
    whole[entry + 2 : entry + 4] = b"\x05\0"  # a fraction
    path.write_bytes(whole)


def _damaged_header(path: Path) -> None:
    np.save(path, GREY)
    path.write_bytes(path.read_bytes().replace(b"}", b"("))


def _folder(path: Path) -> None:
    path.mkdir()


def _png(path: Path) -> None:
    path.write_bytes(imagecodecs.png_encode(GREY))


def _tiff(path: Path) -> None:
    with path.open("wb") as file:
        tifffile.imwrite(file, GREY)


def _gif(path: Path) -> None:
    Image.fromarray(GREY).save(path, "GIF")


def _array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, GREY)


@pytest.mark.parametrize(
    ("name", "make", "sentence"),
    [
        ("c.tif", _complex, "holds complex64.*Convert it"),
        ("k.tif", _inks, "inks of printers.*Convert it"),
        ("n.tif", _no_page, r"save it again|has no image"),
        ("t.tif", _cut, "save it again"),
        ("h.tif", _cut_in_the_head, "save it again"),
        ("x.tif", _damaged_words, "ParseError.*save it again"),
        ("b.tif", _damaged_numbers, "save it again"),
        ("x.npy", _damaged_header, "save it again"),
        ("d.tif", _folder, "should be a file, not a folder"),
        ("d.npy", _folder, "should be a file, not a folder"),
        ("d.ome.zarr", _png, "should be a folder"),
        ("e.tif", Path.touch, "it is empty.*save it again"),
        ("e.png", Path.touch, "it is empty.*save it again"),
        ("e.npz", Path.touch, "it is empty.*save it again"),
        ("p.tif", _png, r"called TIFF, but what is in it is PNG.*end in \.png"),
        ("p.jpg", _png, r"called JPEG, but what is in it is PNG.*end in \.png"),
        ("t.png", _tiff, r"called PNG, but what is in it is TIFF.*end in \.tif"),
        ("t.npy", _tiff, r"called NPY, but what is in it is TIFF.*end in \.tif"),
        ("g.tif", _gif, r"what is in it is GIF.*not read here"),
        ("a.tif", _array, r"called TIFF, but what is in it is NPY.*end in \.npy"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(
    tmp_path: Path, name: str, make: Callable[[Path], None], sentence: str
) -> None:
    path = tmp_path / name
    make(path)
    for read in (read_image, read_labels):
        with pytest.raises(ValueError, match=rf"(?s){name}.*({sentence})") as caught:
            read(path)
        assert str(caught.value).startswith(str(path))
        assert str(caught.value).endswith((".", "tif"))


@pytest.mark.parametrize("ending", [".tif", ".ome.tif", ".png", ".npz", ".ome.zarr"])
def test_nothing_is_left_of_labels_that_were_not_finished(tmp_path: Path, ending: str) -> None:
    class Failing:
        shape, dtype = (40, 50), np.dtype(np.uint8)

        def __getitem__(self, key: object) -> np.ndarray:
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            write_labels(tmp_path / f"m{ending}", Failing(), axes="YX")
    assert list(tmp_path.iterdir()) == []
