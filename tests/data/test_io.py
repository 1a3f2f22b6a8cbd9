"""Reading and writing: round trips keep values, axes and sizes; nothing is destroyed."""

import os
import threading
from pathlib import Path

import dask.array
import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.formats import elements, tiff
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import read_image, read_labels, write_array, write_labels
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.data.units import convert


@pytest.fixture(scope="module")
def labels():
    return load_sample("fluorescence").train_labels


def test_pictures_of_every_kind(tmp_path):
    colour = load_sample("tissue").train_images[0]
    rgba = np.dstack([colour, np.full((256, 256), 9, np.uint8)])
    deep = colour.astype(np.uint16) * 257
    for name, array, expected, axes in (
        ("grey.png", colour[..., 0], colour[..., 0], "YX"),
        ("grey16.png", deep[..., 0], deep[..., 0], "YX"),
        ("grey_alpha.png", rgba[..., [0, 3]], colour[..., 0], "YX"),
        ("colour.PNG", colour, colour, "YXC"),
        ("colour16.png", deep, deep, "YXC"),
        ("alpha.png", rgba, colour, "YXC"),
    ):
        (tmp_path / name).write_bytes(imagecodecs.png_encode(np.ascontiguousarray(array)))
        found = read_image(tmp_path / name)
        assert (found.axes, found.rgb, found.path) == (axes, axes == "YXC", tmp_path / name)
        assert found.array.dtype == expected.dtype
        np.testing.assert_array_equal(found.array, expected)


def test_jpeg_is_read_as_an_image_but_not_as_labels(tmp_path):
    colour = load_sample("tissue").train_images[0]
    path = tmp_path / "a.jpg"
    path.write_bytes(imagecodecs.jpeg_encode(colour, level=95))
    found = read_image(str(path))
    assert found.axes == "YXC"
    assert np.abs(found.array.astype(int) - colour).mean() < 5
    with pytest.raises(ValueError, match="blurs label values"):
        read_labels(path)


@pytest.mark.parametrize("name", ["a.tif", "a.tiff", "a.ome.tif"])
@pytest.mark.parametrize(
    ("largest", "dtype"), [(3, np.uint8), (255, np.uint8), (256, np.uint16), (70000, np.uint32)]
)
def test_labels_round_trip_in_the_smallest_type(tmp_path, labels, name, largest, dtype):
    stack = np.where(labels == 3, largest, labels.astype(np.int64)).reshape(2, 2, 256, 256)
    path = write_labels(
        tmp_path / name, stack, axes="TZYX", geometry=Geometry((2.0, 0.3, 0.25), "micrometer")
    )
    found = read_labels(path)
    assert found.array.dtype == dtype
    assert (found.axes, found.unit) == ("TZYX", "micrometer")
    assert found.pixel_size == pytest.approx((2.0, 0.3, 0.25))
    np.testing.assert_array_equal(found.array, stack)


@pytest.mark.parametrize(
    "wrap", [np.asarray, lambda a: dask.array.from_array(a, chunks=(1, 99, 256)), zarr.array]
)
def test_labels_may_be_lazy(tmp_path, labels, wrap):
    path = write_labels(tmp_path / "a.tif", wrap(labels), axes="ZYX")
    found = read_labels(path)
    assert found.axes == "ZYX"
    assert found.pixel_size is None
    np.testing.assert_array_equal(found.array, labels)


def test_axes_in_another_order_are_put_right(tmp_path, labels):
    array = labels.reshape(2, 2, 256, 256)  # Z, T
    found = read_labels(write_labels(tmp_path / "a.tif", array, axes="ZTYX"))
    assert found.axes == "TZYX"
    np.testing.assert_array_equal(found.array, array.transpose(1, 0, 2, 3))


@pytest.mark.parametrize("axes", ["YX", "TYX", "ZYX", "TZYX"])
def test_axes_of_length_one_do_not_hurt(tmp_path, labels, axes):
    array = labels[0].reshape([1] * (len(axes) - 2) + [256, 256])
    sizes = (1.5,) * sum(a in "ZYX" for a in axes)
    found = read_labels(
        write_labels(tmp_path / "a.tif", array, axes=axes, geometry=Geometry(sizes, "nm"))
    )
    np.testing.assert_array_equal(np.squeeze(found.array), labels[0])
    assert set(found.pixel_size) == {1.5}
    assert found.unit == "nanometer"


