"""NIfTI files: every voxel stays where it is, and odd files are a sentence."""

import gzip
import tempfile
from pathlib import Path

import dask.array
import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam2_adapters.data.formats import elements, nifti
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import read_image, read_labels, write_array, write_labels
from napari_sam2_adapters.data.samples import load_sample

NUMBERS = st.floats(-300, 300, width=32)
SIZES = st.floats(1e-3, 50)
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def volume():
    """Real voxels (4, 256, 256) of the sample, and their labels."""
    sample = load_sample("fluorescence")
    return sample.train_images.astype(np.int16), sample.train_labels


def save(path, array, affine, codes=(1, 1), units=("mm", "sec")):
    """Save an array with the axes (…, Z, Y, X) by nibabel."""
    image = nibabel.Nifti1Image(np.asarray(array).T, affine)
    image.header.set_xyzt_units(*units)
    image.set_sform(affine, codes[0])
    image.set_qform(affine, codes[1])
    nibabel.save(image, path)
    return path


@st.composite
def directions(draw):
    """A turned, perhaps mirrored coordinate system (3, 3)."""
    turned, _ = np.linalg.qr(
        np.array(draw(st.lists(st.floats(-1, 1), min_size=9, max_size=9))).reshape(3, 3)
        + np.eye(3) * 3
    )
    signs = draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3))
    return turned[:, draw(st.permutations(range(3)))] * signs


@settings(max_examples=40)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    frames=st.integers(0, 3).filter(lambda n: n != 1),
    sizes=st.tuples(SIZES, SIZES, SIZES),
    origin=st.tuples(NUMBERS, NUMBERS, NUMBERS),
    direction=st.none() | directions(),
    unit=st.sampled_from(["millimeter", "micrometer", "meter"]),
    highest=st.sampled_from([1, 255, 256, 70000]),
    name=st.sampled_from(["a.nii", "a.nii.gz"]),
)
def test_labels_come_back_with_their_place(
    shape, frames, sizes, origin, direction, unit, highest, name
):
    rows = None if direction is None else tuple(map(tuple, direction.tolist()))
    geometry = Geometry(sizes, unit, origin, rows)
    if frames:
        shape = (frames, *shape)
        geometry = Geometry(sizes, unit, origin, rows, 1.5, "second")
    axes = "TZYX"[-len(shape) :]
    labels = np.random.default_rng(0).integers(0, highest + 1, shape)
    labels.flat[0] = highest
    with tempfile.TemporaryDirectory() as folder:
        path = write_labels(Path(folder, name), labels, axes=axes, geometry=geometry)
        found = read_labels(path)
        seen = nibabel.load(path)
        seen_affine, seen_labels = seen.affine, np.asarray(seen.dataobj)
        other = SimpleITK.ReadImage(str(path))
    assert (found.axes, found.array.dtype) == (axes, np.min_scalar_type(highest))
    np.testing.assert_array_equal(found.array, labels)
    back = found.geometry
    assert (back.unit, back.time_step, back.time_unit) == (
        unit,
        geometry.time_step,
        geometry.time_unit,
    )
    np.testing.assert_allclose(back.pixel_size, sizes, rtol=1e-5)
    np.testing.assert_allclose(back.affine(), geometry.affine(), rtol=1e-5, atol=1e-4)
    # the same voxel at the same place, as two other programs see it; ITK counts in millimetres
    corner = [n - 1 for n in shape[-3:]]
    place = (geometry.affine() @ [*corner, 1])[:3][::-1]
    by_nibabel = (RAS_TO_LPS @ seen_affine @ [*corner[::-1], 1])[:3]
    np.testing.assert_allclose(by_nibabel, place, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(seen_labels.T, labels)
    index = [*corner[::-1], *([0] if frames else [])]
    by_itk = np.array(other.TransformIndexToPhysicalPoint(index)[:3])
    millimetres = {"millimeter": 1, "micrometer": 1e-3, "meter": 1e3}[unit]
    np.testing.assert_allclose(
        by_itk, place * millimetres, rtol=1e-3, atol=1e-2 * max(millimetres, 1e-3)
    )


@settings(max_examples=25)
@given(
    entries=st.lists(NUMBERS, min_size=12, max_size=12),
    codes=st.sampled_from([(1, 1), (2, 0), (0, 1), (4, 3), (0, 0)]),
    big_endian=st.booleans(),
)
def test_labels_of_a_nifti_have_its_affines_bit_by_bit(entries, codes, big_endian):
    affine = np.eye(4)
    affine[:3] = np.reshape(entries, (3, 4))
    affine[:3, :3] += np.diag([700, 800, 900])  # sheared, but never flat
    with tempfile.TemporaryDirectory() as folder:
        image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), affine)
        image.set_sform(affine, codes[0])
        image.set_qform(affine, codes[1])
        image.header["descrip"] = b"kept"
        if big_endian:
            header = image.header.as_byteswapped(">")
            image = nibabel.Nifti1Image(image.dataobj, affine, header)
            image.set_sform(affine, codes[0])
            image.set_qform(affine, codes[1])
        nibabel.save(image, Path(folder, "image.nii"))
        source = read_image(Path(folder, "image.nii"))
        assert source.array.dtype == np.dtype("=i2")
        path = write_labels(
            Path(folder, "labels.nii.gz"),
            source.array > 11,
            axes=source.axes,
            geometry=source.geometry,
            source=source.path,
        )
        before, after = nibabel.load(source.path).header, nibabel.load(path).header
        np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj).T, source.array > 11)
        labels = read_labels(path)
    for key in [
        "sform_code",
        "qform_code",
        "srow_x",
        "srow_y",
        "srow_z",
        "quatern_b",
        "quatern_c",
        "quatern_d",
        "qoffset_x",
        "qoffset_y",
        "qoffset_z",
        "pixdim",
        "descrip",
        "xyzt_units",
    ]:
        np.testing.assert_array_equal(before[key], after[key], err_msg=key)
    assert after.get_intent()[0] == "label"
    assert (labels.geometry is None) == (source.geometry is None)
    if source.geometry is not None:
        np.testing.assert_array_equal(labels.geometry.affine(), source.geometry.affine())


