"""TIFF files as ImageJ, OME, tifffile and others write them, small and too large for the memory."""

import gc

import numpy as np
import pytest
import tifffile

from napari_sam2_adapters.data.axes import read_plane
from napari_sam2_adapters.data.formats import tiff
from napari_sam2_adapters.data.io import read_image
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
    ("metadata", "unit", "sizes"),
    [
        ({"unit": "furlong", "spacing": 2.0}, "furlong", (2.0, 0.5, 0.25)),
        ({"unit": 3, "spacing": None}, "3", (0.25, 0.5, 0.25)),
        ({"unit": None, "spacing": "wide"}, None, (0.25, 0.5, 0.25)),
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


def test_the_largest_level_of_a_pyramid_is_read(tmp_path, stack, too_large):
    path = tmp_path / "a.ome.tif"
    plane = stack[0, 0]
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(plane, subifds=1, compression="zlib", tile=(64, 64), metadata={"axes": "YX"})
        writer.write(plane[::2, ::2], subfiletype=1, compression="zlib", tile=(64, 64))
    np.testing.assert_array_equal(np.asarray(read_image(path).array[:]), plane)


def test_the_dots_per_inch_of_a_printer_are_no_pixel_size(tmp_path):
    path = tmp_path / "a.tif"
    plane = np.zeros((20, 30), np.uint8)
    for resolution, unit in (((72, 72), "inch"), ((118, 118), "centimeter")):
        tifffile.imwrite(path, plane, resolution=resolution, resolutionunit=unit)
        assert read_image(path).pixel_size is None
    tifffile.imwrite(path, plane, resolution=(40000, 40000), resolutionunit="centimeter")
    content = read_image(path)
    assert content.pixel_size == pytest.approx((0.25, 0.25))
    assert content.unit == "micrometer"


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
