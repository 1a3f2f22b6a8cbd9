"""TIFF files as ImageJ, OME, tifffile and others write them, small and too large for the memory."""

import gc
from fractions import Fraction

import numpy as np
import ome_types
import pytest
import tifffile

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.axes import read_plane
from napari_sam2_adapters.data.formats import tiff
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import read_image, read_labels, write_array, write_labels
from napari_sam2_adapters.data.samples import load_sample


@pytest.fixture
def stack():
    return load_sample("fluorescence").train_images.reshape(2, 2, 256, 256).copy()


@pytest.fixture
def too_large(monkeypatch):
    monkeypatch.setattr(tiff, "_EAGER_BYTES", 1000)


def test_imagej_hyperstacks_keep_axes_and_sizes(tmp_path, stack):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        stack,
        imagej=True,
        resolution=(1 / 0.25, 1 / 0.3),
        metadata={"axes": "TZYX", "spacing": 2.0, "unit": "um"},
    )
    content = read_image(path)
    assert (content.axes, content.rgb, content.unit) == ("TZYX", False, "micrometer")
    assert content.pixel_size == pytest.approx((2.0, 0.3, 0.25))
    np.testing.assert_array_equal(content.array, stack)


@pytest.mark.parametrize(
    ("lines", "sizes"),
    [
        # ImageJ leaves out a spacing of 1, and units that are those of X
        ("ImageJ=1.53t\nunit=micron\n", (1.0, 0.5, 0.25)),
        ("ImageJ=1.53t\nunit=micron\nspacing=3.0\n", (3.0, 0.5, 0.25)),
        ("ImageJ=1.53t\nunit=um\nspacing=500\nzunit=nm\n", (0.5, 0.5, 0.25)),
        ("ImageJ=1.53t\nunit=um\nyunit=mm\nspacing=2\n", (2.0, 500.0, 0.25)),
        ("ImageJ=1.11a\nunit=um\n", (0.25, 0.5, 0.25)),  # as tifffile writes it without one
    ],
)
def test_what_imagej_leaves_out_is_what_it_takes_then(tmp_path, stack, lines, sizes):
    path, planes = tmp_path / "a.tif", stack[0]
    said = f"{lines}images={len(planes)}\nslices={len(planes)}\nloop=false\n"
    with tifffile.TiffWriter(path) as file:
        for number, plane in enumerate(planes):
            words = said if number == 0 else None
            file.write(plane, resolution=(4, 2), description=words, metadata=None, contiguous=True)
    content = read_image(path)
    assert (content.axes, content.unit) == ("ZYX", "micrometer")
    assert content.pixel_size == pytest.approx(sizes)
    assert content.notices == ()


@pytest.mark.parametrize(
    ("metadata", "unit", "sizes"),
    [
        ({"unit": "furlong", "spacing": 2.0}, "furlong", (2.0, 0.5, 0.25)),
        ({"unit": 3, "spacing": None}, "3", (0.25, 0.5, 0.25)),
        ({"unit": None, "spacing": "wide"}, None, (0.25, 0.5, 0.25)),
        ({"unit": "um", "spacing": -2.0}, "micrometer", (2.0, 0.5, 0.25)),
    ],
)
def test_odd_words_about_the_size_do_not_make_a_file_unreadable(
    tmp_path, stack, metadata, unit, sizes
):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        stack[0].astype(np.float64),
        photometric="minisblack",
        resolution=(4, 2),
        metadata={"axes": "ZYX", **metadata},
    )
    content = read_image(path)
    assert content.unit == unit
    assert content.pixel_size == pytest.approx(sizes)


def test_an_uncalibrated_imagej_stack_has_no_pixel_size(tmp_path, stack):
    path = tmp_path / "a.tif"
    metadata = {"axes": "TZYX", "unit": "pixel", "spacing": 1.0}
    tifffile.imwrite(path, stack, imagej=True, resolution=(1, 1), metadata=metadata)
    assert read_image(path).pixel_size is None