def test_shear_goes_out_by_the_sform_alone_without_a_nifti_source(tmp_path):
    affine = np.array([[2, 0.7, 0, -9], [0, 3, 0.2, 8], [0, 0, 4, 7], [0, 0, 0, 1.0]])
    source = read_image(save(tmp_path / "a.nii", np.ones((2, 3, 4), np.uint8), affine))
    path = write_labels(
        tmp_path / "b.nii.gz", source.array, axes="ZYX", geometry=source.geometry, source=None
    )
    header = nibabel.load(path).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    np.testing.assert_array_equal(header.get_sform(), affine.astype(np.float32))


def test_a_corrected_pixel_size_wins_over_the_header_of_the_source(tmp_path):
    source = save(tmp_path / "a.nii.gz", np.ones((2, 3, 4), np.uint8), np.diag([2, 2, 5, 1.0]))
    geometry = Geometry((1.0, 0.5, 0.5), "millimeter", (0.0, 0.0, 0.0))
    path = write_labels(
        tmp_path / "b.nii.gz", np.ones((2, 3, 4), int), axes="ZYX", geometry=geometry, source=source
    )
    assert nibabel.load(path).header.get_zooms() == (0.5, 0.5, 1.0)


def test_extensions_of_the_source_are_kept(tmp_path):
    image, labels = volume()
    held = nibabel.Nifti1Image(image.T, np.diag([0.5, 0.5, 2, 1]))
    held.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"of the scanner " * 9))
    nibabel.save(held, tmp_path / "a.nii.gz")
    found = read_image(tmp_path / "a.nii.gz")
    path = write_labels(
        tmp_path / "b.nii.gz", labels, axes="ZYX", geometry=found.geometry, source=found.path
    )
    again = nibabel.load(path)
    assert again.header.extensions[0].get_content().startswith(b"of the scanner")
    np.testing.assert_array_equal(np.asarray(again.dataobj).T, labels)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_the_file_is_the_same_each_time_and_lazy_labels_are_welcome(tmp_path, name):
    _, labels = volume()
    lazy = dask.array.from_array(labels, chunks=(1, 99, 256))
    first = write_labels(tmp_path / name, lazy, axes="ZYX").read_bytes()
    assert write_labels(tmp_path / name, labels, axes="ZYX", overwrite=True).read_bytes() == first
    found = read_labels(tmp_path / name)
    assert found.geometry is None
    np.testing.assert_array_equal(found.array, labels)


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_large_files_stay_on_the_disk(tmp_path, monkeypatch, byte_order):
    monkeypatch.setattr(nifti, "EAGER_BYTES", 1000)
    monkeypatch.setattr(elements, "EAGER_BYTES", 1000)
    image, _ = volume()
    held = nibabel.Nifti1Image(
        image.T, np.eye(4), nibabel.Nifti1Header(endianness=byte_order), dtype=np.int16
    )
    nibabel.save(held, tmp_path / "a.nii")
    found = read_image(tmp_path / "a.nii")
    assert isinstance(found.array, np.memmap if byte_order == "<" else dask.array.Array)
    assert found.array.dtype == np.dtype("=i2")
    np.testing.assert_array_equal(np.asarray(found.array), image)

    held.header.set_slope_inter(0.5, -1000)
    held = nibabel.Nifti1Image(image.T * 0.5 - 1000, np.eye(4), held.header)
    held.header.set_data_dtype(np.int16)
    nibabel.save(held, tmp_path / "b.nii")
    scaled = read_image(tmp_path / "b.nii")
    assert scaled.array.dtype == np.float32
    np.testing.assert_allclose(
        np.asarray(scaled.array), nibabel.load(tmp_path / "b.nii").get_fdata().T, rtol=1e-6
    )


