"""NRRD and MetaImage: SimpleITK sees what was written, and reads what others wrote."""

import tempfile
from pathlib import Path

import dask.array
import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import read_image, read_labels, write_array, write_labels
from napari_sam2_adapters.data.matching import find_images
from napari_sam2_adapters.data.samples import load_sample

ENDINGS = ["a.nrrd", "a.seg.nrrd", "a.nhdr", "a.mha", "a.mhd"]
NUMBERS = st.floats(-300, 300)
SIZES = st.floats(1e-3, 50)


@pytest.fixture(scope="module")
def labels():
    return load_sample("fluorescence").train_labels


@st.composite
def directions(draw, n):
    """A turned, perhaps mirrored and sheared coordinate system (n, n)."""
    entries = draw(st.lists(st.floats(-0.3, 0.3), min_size=n * n, max_size=n * n))
    columns = np.reshape(entries, (n, n)) + np.eye(n)[:, draw(st.permutations(range(n)))]
    signs = draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=n, max_size=n))
    return columns / np.linalg.norm(columns, axis=0) * signs


@st.composite
def places(draw):
    n = draw(st.integers(2, 3))
    direction = draw(st.none() | directions(n))
    return Geometry(
        tuple(draw(SIZES) for _ in range(n)),
        draw(st.sampled_from(["millimeter", "micrometer", "nanometer"])),
        tuple(draw(NUMBERS) for _ in range(n)),
        None if direction is None else tuple(map(tuple, direction.tolist())),
    )


@settings(max_examples=40)
@given(
    place=places(),
    known=st.booleans(),
    lengths=st.tuples(*[st.integers(1, 6)] * 4),
    time=st.booleans(),
    highest=st.sampled_from([1, 255, 256, 70000]),
    name=st.sampled_from(ENDINGS),
)
def test_labels_come_back_with_their_place(place, known, lengths, time, highest, name):
    axes = "ZYX"[-len(place.pixel_size) :]
    # MetaImage does not tell time from depth in a plane
    time = time and (len(axes) == 3 or not name.endswith(("a", "d"))) and name != "a.seg.nrrd"
    axes = f"T{axes}" if time else axes
    if not known:
        place = Geometry(place.pixel_size, place.unit)
    array = np.random.default_rng(0).integers(0, highest + 1, lengths[: len(axes)])
    array.flat[0] = highest
    with tempfile.TemporaryDirectory() as folder:
        path = write_labels(Path(folder, name), array, axes=axes, geometry=place)
        found = read_labels(path)
        seen = SimpleITK.ReadImage(str(path))
    assert (found.axes, found.array.dtype) == (axes, np.min_scalar_type(highest))
    np.testing.assert_array_equal(found.array, array)
    factor = {"millimeter": 1, "micrometer": 1e-3, "nanometer": 1e-6}[place.unit]
    assert found.unit == "millimeter"
    np.testing.assert_allclose(found.pixel_size, np.multiply(place.pixel_size, factor), rtol=1e-9)
    np.testing.assert_allclose(
        found.geometry.affine()[:-1], place.affine()[:-1] * factor, rtol=1e-9, atol=1e-9
    )
    assert (found.geometry.origin is None) == (not known)
    corner = [n - 1 for n in array.shape[-len(place.pixel_size) :]]
    by_itk = seen.TransformIndexToPhysicalPoint(
        [*corner[::-1], *[0] * (seen.GetDimension() - len(corner))]
    )
    expected = (place.affine() @ [*corner, 1])[:-1][::-1] * factor
    np.testing.assert_allclose(by_itk[: len(corner)], expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=20)