def test_ome_keeps_channels_and_units(tmp_path, stack):
    path = tmp_path / "a.ome.tif"
    metadata = {
        "axes": "CZYX",
        "PhysicalSizeX": 250.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.25,
    }
    tifffile.imwrite(
        path, stack, photometric="minisblack", metadata=metadata | {"PhysicalSizeZ": 1}
    )
    content = read_image(path)
    assert (content.axes, content.unit) == ("CZYX", "nanometer")
    assert content.pixel_size == pytest.approx((1000, 250, 250))  # µm is OME's own unit


@pytest.mark.parametrize(
    ("shape", "options", "axes", "rgb"),
    [
        ((20, 30), {}, "YX", False),
        ((5, 20, 30), {"metadata": None, "photometric": "minisblack"}, "ZYX", False),
        ((5, 20, 30), {"photometric": "minisblack"}, "ZYX", False),
        ((5, 7, 20, 30), {"photometric": "minisblack"}, "TZYX", False),
        ((5, 2, 7, 20, 30), {"photometric": "minisblack"}, "TCZYX", False),
        ((5, 7, 20, 30, 3), {"photometric": "rgb"}, "TZYXC", True),
        (
            (5, 7, 20, 30),
            {"photometric": "minisblack", "metadata": {"axes": "QCYX"}},
            "ZCYX",
            False,
        ),
        ((20, 30, 3), {"photometric": "rgb"}, "YXC", True),
        ((5, 20, 30, 3), {"photometric": "rgb"}, "ZYXC", True),
        ((3, 20, 30), {"photometric": "rgb", "planarconfig": "separate"}, "CYX", True),
        ((20, 30, 2), {"photometric": "minisblack", "planarconfig": "contig"}, "YXC", False),
        ((5, 20, 30, 3), {"imagej": True, "metadata": {"axes": "ZYXS"}}, "ZYXC", True),
        ((20, 30, 4), {"photometric": "rgb", "extrasamples": ["unspecified"]}, "YXC", False),
    ],
)
def test_plain_files_and_colours(tmp_path, shape, options, axes, rgb):
    array = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, **options)
    content = read_image(path)
    assert (content.axes, content.rgb, content.pixel_size) == (axes, rgb, None)
    np.testing.assert_array_equal(content.array, array)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_transparency_is_left_out(tmp_path, compression, too_large):
    array = np.random.default_rng(0).integers(0, 255, (40, 30, 4), dtype=np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, array, photometric="rgb", extrasamples=["unassalpha"], compression=compression
    )
    content = read_image(path)
    assert (content.axes, content.rgb) == ("YXC", True)
    np.testing.assert_array_equal(np.asarray(content.array), array[..., :3])


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True, "metadata": {"axes": "TZYX"}},
        {"compression": "zlib", "metadata": {"axes": "TZYX"}, "ome": True},
        {"compression": "zlib", "tile": (64, 64), "photometric": "minisblack"},
    ],
)
def test_large_files_stay_on_the_disk(tmp_path, stack, too_large, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack.astype(np.uint16), **options)
    content = read_image(path)
    assert isinstance(content.array, np.memmap) or not isinstance(content.array, np.ndarray)
    got = read_plane(content.array, content.axes, (1, 0), slice(10, 60), slice(100, 130))
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got[0], stack[1, 0, 10:60, 100:130])