def test_axes_of_more_than_three(tmp_path):
    rng = np.random.default_rng(0)
    for shape, axes, expected in (
        ((4, 5), "YX", (4, 5)),
        ((3, 4, 5), "ZYX", (3, 4, 5)),
        ((1, 3, 4, 5), "ZYX", (3, 4, 5)),
        ((2, 1, 4, 5), "TZYX", (2, 1, 4, 5)),
        ((3, 1, 2, 4, 5), "CZYX", (3, 2, 4, 5)),
        ((3, 2, 2, 4, 5), "CTZYX", (3, 2, 2, 4, 5)),
    ):
        array = rng.integers(0, 99, shape).astype(np.uint8)
        found = read_image(save(tmp_path / "a.nii", array, np.diag([2, 3, 4, 1.0])))
        assert (found.axes, found.array.shape, found.rgb) == (axes, expected, False)
        np.testing.assert_array_equal(found.array, array.reshape(expected))
        assert found.pixel_size == (4.0, 3.0, 2.0)[-len([a for a in axes if a in "ZYX"]) :]


def test_colours(tmp_path):
    rgb = load_sample("tissue").train_images[:2]
    dtype = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    held = np.ascontiguousarray(rgb).view(dtype)[..., 0]
    nibabel.save(nibabel.Nifti1Image(held.T, np.eye(4)), tmp_path / "a.nii")
    found = read_image(tmp_path / "a.nii")
    assert (found.axes, found.rgb) == ("ZYXC", True)
    np.testing.assert_array_equal(found.array, rgb)


def test_probabilities(tmp_path):
    array = np.random.default_rng(0).random((3, 2, 5, 6)).astype(np.float32)
    path = write_array(tmp_path / "p.nii.gz", array, axes="CZYX")
    found = read_image(path)
    assert found.axes == "CZYX"
    np.testing.assert_array_equal(found.array, array)
    half = read_image(write_array(tmp_path / "h.nii", array.astype(np.float16), axes="CZYX"))
    assert half.array.dtype == np.float32  # NIfTI has no float16
    np.testing.assert_array_equal(half.array, array.astype(np.float16))
    with pytest.raises(ValueError, match=r"NIfTI holds integers.*uint64. Write a TIFF"):
        write_array(tmp_path / "u.nii", array.astype(np.uint64), axes="CZYX")


def test_a_plane_in_space_keeps_what_a_plane_can_have(tmp_path):
    flat = np.array([[0, 0.5, 0, 3], [2, 0, 0, 4], [0, 0, 9, 5], [0, 0, 0, 1.0]])
    plane = np.arange(12, dtype=np.uint8).reshape(3, 4)
    found = read_image(save(tmp_path / "a.nii", plane, flat))
    assert found.pixel_size == (0.5, 2.0)
    assert found.geometry.origin == (-4.0, -3.0)
    np.testing.assert_array_equal(found.geometry.rotation(), [[0, -1], [-1, 0]])
    upright = flat[[2, 1, 0, 3]]
    found = read_image(save(tmp_path / "b.nii", plane, upright))
    assert found.geometry == Geometry((0.5, 2.0), "millimeter")
    path = write_labels(
        tmp_path / "c.nii", plane, axes="YX", geometry=found.geometry, source=found.path
    )
    np.testing.assert_array_equal(nibabel.load(path).affine, upright)


def test_labels_saved_in_floating_point_are_the_integers_that_they_are(tmp_path):
    _, labels = volume()
    path = save(tmp_path / "a.nii.gz", labels.astype(np.float32), np.eye(4))
    found = read_labels(path)
    assert found.array.dtype == np.uint8
    np.testing.assert_array_equal(found.array, labels)
    with pytest.raises(ValueError, match="holds float32, but labels are whole numbers"):
        read_labels(save(tmp_path / "b.nii", labels + np.float32(0.5), np.eye(4)))


