"""MRC files as mrcfile, IMOD and microscopes write them."""

import tempfile
from pathlib import Path

import dask.array
import mrcfile
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from napari_sam2_adapters.data.formats import elements
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import read_image, read_labels, write_array, write_labels
from napari_sam2_adapters.data.samples import load_sample

SIZES = st.floats(0.1, 500)
NUMBERS = st.floats(-1e4, 1e4)
IMOD_STAMP = 1146047817


@pytest.fixture(scope="module")
def labels():
    return load_sample("fluorescence").train_labels


def save(path, array, voxel=(2.0, 3.0, 5.0), *, stack=False, **fields):
    """Write an array with mrcfile; voxel sizes along X, Y, Z."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(array)
        if stack:
            file.set_image_stack()
        file.voxel_size = voxel
        for key, value in fields.items():
            file.header[key] = value
    return path


def patch(path, where, value):
    content = bytearray(path.read_bytes())
    content[where : where + len(value)] = value
    path.write_bytes(content)


@settings(max_examples=40)
@given(
    sizes=st.tuples(SIZES, SIZES, SIZES),
    origin=st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS),
    order=st.permutations(range(3)),
    unit=st.sampled_from(["angstrom", "nanometer", "micrometer"]),
    shape=st.tuples(*[st.integers(2, 5)] * 4),
    axes=st.sampled_from(["ZYX", "TZYX", "YX"]),
    highest=st.sampled_from([1, 127, 128, 255, 256, 65535]),
    name=st.sampled_from(["a.mrc", "a.rec", "a.map"]),
)
def test_labels_come_back_with_their_place(sizes, origin, order, unit, shape, axes, highest, name):
    if axes == "YX":
        place = Geometry(sizes[1:], unit, None if origin is None else origin[1:])
    else:
        turned = tuple(map(tuple, np.eye(3)[:, order].tolist()))
        keep = axes == "TZYX" or list(order) == [0, 1, 2]
        place = Geometry(sizes, unit, origin, None if keep else turned)
    angstroms = {"angstrom": 1, "nanometer": 10, "micrometer": 1e4}[unit]
    # one angstrom along each axis stands for a size that is not known
    assume((abs(np.array(place.pixel_size) * angstroms - 1) > 1e-3).any())
    array = np.random.default_rng(0).integers(0, highest + 1, shape[: len(axes)])
    array.flat[0] = highest
    with tempfile.TemporaryDirectory() as folder:
        path = write_labels(Path(folder, name), array, axes=axes, geometry=place)
        found = read_labels(path)
        assert mrcfile.validate(path)
        with mrcfile.open(path) as seen:
            np.testing.assert_array_equal(seen.data, array)
            assert seen.data.dtype == (np.int8 if highest < 128 else np.uint16)
            along = place.rotation() @ place.pixel_size
            seen_sizes = seen.voxel_size.tolist()[: len(along)]
            np.testing.assert_allclose(seen_sizes, along[::-1] * angstroms, rtol=1e-4)
            assert seen.is_volume() == (axes == "ZYX")
    assert found.axes == axes
    np.testing.assert_array_equal(found.array, array)
    assert found.unit == "angstrom"
    np.testing.assert_allclose(
        found.geometry.affine()[:-1], place.affine()[:-1] * angstroms, rtol=1e-4, atol=1e-2
    )


def test_labels_of_an_mrc_have_the_place_in_its_header(tmp_path, labels):
    source = save(tmp_path / "a.mrc", labels.astype(np.float32), origin=(7, 8, -9), nxstart=4)
    flags = np.array([IMOD_STAMP, 4 + 2 + 1], "<i4").tobytes()
    patch(source, 152, flags)
    found = read_image(source)
    assert found.geometry == Geometry((5.0, 3.0, 2.0), "angstrom", (-9.0, 8.0, 7.0))
    path = write_labels(
        tmp_path / "b.mrc", labels, axes="ZYX", geometry=found.geometry, source=source
    )
    assert mrcfile.validate(path)
    assert read_labels(path).geometry == found.geometry
    with mrcfile.open(source) as one, mrcfile.open(path) as other:
        for key in ("nxstart", "mx", "my", "mz", "cella", "origin", "ispg", "mapc"):
            assert one.header[key] == other.header[key]
    assert path.read_bytes()[152:160] == np.array([IMOD_STAMP, 4 + 1], "<i4").tobytes()
    larger = Geometry((6.0, 3.0, 2.0), "angstrom")
    path = write_labels(tmp_path / "c.mrc", labels, axes="ZYX", geometry=larger, source=source)
    assert read_labels(path).pixel_size == (6.0, 3.0, 2.0)


def test_a_turned_series_of_volumes_is_refused(tmp_path):
    turned = Geometry((4.0, 3.0, 2.0), "angstrom", None, ((0, 1, 0), (1, 0, 0), (0, 0, 1)))
    array = np.zeros((2, 3, 5, 6), np.uint8)
    with pytest.raises(ValueError, match="series of volumes only along the axes of the world"):
        write_labels(tmp_path / "a.mrc", array, axes="TZYX", geometry=turned)
    assert not list(tmp_path.iterdir())
    assert read_labels(write_labels(tmp_path / "b.mrc", array[0], axes="ZYX", geometry=turned)).axes == "ZYX"  # fmt: skip


@pytest.mark.parametrize("voxel", [0.0, 1.0])
def test_a_voxel_size_that_was_never_set_is_none(tmp_path, labels, voxel):
    path = save(tmp_path / "a.mrc", labels.astype(np.int8), voxel)
    assert read_image(path).geometry is None
    again = write_labels(tmp_path / "b.mrc", labels, axes="ZYX", source=path)
    assert read_labels(again).geometry is None
    assert read_labels(write_labels(tmp_path / "c.mrc", labels, axes="ZYX")).geometry is None


def test_the_start_is_the_origin_where_there_is_no_other(tmp_path, labels):
    path = save(tmp_path / "a.mrc", labels.astype(np.int8), nxstart=3, nystart=-2, nzstart=10)
    assert read_image(path).geometry.origin == (50.0, -6.0, 6.0)


def test_volumes_stacks_and_pictures(tmp_path):
    values = np.random.default_rng(0).integers(0, 99, (4, 5, 6)).astype(np.int16)
    for name, array, options, axes, sizes in (
        ("v.mrc", values, {}, "ZYX", (5.0, 3.0, 2.0)),
        ("s.mrc", values, {"stack": True}, "TYX", (3.0, 2.0)),
        ("s.mrcs", values, {}, "TYX", (3.0, 2.0)),
        ("p.mrc", values[0], {}, "YX", (3.0, 2.0)),
        ("t.rec", values, {"ispg": 0, "mz": 4}, "ZYX", (5.0, 3.0, 2.0)),
        ("vs.mrc", values[np.newaxis].repeat(2, 0), {}, "TZYX", (5.0, 3.0, 2.0)),
    ):
        found = read_image(save(tmp_path / name, array, **options))
        assert (found.axes, found.array.dtype) == (axes, np.int16), name
        np.testing.assert_allclose(found.pixel_size, sizes)
        np.testing.assert_array_equal(found.array, array)


def test_signed_and_unsigned_bytes(tmp_path, labels):
    bright = labels * 60  # up to 180 or 240
    path = save(tmp_path / "a.mrc", bright.view(np.int8))
    assert read_image(path).array.dtype == np.int8
    patch(path, 80, np.float32(bright.max()).tobytes())  # as old programs tell it
    np.testing.assert_array_equal(read_image(path).array, bright)
    for flags, dtype in ((0, np.uint8), (1, np.int8)):
        path = save(tmp_path / "b.mrc", bright.view(np.int8))
        patch(path, 152, np.array([IMOD_STAMP, flags], "<i4").tobytes())
        assert read_image(path).array.dtype == dtype


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float16", "float32"])
def test_element_types_and_large_files(tmp_path, monkeypatch, dtype):
    values = (load_sample("fluorescence").train_images / 2).astype(dtype)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(values)
        file.set_extended_header(np.zeros(100, np.uint8))
    assert read_image(tmp_path / "a.mrc").array.dtype == dtype
    monkeypatch.setattr(elements, "EAGER_BYTES", 1000)
    found = read_image(tmp_path / "a.mrc")
    assert isinstance(found.array, np.memmap)
    np.testing.assert_array_equal(found.array, values)


def test_another_byte_order(tmp_path, monkeypatch):
    values = load_sample("fluorescence").train_images.astype(">i2")
    save(tmp_path / "a.mrc", values)
    assert read_image(tmp_path / "a.mrc").array.dtype == np.dtype("=i2")
    monkeypatch.setattr(elements, "EAGER_BYTES", 1000)
    found = read_image(tmp_path / "a.mrc")
    assert (found.array.dtype, found.pixel_size) == (np.dtype("=i2"), (5.0, 3.0, 2.0))
    assert isinstance(found.array, dask.array.Array)
    np.testing.assert_array_equal(np.asarray(found.array), values)


def test_labels_in_floating_point_are_the_integers_that_they_are(tmp_path, labels):
    found = read_labels(save(tmp_path / "a.mrc", labels.astype(np.float32)))
    assert found.array.dtype == np.uint8
    np.testing.assert_array_equal(found.array, labels)


def test_probabilities_and_lazy_labels(tmp_path, labels):
    values = np.random.default_rng(0).random((4, 9, 8)).astype(np.float32)
    path = write_array(tmp_path / "p.mrc", values, axes="ZYX")
    assert mrcfile.validate(path)
    np.testing.assert_array_equal(read_image(path).array, values)
    lazy = dask.array.from_array(labels, chunks=(1, 99, 256))
    np.testing.assert_array_equal(
        read_labels(write_labels(tmp_path / "l.mrc", lazy, axes="ZYX")).array, labels
    )


def test_what_mrc_cannot_hold_is_refused(tmp_path, labels):
    def write(array, axes="ZYX", geometry=None):
        write_labels(tmp_path / "a.mrc", array, axes=axes, geometry=geometry)

    with pytest.raises(ValueError, match="up to 65535"):
        write(labels.astype(np.int64) * 70000)
    with pytest.raises(ValueError, match="without channels"):
        write_array(tmp_path / "a.mrc", np.zeros((2, 4, 4), np.float32), axes="CYX")
    with pytest.raises(ValueError, match="angstrom, but the pixel size"):
        write(labels, geometry=Geometry((1, 1, 1)))
    turned = ((1.0, 0.0, 0.0), (0.0, 0.6, -0.8), (0.0, 0.8, 0.6))
    with pytest.raises(ValueError, match=r"cannot hold the direction.*Write NIfTI"):
        write(labels, geometry=Geometry((1, 1, 1), "nm", None, turned))
    with pytest.raises(ValueError, match="plane whose axes are exchanged"):
        write(labels[0], "YX", Geometry((1, 1), "nanometer", None, ((0.0, 1.0), (1.0, 0.0))))
    assert not list(tmp_path.iterdir())


def test_odd_files_are_a_sentence_each(tmp_path, labels):
    whole = save(tmp_path / "a.mrc", labels.astype(np.int16)).read_bytes()

    def damaged(where, *numbers):
        content = bytearray(whole)
        value = np.array(numbers, "<i4").tobytes()
        content[where : where + len(value)] = value
        return bytes(content)

    for name, content, words in (
        ("short.mrc", whole[:5000], "has 5000 bytes, but its header tells of"),
        ("head.mrc", whole[:500], "cannot be read"),
        ("empty.mrc", b"", "cannot be read"),
        ("magic.mrc", damaged(208, 0), "cannot be read"),
        ("mode.mrc", damaged(12, 77), "cannot be read"),
        ("complex.mrc", damaged(12, 4), "complex numbers"),
        ("negative.mrc", damaged(8, -4), "header tells of"),
        ("huge.mrc", damaged(0, 2**30, 2**30, 2**30), "header tells of"),
        ("order.mrc", damaged(64, 1, 1, 3), "its axes are ordered as"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=words) as caught:
            read_image(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
