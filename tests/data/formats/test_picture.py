"""PNG and JPEG."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.io import read_image, read_labels, write_labels
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.data.stacks import check_alike

CLASSES = (
    ClassInfo(value=0, name="nothing", color="#000000"),
    ClassInfo(value=1, name="background", color="#3b6ea5"),
    ClassInfo(value=3, name="Kern, groß", color="#ff7f00"),
)


def test_classes_are_a_palette_whose_indices_are_the_labels(tmp_path: Path) -> None:
    labels = load_sample("fluorescence").train_labels[0]
    path = write_labels(tmp_path / "m.png", labels, axes="YX", classes=CLASSES)
    found = read_labels(path)
    np.testing.assert_array_equal(found.array, labels)
    assert found.classes == CLASSES
    with Image.open(path) as picture:
        assert (picture.mode, picture.format) == ("P", "PNG")
        np.testing.assert_array_equal(np.asarray(picture), labels)
        shown = np.asarray(picture.convert("RGB"))
    assert set(map(tuple, shown[labels == 3])) == {(255, 127, 0)}
    np.testing.assert_array_equal(imagecodecs.png_decode(path.read_bytes())[..., :3], shown)


@pytest.mark.parametrize(("largest", "mode"), [(255, "P"), (256, "I;16"), (65535, "I;16")])
def test_the_largest_values_come_back(tmp_path: Path, largest: int, mode: str) -> None:
    labels = np.array([[0, 1, 3], [largest, 2, 1]])
    path = write_labels(tmp_path / "m.png", labels, axes="YX", classes=CLASSES)
    found = read_labels(path)
    np.testing.assert_array_equal(found.array, labels)
    assert found.classes == CLASSES
    with Image.open(path) as picture:
        assert picture.mode == mode
        np.testing.assert_array_equal(np.asarray(picture), labels)


@pytest.mark.parametrize(("shown", "axes"), [((0, 0, 0), "YX"), ((0, 0, 1), "YXC")])
def test_a_palette_of_greys_is_grey(tmp_path: Path, shown: tuple[int, ...], axes: str) -> None:
    values = load_sample("fluorescence").train_images[0]
    picture = Image.fromarray(values)
    picture.putpalette([v for grey in range(256) for v in (255 - grey, *[255 - grey] * 2)])
    picture.putpalette([*shown, *picture.getpalette()[3:]])
    picture.save(tmp_path / "p.png")
    found = read_image(tmp_path / "p.png")
    assert (found.axes, found.rgb) == (axes, axes == "YXC")
    grey = found.array if axes == "YX" else found.array[..., 0]
    np.testing.assert_array_equal(grey, np.where(values == 0, 0, 255 - values))


def test_labels_without_classes_are_grey(tmp_path: Path) -> None:
    path = write_labels(tmp_path / "m.png", np.eye(9, dtype=int), axes="YX")
    with Image.open(path) as picture:
        assert picture.mode == "L"
    assert read_labels(path).classes == ()


def test_words_of_others_are_no_classes(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    for words in ("three", '["a"]', '[{"value": -1, "name": "x"}]', "7"):
        text = PngInfo()
        text.add_text("Classes", words)
        Image.fromarray(np.eye(9, dtype=np.uint8)).save(tmp_path / "w.png", pnginfo=text)
        assert read_labels(tmp_path / "w.png").classes == ()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits_with_a_transparent_value_are_the_labels_that_they_are(
    tmp_path: Path, depth: int
) -> None:
    path, labels = tmp_path / "m.png", np.arange(16, dtype=np.uint8) % 2**depth
    packed = np.packbits(np.unpackbits(labels[:, None], axis=1)[:, 8 - depth :])
    head = struct.pack(">IIBBBBB", len(labels), 1, depth, 0, 0, 0, 0)
    chunks = {b"IHDR": head, b"tRNS": b"\0\0", b"IDAT": zlib.compress(b"\0" + packed.tobytes())}
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in (chunks | {b"IEND": b""}).items():
        content += struct.pack(">I", len(data)) + name + data
        content += struct.pack(">I", zlib.crc32(name + data))
    path.write_bytes(content)
    np.testing.assert_array_equal(read_labels(path).array, [labels])
    assert np.max(read_image(path).array) == 255


def test_one_bit_and_printers_inks(tmp_path: Path) -> None:
    Image.fromarray(np.eye(16, dtype=bool)).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "bit.png").array, np.eye(16))
    assert np.max(read_image(tmp_path / "bit.png").array) == 255
    Image.new("CMYK", (16, 16), (10, 20, 30, 40)).save(tmp_path / "ink.jpg")
    with pytest.raises(ValueError, match=r"ink\.jpg is a JPEG in the four inks"):
        read_image(tmp_path / "ink.jpg")


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_was_cut_short_is_a_sentence(tmp_path: Path, progressive: bool) -> None:
    path = tmp_path / "p.jpg"
    picture = Image.fromarray(load_sample("fluorescence").train_images[0])
    inner = io.BytesIO()
    picture.resize((32, 32)).save(inner, "JPEG")
    thumbnail = b"Exif\0\0" + inner.getvalue()  # has an end of its own
    picture.save(path, "JPEG", progressive=progressive, exif=thumbnail)
    encoded = path.read_bytes()
    whole = read_image(path).array
    path.write_bytes(encoded + b"what a phone appends" * 10)
    np.testing.assert_array_equal(read_image(path).array, whole)
    for left in (len(encoded) // 2, len(encoded) - 2):
        path.write_bytes(encoded[:left])
        with pytest.raises(
            ValueError, match=rf"p\.jpg.*has {left} bytes.*cut short.*Copy it again"
        ):
            read_image(path)


def test_pictures_larger_than_photographs_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PIL refuses what has twice as many pixels as it takes for sound: 13,400 px square."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    labels = load_sample("fluorescence").train_labels[0]
    for classes in (CLASSES, ()):
        path = write_labels(tmp_path / "m.png", labels, axes="YX", classes=classes, overwrite=True)
        found = read_labels(path)
        np.testing.assert_array_equal(found.array, labels)
        assert found.classes == classes
        assert read_image(path).array.shape[:2] == labels.shape
    (tmp_path / "n.jpg").write_bytes(imagecodecs.jpeg_encode(labels))
    for name in ("m.png", "n.jpg"):
        check_alike([tmp_path / name] * 2)


def test_what_is_no_picture_is_named_in_a_stack(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
        with pytest.raises(ValueError, match=rf"{name} cannot be read \(.+\)\. Leave it out"):
            check_alike([tmp_path / name] * 2)