@pytest.mark.parametrize("slope", [np.nan, 0.0])
def test_a_scale_of_nothing_is_none(tmp_path, slope):
    image, _ = volume()
    path = save(tmp_path / "a.nii", image, np.eye(4))
    content = bytearray(path.read_bytes())
    content[112:116] = np.float32(slope).tobytes()
    path.write_bytes(content)
    found = read_image(path)
    assert found.array.dtype == np.int16
    np.testing.assert_array_equal(found.array, image)


def test_units_that_nifti_lacks_are_converted_or_left_out(tmp_path):
    labels = np.ones((2, 3, 4), np.uint8)
    geometry = Geometry((50.0, 8.0, 4.0), "nanometer")
    found = read_labels(write_labels(tmp_path / "a.nii", labels, axes="ZYX", geometry=geometry))
    assert found.unit == "micrometer"
    assert found.pixel_size == pytest.approx((0.05, 0.008, 0.004))
    assert found.geometry.origin is None
    geometry = Geometry((3.0, 2.0, 1.0), "furlong")
    path = write_labels(tmp_path / "b.nii", labels, axes="ZYX", geometry=geometry)
    assert read_labels(path).geometry == Geometry((3.0, 2.0, 1.0))


@pytest.mark.parametrize(
    ("step", "unit", "wanted", "code"),
    [
        (2.5, "minute", 150.0, "sec"),
        (0.5, "hour", 1800.0, "sec"),
        (0.25, "day", 21600.0, "sec"),
        (1500.0, "nanosecond", 1.5, "usec"),
        (7.0, "microsecond", 7.0, "usec"),
        (7.0, "millisecond", 7.0, "msec"),
        (7.0, "second", 7.0, "sec"),
        (7.0, None, 7.0, "unknown"),
    ],
)
def test_time_steps_are_converted_to_what_nifti_has(tmp_path, step, unit, wanted, code):
    labels = np.ones((2, 3, 4, 5), np.uint8)
    geometry = Geometry((3.0, 2.0, 1.0), "micrometer", time_step=step, time_unit=unit)
    path = write_labels(tmp_path / "t.nii", labels, axes="TZYX", geometry=geometry)
    header = nibabel.load(path).header
    assert header["pixdim"][4] == pytest.approx(wanted)
    assert header.get_xyzt_units() == ("micron", code)


@pytest.mark.parametrize(
    ("code", "unit", "time"),
    [(7, "millimeter", None), (255, "millimeter", None), (64 + 8 + 3, "micrometer", "second")],
)
def test_codes_that_are_no_units_are_left_out(tmp_path, code, unit, time):
    series = np.arange(48, dtype=np.uint8).reshape(2, 2, 3, 4)
    path = save(tmp_path / "a.nii", series, np.diag([2, 3, 4, 1]))
    content = bytearray(path.read_bytes())
    content[123] = code
    path.write_bytes(content)
    found = read_image(path)
    np.testing.assert_array_equal(found.array, series)
    assert (found.pixel_size, found.unit, found.geometry.time_unit) == ((4.0, 3.0, 2.0), unit, time)
    labels = write_labels(
        tmp_path / "b.nii", series, axes="TZYX", geometry=found.geometry, source=path
    )
    assert read_labels(labels).geometry == found.geometry


def test_odd_files_are_a_sentence_each(tmp_path):
    image, _ = volume()
    whole = save(tmp_path / "a.nii.gz", image, np.eye(4)).read_bytes()
    plain = bytearray(gzip.decompress(whole))
    odd = {
        "cut.nii.gz": whole[: len(whole) // 2],
        "head.nii.gz": gzip.compress(bytes(plain[:200])),
        "cut.nii": plain[: len(plain) // 2],
        "text.nii": b"some text that is no image at all" * 20,
        "empty.nii": b"",
        "text.nii.gz": b"no gzip",
        "magic.nii": plain[:344] + b"oh no" + plain[349:],
        "slope.nii": plain[:112] + np.array([2, np.nan], np.float32).tobytes() + plain[120:],
        "flat.nii": plain[:280] + bytes(16) + plain[296:],
    }
    for name, content in odd.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name} cannot be read.*(save it again|again\.)"):
            read_image(tmp_path / name)
    nibabel.save(nibabel.Nifti1Image(image.T.astype(np.complex64), np.eye(4)), tmp_path / "c.nii")
    with pytest.raises(ValueError, match="holds complex64, not real numbers"):
        read_image(tmp_path / "c.nii")