@given(sizes=st.tuples(SIZES, SIZES, SIZES), origin=st.tuples(NUMBERS, NUMBERS, NUMBERS))
def test_a_voxel_lies_where_nifti_and_nrrd_of_other_programs_say(sizes, origin):
    """An image that SimpleITK wrote as NRRD, with labels that nibabel reads from NIfTI."""
    image = SimpleITK.GetImageFromArray(np.zeros((2, 3, 4), np.int16))
    image.SetSpacing(sizes)
    image.SetOrigin(origin)
    image.SetDirection([0, 0, 1, -1, 0, 0, 0, 1, 0])
    with tempfile.TemporaryDirectory() as folder:
        SimpleITK.WriteImage(image, f"{folder}/a.nrrd")
        found = read_image(Path(folder, "a.nrrd"))
        np.testing.assert_allclose(found.pixel_size, sizes[::-1], rtol=1e-6)
        path = write_labels(
            Path(folder, "b.nii.gz"),
            np.ones((2, 3, 4), np.uint8),
            axes="ZYX",
            geometry=found.geometry,
            source=found.path,
        )
        affine = nibabel.load(path).affine
    for index in np.ndindex(4, 3, 2):
        by_itk = image.TransformIndexToPhysicalPoint(index)
        by_nibabel = (np.diag([-1, -1, 1, 1]) @ affine @ [*index, 1])[:3]
        np.testing.assert_allclose(by_nibabel, by_itk, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ENDINGS)