def test_png_labels(tmp_path, labels):
    for array, dtype in ((labels[0], np.uint8), (labels[0].astype(np.int32) * 1000, np.uint16)):
        path = write_labels(tmp_path / "a.png", array, axes="YX", overwrite=True)
        found = read_labels(path)
        assert found.array.dtype == dtype
        np.testing.assert_array_equal(found.array, array)
    with pytest.raises(ValueError, match=r"PNG holds one plane.*Write a TIFF"):
        write_labels(tmp_path / "b.png", labels, axes="ZYX")
    with pytest.raises(ValueError, match="PNG holds one plane"):
        write_labels(tmp_path / "b.png", labels[0].astype(np.int64) * 70000, axes="YX")
    assert not (tmp_path / "b.png").exists()


def test_bool_labels(tmp_path, labels):
    for name in ("a.tif", "a.png"):
        found = read_labels(write_labels(tmp_path / name, labels[0] == 3, axes="YX"))
        np.testing.assert_array_equal(found.array, labels[0] == 3)


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8", "uint16", "uint32"])
@pytest.mark.parametrize("name", ["p.tif", "p.ome.tif"])
def test_probabilities_round_trip(tmp_path, dtype, name):
    array = (np.random.default_rng(0).random((2, 3, 20, 30)) * 200).astype(dtype)
    path = write_array(
        tmp_path / name, array, axes="ZCYX", geometry=Geometry((5.0, 0.3, 0.25), "nm")
    )
    found = read_image(path)
    kept = "float32" if (name, dtype) == ("p.ome.tif", "float16") else dtype  # OME has no float16
    assert (found.axes, found.array.dtype, found.unit) == ("ZCYX", kept, "nanometer")
    assert found.pixel_size == pytest.approx((5.0, 0.3, 0.25))
    np.testing.assert_array_equal(found.array, array)


def test_nothing_is_overwritten_unasked(tmp_path, labels):
    path = write_labels(tmp_path / "a.tif", labels, axes="ZYX")
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"exists already. Choose another name"):
        write_labels(path, labels * 0, axes="ZYX")
    assert path.read_bytes() == before
    write_labels(path, labels * 0, axes="ZYX", overwrite=True)
    assert not read_labels(path).array.any()


def test_a_write_that_fails_leaves_the_old_file_and_no_trace(tmp_path, labels):
    path = write_labels(tmp_path / "a.tif", labels, axes="ZYX")
    before = path.read_bytes()
    calls = []

    def block(block_info):
        calls.append(1)
        if len(calls) > 6:  # the first pass, over four planes, looks for the largest value
            raise RuntimeError("the disk of the source is gone")
        return np.ones((1, 256, 256), np.uint16)

    broken = dask.array.map_blocks(
        block,
        chunks=((1,) * 4, (256,), (256,)),
        dtype=np.uint16,
        meta=np.empty((0, 0, 0), np.uint16),
    )
    with pytest.raises(RuntimeError, match="source is gone"):
        write_labels(path, broken, axes="ZYX", overwrite=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_a_reader_never_sees_half_a_file(tmp_path, labels, monkeypatch):
    path = tmp_path / "a.tif"
    seen = []
    real_replace = type(path).replace

    def replace(self, target):
        seen.append((target.exists(), read_labels_of(self)))
        return real_replace(self, target)

    def read_labels_of(partial):
        return tifffile.imread(partial)

    monkeypatch.setattr(type(path), "replace", replace)
    write_labels(path, labels, axes="ZYX")
    ((existed, complete),) = seen
    assert not existed
    np.testing.assert_array_equal(complete, labels)


def test_two_writers_do_not_disturb_each_other(tmp_path, labels):
    path = tmp_path / "a.tif"
    threads = [
        threading.Thread(
            target=write_labels, args=(path, labels + i), kwargs={"axes": "ZYX", "overwrite": True}
        )
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_labels(path).array[0, 0, 0] - labels[0, 0, 0] in range(4)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_a_palette_gives_its_indices_as_labels_and_its_colours_as_an_image(tmp_path):
    indices = np.arange(64, dtype=np.uint8).reshape(8, 8) % 4
    picture = Image.fromarray(indices, mode=None).convert("P")
    picture.putdata(indices.ravel().tolist())
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255] + [0] * 756)
    picture.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "p.png").array, indices)
    assert read_image(tmp_path / "p.png").axes == "YXC"