def test_a_lazy_file_is_closed_when_it_is_no_longer_used(tmp_path, stack, too_large):
    """Warnings are errors here, so an unclosed file would fail the test."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack, compression="zlib", photometric="minisblack")
    content = read_image(path)
    assert content.array[0, 0, 3, 4] == stack[0, 0, 3, 4]
    del content
    gc.collect()
    path.unlink()


@pytest.mark.parametrize("eager_bytes", [1000, 2**25])
def test_levels_of_a_pyramid(tmp_path, stack, monkeypatch, eager_bytes):
    monkeypatch.setattr(tiff, "_EAGER_BYTES", eager_bytes)
    path = tmp_path / "a.ome.tif"
    volume = stack[0].astype(np.uint16)
    with tifffile.TiffWriter(path, ome=True) as writer:
        options = {"compression": "zlib", "tile": (64, 64), "photometric": "minisblack"}
        writer.write(volume, subifds=2, metadata={"axes": "ZYX", "PhysicalSizeX": 1.0}, **options)
        for step in (2, 4):
            writer.write(volume[:, ::step, ::step], subfiletype=1, **options)
    content = read_image(path)
    np.testing.assert_array_equal(np.asarray(content.array[:]), volume)
    assert isinstance(content.array, np.ndarray) == (eager_bytes > 1000)
    for level, step in zip(content.levels, (2, 4), strict=True):
        np.testing.assert_array_equal(np.asarray(level[:]), volume[:, ::step, ::step])


def test_names_of_channels_time_and_origin(tmp_path, stack):
    path = tmp_path / "a.ome.tif"
    metadata = {
        "axes": "TCYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.25,
        "TimeIncrement": 250.0,
        "TimeIncrementUnit": "ms",
        "Channel": {"Name": ["DAPI", "488"]},
        "Plane": {
            "PositionX": [2.0] * 4,
            "PositionXUnit": ["mm"] * 4,
            "PositionY": [-3.0] * 4,
            "PositionYUnit": ["µm"] * 4,
        },
    }
    tifffile.imwrite(path, stack, photometric="minisblack", metadata=metadata)
    content = read_image(path)
    assert content.channel_names == ("DAPI", "488")
    assert content.geometry.pixel_size == (0.25, 0.5)
    assert content.geometry.origin == pytest.approx((-3, 2000))
    assert (content.geometry.time_step, content.geometry.time_unit) == (250, "millisecond")
    metadata["Plane"] = {"PositionX": [2.0] * 4, "PositionY": [1.0] * 4}
    tifffile.imwrite(path, stack, photometric="minisblack", metadata=metadata)
    assert read_image(path).geometry.origin is None  # in units of the stage

    path = tmp_path / "ij.tif"
    metadata = {
        "axes": "TCYX",
        "unit": "um",
        "finterval": 2.5,
        "xorigin": 8,
        "yorigin": -4,
        "Labels": ["a", "b"],
    }
    tifffile.imwrite(path, stack, imagej=True, resolution=(2, 4), metadata=metadata)
    content = read_image(path)
    assert content.channel_names == ("a", "b")
    assert content.geometry == Geometry(
        (0.25, 0.5), "micrometer", (1, -4), time_step=2.5, time_unit="second"
    )


def test_the_label_of_a_single_plane_is_no_channel(tmp_path, stack):
    tifffile.imwrite(tmp_path / "a.tif", stack[0, 0], imagej=True, metadata={"Labels": ["a.czi"]})
    assert read_image(tmp_path / "a.tif").channel_names == ()


def test_parts_of_an_ome_that_are_missing_are_named(tmp_path, stack):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, stack[0], photometric="minisblack", metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as file:
        xml = file.ome_metadata
    data = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{z}</UUID></TiffData>'
        for z, name in enumerate(("a.ome.tif", "b.ome.tif"))
    )
    start = xml.index("<TiffData")
    xml = xml[:start] + data + xml[xml.index("/>", start) + 2 :]
    for number, name in enumerate(("a.ome.tif", "b.ome.tif")):
        tifffile.imwrite(tmp_path / name, stack[0, number], description=xml.encode(), metadata=None)
    content = read_image(path)
    assert content.axes == "ZYX"
    np.testing.assert_array_equal(content.array, stack[0])
    (tmp_path / "b.ome.tif").unlink()
    with pytest.raises(ValueError, match=r"a\.ome\.tif.*of which b\.ome\.tif cannot be found"):
        read_image(path)


@pytest.mark.parametrize("eager_bytes", [100, 2**25])
def test_a_palette_is_colours_as_an_image_and_indices_as_labels(tmp_path, monkeypatch, eager_bytes):
    monkeypatch.setattr(tiff, "_EAGER_BYTES", eager_bytes)
    indices = np.arange(400, dtype=np.uint8).reshape(20, 20) % 3
    table = np.zeros((3, 256), np.uint16)
    table[:, 1], table[:, 2] = (65535, 0, 0), (0, 256 * 7, 65535)
    path = tmp_path / "p.tif"
    tifffile.imwrite(path, indices, photometric="palette", colormap=table, metadata=None)
    np.testing.assert_array_equal(np.asarray(read_labels(path).array), indices)
    content = read_image(path)
    assert (content.axes, content.rgb) == ("YXC", True)
    colours = np.array([(0, 0, 0), (255, 0, 0), (0, 7, 255)])
    np.testing.assert_array_equal(np.asarray(content.array), colours[indices])


@pytest.mark.parametrize("eager_bytes", [100, 2**25])
def test_a_palette_of_greys_is_grey(tmp_path, monkeypatch, eager_bytes):
    monkeypatch.setattr(tiff, "_EAGER_BYTES", eager_bytes)
    indices = load_sample("fluorescence").train_images[0][:30, :20]
    table = np.stack([np.arange(255, -1, -1, dtype=np.uint16) * 257] * 3)
    path = tmp_path / "p.tif"
    tifffile.imwrite(path, indices, photometric="palette", colormap=table, metadata=None)
    content = read_image(path)
    assert (content.axes, content.rgb) == ("YX", False)
    np.testing.assert_array_equal(np.asarray(content.array), 255 - indices)


@pytest.mark.parametrize("name", ["m.ome.tif", "m.tif"])
def test_labels_keep_what_belongs_to_them(tmp_path, stack, name):
    classes = (
        ClassInfo(value=1, name="membrane", color="#ff0000"),
        ClassInfo(value=3, name="Kern & <größer>, 7", color="#00ff7f"),
        ClassInfo(value=4, name="true", color="#123456"),
    )
    turned = ((1, 0, 0), (0, 0.8, 0.6), (0, -0.6, 0.8))
    geometry = Geometry((2, 0.5, 0.25), "micrometer", (-1, 2, 3.5), turned, 0.5, "minute")
    path = write_labels(tmp_path / name, stack % 5, axes="TZYX", geometry=geometry, classes=classes)
    content = read_labels(path)
    assert content.classes == classes
    assert content.geometry == geometry
    np.testing.assert_array_equal(content.array, stack % 5)


@pytest.mark.parametrize("size", [2e-11, 5e9])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_pixels_of_any_size_are_written(tmp_path, stack, size, dtype):
    geometry = Geometry((size, size, 2 * size), "meter", None, None, 0.5, "second")
    path = write_array(tmp_path / "m.tif", stack.astype(dtype), axes="TZYX", geometry=geometry)
    content = read_image(path)
    assert content.geometry == geometry
    np.testing.assert_array_equal(content.array, stack.astype(dtype))


def test_a_name_of_several_lines_is_one_class_in_imagej(tmp_path, stack):
    classes = (ClassInfo(value=1, name="cell\nlabel 7 = #ff0000 none"),)
    path = write_labels(tmp_path / "m.tif", stack % 2, axes="TZYX", classes=classes)
    assert [(c.value, c.name) for c in read_labels(path).classes] == [
        (1, "cell label 7 = #ff0000 none")
    ]


def test_what_is_written_as_ome_is_ome(tmp_path, stack):
    classes = (ClassInfo(value=2, name="Kern & <größer>", color="#00ff7f"),)
    geometry = Geometry((2, 0.5, 0.25), "nm", (-1, 2, 3.5), None, 0.5, "second")
    path = write_labels(
        tmp_path / "m.ome.tif", stack % 5, axes="TZYX", geometry=geometry, classes=classes
    )
    ome = ome_types.from_tiff(path)  # also validates
    image = ome.images[0]
    pixels = image.pixels
    assert (pixels.size_t, pixels.size_z, pixels.size_y, pixels.type.value) == (2, 2, 256, "uint8")
    assert (pixels.physical_size_z, pixels.physical_size_z_unit.value) == (2, "nm")
    assert (pixels.time_increment, pixels.time_increment_unit.value) == (0.5, "s")
    assert [plane.position_z for plane in pixels.planes] == [-1, 1, -1, 1]
    assert [(plane.the_t, plane.the_z) for plane in pixels.planes] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]
    (reference,) = image.annotation_refs
    assert dict(reference.ref.value) == {"2": "#00ff7f Kern & <größer>"}
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == "TZYX"


@pytest.mark.parametrize("unit", ["inch", "centimeter"])
@pytest.mark.parametrize(
    ("size_um", "known"),
    [(0.01, True), (0.25, True), (0.65, True), (9.9, True), (10.1, False)]
    + [(25400 / dpi, False) for dpi in (1, 72, 96, 150, 300, 600, 1200)],
)
def test_dots_per_inch_and_per_centimetre_are_a_pixel_size_where_a_microscope_has_such(
    tmp_path, unit, size_um, known
):
    path = tmp_path / "a.tif"
    number = Fraction((25400 if unit == "inch" else 10_000) / size_um).limit_denominator(100_000)
    plane = np.zeros((20, 30), np.uint8)
    # as two integers: versions of tifffile differ in how close they come to a number
    ratio = number.as_integer_ratio()
    tifffile.imwrite(path, plane, resolution=(ratio, ratio), resolutionunit=unit)
    content = read_image(path)
    assert content.pixel_size == (pytest.approx((size_um, size_um)) if known else None)
    assert content.unit == ("micrometer" if known else None)


def test_a_resolution_without_a_unit_is_no_pixel_size(tmp_path):
    path = tmp_path / "a.tif"
    plane = np.zeros((20, 30), np.uint8)
    tifffile.imwrite(path, plane, resolution=(40000, 40000), resolutionunit="none")
    assert read_image(path).pixel_size is None


@pytest.mark.parametrize("axes", ["YX", "ZYX", "TZCYX"])
def test_the_name_of_a_single_channel_is_kept(tmp_path, stack, axes):
    path = tmp_path / "a.ome.tif"
    array = {"YX": stack[0, 0], "ZYX": stack[0], "TZCYX": stack[:, :, np.newaxis]}[axes]
    metadata = {"axes": axes, "Channel": {"Name": "DAPI" if axes != "TZCYX" else ["DAPI"]}}
    tifffile.imwrite(path, array, photometric="minisblack", metadata=metadata)
    content = read_image(path)
    assert content.axes == axes.replace("C", "")
    assert content.channel_names == ("DAPI",)
    colours = np.stack([stack[0, 0]] * 3, axis=-1)
    tifffile.imwrite(path, colours, photometric="rgb", metadata={"axes": "YXS", "Channel": {"Name": "RGB"}})  # fmt: skip
    assert read_image(path).channel_names == ()


def test_bool_and_big_endian(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.eye(16, dtype=bool))
    assert read_image(path).array.dtype == bool
    tifffile.imwrite(path, np.arange(64, dtype=">u2").reshape(8, 8), byteorder=">")
    np.testing.assert_array_equal(read_image(path).array, np.arange(64).reshape(8, 8))


def test_axes_that_an_image_here_cannot_have_are_refused(tmp_path):
    path = tmp_path / "a.ome.tif"
    array = np.zeros((2, 20, 30, 3), np.uint8)  # colours of two channels
    tifffile.imwrite(path, array, photometric="rgb", metadata={"axes": "CYXS"})
    with pytest.raises(ValueError, match=r"CYXS.*Save the part that you need"):
        read_image(path)


@pytest.mark.parametrize("eager_bytes", [2**20, 0])
def test_the_transparency_of_grey_pictures_is_left_out(tmp_path, monkeypatch, eager_bytes):
    """As programs that draw save them; two channels of a microscope are no transparency."""
    monkeypatch.setattr(tiff, "_EAGER_BYTES", eager_bytes)
    array = np.random.default_rng(0).integers(0, 255, (3, 30, 40, 2), dtype=np.uint8)
    path = tmp_path / "a.tif"
    for extra, axes in (("unassalpha", "ZYX"), ("unspecified", "ZYXC")):
        options = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": [extra]}
        tifffile.imwrite(path, array, metadata={"axes": "ZYXS"}, **options)
        found = read_image(path)
        assert (found.axes, found.rgb) == (axes, False)
        np.testing.assert_array_equal(found.array, array if "C" in axes else array[..., 0])