def test_nothing_known_stays_nothing_known(tmp_path, labels, name):
    lazy = dask.array.from_array(labels, chunks=(1, 99, 256))
    path = write_labels(tmp_path / name, lazy, axes="ZYX")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    found = read_labels(path)
    assert found.geometry is None
    np.testing.assert_array_equal(found.array, labels)
    with pytest.raises(FileExistsError, match="exists already"):
        write_labels(path, labels * 0, axes="ZYX")
    write_labels(path, labels, axes="ZYX", overwrite=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_the_data_of_another_image_are_not_overwritten_by_a_header(tmp_path, labels):
    (tmp_path / "a.zraw").write_bytes(b"of another image")
    with pytest.raises(FileExistsError, match=r"a\.zraw exists already"):
        write_labels(tmp_path / "a.mhd", labels, axes="ZYX")
    assert [file.name for file in tmp_path.iterdir()] == ["a.zraw"]


def test_an_unknown_unit_is_none_in_nrrd(tmp_path, labels):
    place = Geometry((2.0, 0.3, 0.25), None, (1.0, 2.0, 3.0))
    found = read_labels(write_labels(tmp_path / "a.nrrd", labels, axes="ZYX", geometry=place))
    assert found.geometry == place
    place = Geometry((2.0, 0.3, 0.25), "furlong")
    found = read_labels(write_labels(tmp_path / "b.nrrd", labels, axes="ZYX", geometry=place))
    assert found.geometry == Geometry((2.0, 0.3, 0.25))


def test_slicer_sees_names_and_colours_and_they_come_back(tmp_path, labels):
    classes = (
        ClassInfo(value=0, name="nothing"),
        ClassInfo(value=1, name="background", color="#3b6ea5"),
        ClassInfo(value=3, name="tumour := é", color="#ff0001"),
    )
    path = write_labels(tmp_path / "a.seg.nrrd", labels, axes="ZYX", classes=classes)
    assert read_labels(path).classes == classes[1:]
    seen = SimpleITK.ReadImage(str(path))
    assert seen.GetMetaData("Segment1_Name") == "tumour := é"
    assert seen.GetMetaData("Segment1_LabelValue") == "3"
    assert seen.GetMetaData("Segment1_Extent") == "0 255 0 255 0 3"
    assert [float(part) for part in seen.GetMetaData("Segment0_Color").split()] == pytest.approx(
        [0x3B / 255, 0x6E / 255, 0xA5 / 255], abs=1e-5
    )
    assert not seen.HasMetaDataKey("Segment2_Name")


def test_segments_that_slicer_wrote_are_classes(tmp_path, labels):
    image = SimpleITK.GetImageFromArray(labels)
    for key, text in {
        "Segment0_Name": "edge",
        "Segment0_LabelValue": "2",
        "Segment0_Color": "0.5 0 1",
        "Segment1_Name": "core",
        "Segment1_LabelValue": "1",
        "Segment2_Name": "of no value",
        "Segment3_LabelValue": "3",
        "Segment3_Color": "red",
        "Segmentation_MasterRepresentation": "Binary labelmap",
    }.items():
        image.SetMetaData(key, text)
    SimpleITK.WriteImage(image, str(tmp_path / "a.seg.nrrd"))
    found = read_labels(tmp_path / "a.seg.nrrd")
    assert [(info.value, info.name, info.color) for info in found.classes] == [
        (1, "core", "#999999"),
        (2, "edge", "#8000ff"),
        (3, "class 3", "#999999"),
    ]


def test_what_programs_noted_in_an_nrrd_is_kept_in_its_labels(tmp_path, labels):
    image = SimpleITK.GetImageFromArray(labels.astype(np.int16))
    image.SetMetaData("scanner", "no. 7")
    image.SetMetaData("Segment0_Name", "old")
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"))
    path = write_labels(
        tmp_path / "b.nrrd",
        labels,
        axes="ZYX",
        geometry=read_image(tmp_path / "a.nrrd").geometry,
        source=tmp_path / "a.nrrd",
        classes=(ClassInfo(value=1, name="new"),),
    )
    seen = SimpleITK.ReadImage(str(path))
    assert seen.GetMetaData("scanner") == "no. 7"
    assert seen.GetMetaData("Segment0_Name") == "new"


def test_time_channels_and_colours(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.random((2, 3, 4, 5)).astype(np.float32)
    for name, axes in (("t.nrrd", "TZYX"), ("c.nrrd", "CZYX"), ("t.mha", "TZYX")):
        place = Geometry((3.0, 2.0, 1.0), "millimeter", (7.0, 8.0, 9.0))
        found = read_image(write_array(tmp_path / name, values, axes=axes, geometry=place))
        assert not found.rgb
        assert found.geometry == place
        back = found.array if axes == found.axes else np.moveaxis(found.array, -1, 0)
        np.testing.assert_array_equal(back, values)
    for corner in (None, (3.0, -4.0)):
        place, path = Geometry((2.0, 1.0), "millimeter", corner), tmp_path / f"{corner}.mhd"
        found = read_image(write_array(path, values[0], axes="TYX", geometry=place))
        assert (found.axes, found.pixel_size) == ("TZYX", (1.0, 2.0, 1.0))  # time is no depth
        assert found.geometry.origin == (None if corner is None else (0.0, *corner))
        np.testing.assert_array_equal(found.array[:, 0], values[0])
    with pytest.raises(ValueError, match="cannot hold channels with the axes CZYX"):
        write_array(tmp_path / "c.mha", values, axes="CZYX")
    rgb = load_sample("tissue").train_images[:2]
    for name in ("rgb.nrrd", "rgb.mha", "rgba.mha"):
        more = np.full((*rgb.shape[:3], int(name[3] == "a")), 7, np.uint8)
        image = SimpleITK.GetImageFromArray(np.concatenate([rgb, more], axis=-1), isVector=True)
        SimpleITK.WriteImage(image, str(tmp_path / name))
        found = read_image(tmp_path / name)
        assert (found.axes, found.rgb) == ("ZYXC", True)
        np.testing.assert_array_equal(found.array, rgb)


@pytest.mark.parametrize(
    ("kind", "channels", "rgb"),
    [
        ("RGB-color", 3, True),
        ("vector", 3, True),  # as SimpleITK writes colours
        ("HSV-color", 3, False),
        ("3-vector", 3, False),
        ("RGBA-color", 4, True),
        ("vector", 4, False),
        ("4-vector", 4, False),
        ("4-color", 4, False),
    ],
)
def test_an_nrrd_says_what_its_channels_are(tmp_path, kind, channels, rgb):
    values = np.random.default_rng(0).integers(0, 255, (6, 5, channels), np.uint8)
    head = (
        f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: {channels} 5 6\n"
        f"kinds: {kind} domain domain\nencoding: raw\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(head.encode() + values.tobytes())
    found = read_image(tmp_path / "a.nrrd")
    assert (found.axes, found.rgb) == ("YXC", rgb)
    np.testing.assert_array_equal(found.array, values[..., :3] if rgb else values)


def test_nrrd_of_other_spaces_and_units(tmp_path):
    head = (
        "NRRD0004\ntype: uint8\ndimension: 3\nspace: right-anterior-superior\nsizes: 4 3 2\n"
        "space directions: (2,0,0) (0,3,0) (0,0,4)\nspace origin: (1,2,3)\nencoding: raw\n"
    )
    (tmp_path / "a.nrrd").write_bytes(head.encode() + b"\n" + bytes(24))
    found = read_image(tmp_path / "a.nrrd").geometry
    assert (found.pixel_size, found.unit) == ((4.0, 3.0, 2.0), "millimeter")
    assert found.origin == (3.0, -2.0, -1.0)
    np.testing.assert_array_equal(found.rotation(), np.diag([1, -1, -1]))
    (tmp_path / "b.nrrd").write_bytes(
        head.encode() + b'space units: "um" "um" "um"\n# a remark\n\n' + bytes(24)
    )
    assert read_image(tmp_path / "b.nrrd").unit == "micrometer"


def test_a_folder_of_them_is_found(tmp_path, labels):
    for name in ("a.seg.nrrd", "b.mhd", "c.nhdr", "d.nii.gz"):
        write_labels(tmp_path / name, labels, axes="ZYX")
    found = [path.name for path in find_images(tmp_path)]
    assert found == ["a.seg.nrrd", "b.mhd", "c.nhdr", "d.nii.gz"]


def test_layers_of_overlapping_segments_are_a_sentence(tmp_path, labels):
    image = SimpleITK.GetImageFromArray(np.stack([labels, labels], -1), isVector=True)
    image.SetMetaData("Segment0_Layer", "0")
    image.SetMetaData("Segment1_Layer", "1")
    SimpleITK.WriteImage(image, str(tmp_path / "a.seg.nrrd"))
    content = (tmp_path / "a.seg.nrrd").read_bytes()
    (tmp_path / "a.seg.nrrd").write_bytes(content.replace(b"kinds: vector", b"kinds: list"))
    with pytest.raises(ValueError, match=r"overlapping segments in 2 layers.*one labelmap"):
        read_labels(tmp_path / "a.seg.nrrd")


def test_time_is_not_written_as_layers_of_segments(tmp_path, labels):
    """3D Slicer would show the first moment alone."""
    with pytest.raises(ValueError, match="a single volume"):
        write_labels(tmp_path / "a.seg.nrrd", np.stack([labels, labels]), axes="TZYX")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.mhd", "a.nhdr"])
def test_odd_files_are_a_sentence_each(tmp_path, labels, name, capfd):
    path = write_labels(tmp_path / name, labels, axes="ZYX")
    data = next(iter({*tmp_path.iterdir()} - {path}), path)
    whole = data.read_bytes()
    sentence = rf"{name} cannot be read \([^\n]+\). It may be damaged or of another kind; save it"
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=sentence):
        read_image(path)
    for content in (b"", b"some text that is no image at all\n" * 9):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=sentence):
            read_image(path)
    if data != path:
        write_labels(path, labels, axes="ZYX", overwrite=True)
        data.unlink()
        with pytest.raises(ValueError, match=rf"should lie in {data.name}, which is not there"):
            read_image(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
@pytest.mark.parametrize("kept", [0.4, 0.8])
def test_a_metaimage_that_was_cut_short_is_one_sentence(tmp_path, labels, capfd, dtype, kept):
    image = SimpleITK.GetImageFromArray(labels.astype(dtype))
    SimpleITK.WriteImage(image, str(tmp_path / "a.mha"), useCompression=False)
    whole = (tmp_path / "a.mha").read_bytes()
    np.testing.assert_array_equal(read_image(tmp_path / "a.mha").array, labels)
    (tmp_path / "a.mha").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ValueError, match=r"a\.mha cannot be read \(it was cut short\)"):
        read_image(tmp_path / "a.mha")
    assert capfd.readouterr() == ("", "")


def test_complex_numbers_are_a_sentence(tmp_path):
    image = SimpleITK.GetImageFromArray(np.zeros((3, 4), np.complex64))
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"))
    with pytest.raises(ValueError, match=r"complex.*not 2 to 4 axes of real numbers"):
        read_image(tmp_path / "a.nrrd")