def floats(path: Path, values: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Labels in floating point, of a file that holds them so."""
    if path.name == "a.npy":
        np.save(path, values)
    elif path.name == "a.tif":
        tifffile.imwrite(path, values, photometric="minisblack", metadata={"axes": "ZYX"})
    elif path.name == "large.tif":  # which is not read at once
        monkeypatch.setattr(elements, "EAGER_BYTES", 100)
        tifffile.imwrite(path, values, photometric="minisblack", metadata={"axes": "ZYX"})
    else:
        write_array(path, values, axes="ZYX", geometry=Geometry((2.0, 0.5, 0.5), "micrometer"))
    return path


@pytest.mark.parametrize("name", ["a.tif", "large.tif", "a.npy", "a.ome.zarr", "a.nrrd", "a.mrc"])
def test_labels_saved_in_floating_point_are_the_whole_numbers_that_they_are(
    tmp_path, monkeypatch, labels, name
):
    """As Fiji's 32-bit images, or what NumPy's arithmetic leaves."""
    wanted = np.stack([np.asarray(labels[0])] * 2)
    found = read_labels(floats(tmp_path / name, wanted.astype(np.float32), monkeypatch))
    assert found.array.dtype == np.uint8
    assert found.axes == "ZYX"
    np.testing.assert_array_equal(np.asarray(found.array[:]), wanted)


def test_labels_in_colour_or_between_whole_numbers_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "f.tif", np.full((8, 8), 0.5, np.float32))
    with pytest.raises(ValueError, match="holds float32, but labels are whole numbers"):
        read_labels(tmp_path / "f.tif")
    (tmp_path / "c.png").write_bytes(imagecodecs.png_encode(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(ValueError, match="one number per pixel"):
        read_labels(tmp_path / "c.png")


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg"])
@pytest.mark.parametrize("content", [b"", b"not an image at all, but some text"])
def test_a_file_that_is_no_image_is_a_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.\w+.*save it again"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_a_file_that_was_cut_short_is_a_sentence(tmp_path, name, labels):
    path = write_labels(tmp_path / name, labels[0], axes="YX")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(ValueError, match=r"a\.\w+.*save it again"):
        read_labels(path)


def test_what_cannot_be_is_refused_in_a_sentence(tmp_path, labels):
    with pytest.raises(FileNotFoundError, match="There is no file"):
        read_image(tmp_path / "none.tif")
    (tmp_path / "a.xyz").touch()
    with pytest.raises(ValueError, match=r"kind '.xyz'; images end in"):
        read_image(tmp_path / "a.xyz")
    with pytest.raises(ValueError, match="whole numbers without channels, got float64"):
        write_labels(tmp_path / "a.tif", labels / 2, axes="ZYX")
    with pytest.raises(ValueError, match="between 0 and 4294967295, got -1"):
        write_labels(tmp_path / "a.tif", labels.astype(int) - 2, axes="ZYX")
    with pytest.raises(ValueError, match=r"is written as .ome.tif, "):
        write_labels(tmp_path / "a.npy", labels, axes="ZYX")
    with pytest.raises(ValueError, match="need 3 pixel sizes"):
        write_labels(tmp_path / "a.tif", labels, axes="ZYX", geometry=Geometry((1.0, 1.0)))
    with pytest.raises(ValueError, match="got float64"):
        write_array(tmp_path / "a.tif", np.zeros((4, 4)), axes="YX")
    assert not list(tmp_path.glob("a.*tif*"))


@pytest.mark.parametrize("ending", [".tif", ".ome.tif", ".ome.zarr", ".npz"])
@pytest.mark.parametrize(("axes", "shape"), [("CYX", (3, 8, 9)), ("CZYX", (3, 2, 8, 9))])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_channels_keep_the_names_of_their_classes(
    tmp_path: Path, ending: str, axes: str, shape: tuple[int, ...], dtype: type
) -> None:
    classes = tuple(ClassInfo(value=n, name=name) for n, name in enumerate(("a", "rim", "µ"), 1))
    values = np.random.default_rng(0).random(shape).astype(dtype)
    path = write_array(tmp_path / f"a{ending}", values, axes=axes, channels=classes)
    found = read_image(path)
    assert (found.channel_names, found.classes) == (("a", "rim", "µ"), ())
    channels_first = np.moveaxis(np.asarray(found.array[:]), found.axes.index("C"), 0)
    np.testing.assert_array_equal(channels_first, values)


@pytest.mark.parametrize("unit", ["decimeter", "foot", "kilometer", "nanometer", "inch", "parsec"])
@pytest.mark.parametrize("name", ["a.ome.tif", "a.tif", "a.nii.gz", "a.nrrd", "a.mha", "a.ome.zarr", "a.npz"])  # fmt: skip
def test_every_unit_of_length_is_kept_or_converted(tmp_path, labels, unit, name):
    place = Geometry((3.0, 2.0, 1.5), unit, (5.0, 6.0, 7.0))
    found = read_labels(write_labels(tmp_path / name, labels, axes="ZYX", geometry=place)).geometry
    own = ("a.nii.gz", "a.nrrd", "a.mha")
    assert found.unit == unit or name in own
    sizes = [convert(size, found.unit, unit) for size in found.pixel_size]
    assert sizes == pytest.approx(place.pixel_size)
    assert [convert(start, found.unit, unit) for start in found.origin] == pytest.approx(place.origin)  # fmt: skip


@pytest.mark.parametrize("unit", ["reference frame", "blah", "尺", "degree_Celsius"])
@pytest.mark.parametrize("name", ["a.ome.tif", "a.tif", "a.nii.gz", "a.nrrd", "a.mha", "a.ome.zarr", "a.npz"])  # fmt: skip
def test_a_unit_that_is_no_length_costs_no_file_and_no_number(tmp_path, labels, unit, name):
    place = Geometry((3.0, 2.0, 1.5), unit)
    found = read_labels(write_labels(tmp_path / name, labels, axes="ZYX", geometry=place))
    assert found.pixel_size == pytest.approx((3.0, 2.0, 1.5))
    kept = name == "a.npz" or (unit == "reference frame" and "tif" in name)
    kept = kept or (name == "a.tif" and unit.isascii())
    # MetaImage has no units, and is taken for millimetres
    assert found.unit == (unit if kept else "millimeter" if name == "a.mha" else None)
    assert len(found.notices) == kept
    assert all(f"in '{unit}', which is no unit of length" in notice for notice in found.notices)


def test_units_that_ome_zarr_lacks_are_converted(tmp_path, labels):
    place = Geometry((3.0, 2.0, 1.5), "thou", (5.0, 6.0, 7.0))
    path = write_labels(tmp_path / "a.ome.zarr", labels, axes="ZYX", geometry=place)
    found = read_labels(path).geometry
    assert found.unit == "millimeter"
    assert found.pixel_size == pytest.approx((0.0762, 0.0508, 0.0381))
    assert found.origin == pytest.approx((0.127, 0.1524, 0.1778))


@pytest.mark.skipif(os.name == "nt", reason="there all paths have backslashes")
def test_an_error_of_the_disk_keeps_its_kind_though_it_spells_backslashes_twice(
    tmp_path, labels, monkeypatch
):
    path = tmp_path / "a\\b.tif"
    write_labels(path, labels, axes="ZYX")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(tiff, "read", refuse)
    with pytest.raises(PermissionError):
        read_image(path)
