"""Grey values of every type to 0…1."""

import dask.array
import numpy as np
import pytest
import zarr

from napari_sam2_adapters.config import Normalization
from napari_sam2_adapters.data.axes import read_plane
from napari_sam2_adapters.data.normalize import (
    Limits,
    advise_on_values,
    has_no_number,
    intensity_limits,
    normalize_plane,
    resolve_normalization,
)
from napari_sam2_adapters.data.samples import load_sample

PERCENTILES = Normalization(mode="percentile")


def normalized(image, axes="YX", normalization=PERCENTILES):
    limits = intensity_limits(image, axes, normalization)
    return normalize_plane(read_plane(image, axes), limits)


@pytest.mark.parametrize(
    ("dtype", "axes", "rgb", "wanted"),
    [
        (np.uint8, "YXC", True, ("range", 0, 255)),
        (np.uint8, "YX", False, ("percentile", 0.1, 99.9)),
        (np.uint8, "CYX", False, ("percentile", 0.1, 99.9)),
        (np.uint16, "YXC", True, ("percentile", 0.1, 99.9)),
        (np.float32, "YXC", True, ("percentile", 0.1, 99.9)),
        (bool, "YX", False, ("range", 0, 1)),
    ],
)
def test_auto_is_settled_by_type_and_colour(dtype, axes, rgb, wanted):
    settled = resolve_normalization(Normalization(), dtype, axes, rgb)
    assert (settled.mode, settled.low, settled.high) == wanted


def test_what_is_chosen_is_kept():
    chosen = Normalization(mode="range", low=100, high=4000)
    assert resolve_normalization(chosen, np.uint8, "YXC", True) == chosen
    own = Normalization(mode="auto", low=1, high=99)
    assert resolve_normalization(own, np.uint16, "YX", False).high == 99


@pytest.mark.parametrize(
    "dtype",
    [
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "int8",
        "int16",
        "int32",
        "int64",
        "float16",
        "float32",
        "float64",
        ">u2",
    ],
)
def test_every_type_gives_the_same_picture(dtype):
    picture = load_sample("fluorescence").train_images[0] // 2  # fits int8
    expected = normalized(picture)
    result = normalized(picture.astype(dtype))
    assert result.dtype == np.float32
    assert result.shape == (1, 256, 256)
    assert result.dtype.isnative
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert expected.std() > 0.2


@pytest.mark.parametrize(
    ("dtype", "offset"), [("int32", 2_000_000_000), ("uint32", 4_200_000_000), ("float64", 1e12)]
)
def test_small_differences_of_large_values_survive(dtype, offset):
    picture = load_sample("fluorescence").train_images[0]
    shifted = (picture.astype(np.float64) + offset).astype(dtype)
    np.testing.assert_allclose(normalized(shifted), normalized(picture), atol=1e-5)


def test_negative_values_are_values():
    picture = load_sample("fluorescence").train_images[0].astype(np.int16)
    np.testing.assert_allclose(normalized(picture - 1000), normalized(picture), atol=1e-6)


def test_bool_stays_zero_and_one():
    mask = np.zeros((50, 60), bool)
    mask[3, 4] = True
    settled = resolve_normalization(Normalization(), mask.dtype, "YX", False)
    np.testing.assert_array_equal(normalized(mask, normalization=settled)[0], mask)


@pytest.mark.parametrize("value", [0, 7, -3.5, 1e20, np.nan, np.inf])
def test_a_constant_image_is_finite(value):
    result = normalized(np.full((20, 30), value, np.float32))
    assert np.isfinite(result).all()
    assert len(np.unique(result)) == 1


def test_rare_bright_pixels_are_not_lost():
    image = np.zeros((300, 300), np.uint16)
    image[5, 5] = 900
    result = normalized(image)[0]
    assert result[5, 5] == 1
    assert result.sum() == 1


def test_nan_and_infinity_do_not_move_the_limits():
    picture = load_sample("fluorescence").train_images[0].astype(np.float32)
    clean = normalized(picture)
    spoilt = picture.copy()
    spoilt[:10], spoilt[10:20], spoilt[20:30] = np.nan, np.inf, -np.inf
    result = normalized(spoilt)[0]
    assert (result[:10] == 0).all()
    assert (result[10:20] == 1).all()
    assert (result[20:30] == 0).all()
    np.testing.assert_allclose(result[30:], clean[0, 30:], atol=0.05)
    np.testing.assert_array_equal(
        intensity_limits(spoilt[30:], "YX", PERCENTILES).high,
        intensity_limits(spoilt, "YX", PERCENTILES).high,
    )


def test_channels_have_limits_of_their_own():
    image = np.stack(
        [np.linspace(0, 1, 400).reshape(20, 20), np.linspace(500, 900, 400).reshape(20, 20)]
    )
    result = normalized(image, "CYX", Normalization(mode="percentile", low=0, high=100))
    np.testing.assert_allclose(result[0], result[1], atol=1e-6)
    assert intensity_limits(image, "CYX", Normalization(mode="range", low=1, high=2)) == Limits(
        (1, 1), (2, 2)
    )


def test_limits_are_the_percentiles_of_the_whole_stack():
    stack = np.random.default_rng(0).gamma(2, 300, (12, 90, 80)).astype(np.float32)
    limits = intensity_limits(stack, "ZYX", PERCENTILES)
    low, high = np.percentile(stack, [0.1, 99.9])
    assert limits.low[0] == pytest.approx(low, rel=1e-5)
    assert limits.high[0] == pytest.approx(high, rel=1e-5)


@pytest.mark.parametrize(
    "wrap", [lambda a: dask.array.from_array(a, chunks=(1, 300, 300)), zarr.array]
)
def test_limits_do_not_depend_on_what_holds_the_image(wrap):
    stack = np.random.default_rng(0).integers(0, 5000, (40, 400, 500)).astype(np.uint16)
    assert intensity_limits(wrap(stack), "TYX", PERCENTILES) == intensity_limits(
        stack, "TYX", PERCENTILES
    )


def test_a_huge_lazy_image_is_not_read_as_a_whole():
    read = []

    def block(block_info):
        read.append(block_info[None]["chunk-location"])
        return np.full((1, 1024, 1024), block_info[None]["chunk-location"][0], np.uint8)

    chunks = ((1,) * 3, (1024,) * 30, (1024,) * 30)  # 2.8 gigabytes
    lazy = dask.array.map_blocks(
        block, chunks=chunks, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
    )
    limits = intensity_limits(lazy, "ZYX", Normalization(mode="percentile", low=0, high=100))
    assert limits == Limits((0.0,), (2.0,))
    assert len(read) <= 3 * 64


def test_unsettled_and_unordered_are_refused():
    with pytest.raises(ValueError, match="still 'auto'"):
        intensity_limits(np.zeros((5, 5)), "YX", Normalization())
    with pytest.raises(ValueError, match="complex64"):
        intensity_limits(np.zeros((5, 5), np.complex64), "YX", PERCENTILES)
    with pytest.raises(ValueError, match="3 channels but the limits are for 1"):
        normalize_plane(np.zeros((3, 5, 5)), Limits((0,), (1,)))


@pytest.mark.parametrize(
    ("pixels", "wanted"),
    [
        ([np.nan, np.nan], True),
        ([np.inf, -np.inf], True),
        ([np.nan, 7.0], False),
        ([0.0, 1.0], False),  # the limits that an image without numbers has, too
        ([5, 5], False),
    ],
)
def test_an_image_without_a_number_is_known(pixels, wanted):
    image = np.array([pixels] * 4)
    for settings in (
        Normalization(mode="percentile", low=0, high=100),
        Normalization(mode="range", low=0, high=1),
        Normalization(mode="range", low=-1000, high=3000),
    ):
        limits = intensity_limits(image, "YX", settings)
        assert has_no_number(image, "YX", settings, limits) is wanted


@pytest.mark.parametrize(
    ("factor", "dtype", "limits", "told"),
    [
        (1, np.uint8, (0, 255), False),
        (1, np.float32, (0, 255), False),
        (257, np.uint16, (0, 255), True),
        (1 / 255, np.float32, (0, 255), True),
        (257, np.uint16, (0, 65535), False),
        (257, np.uint16, (30000, 60000), False),  # a window chosen by hand
        (0, np.float32, (0, 255), False),  # an empty image looks alike in each kind
        (np.nan, np.float32, (0, 255), False),
    ],
)
def test_grey_values_beside_a_fixed_range_are_told(factor, dtype, limits, told):
    """Other programs save colours in 16 bits, or as numbers from 0 to 1."""
    image = (load_sample("tissue").train_images[0] * np.float64(factor)).astype(dtype)
    fixed = Normalization(mode="range", low=limits[0], high=limits[1])
    found = advise_on_values(image, "YXC", fixed)
    assert ("nearly all black or white" in found) is told
    assert not advise_on_values(image, "YXC", Normalization(mode="percentile"))


@pytest.mark.parametrize("dtype", ["u2", "u4", "f4", "f8"])
def test_the_byte_order_of_a_file_changes_nothing(dtype):
    plane = np.random.default_rng(0).random((1, 20, 30)).astype("f4") * 60000
    limits = Limits((plane.min(),), (plane.max(),))
    one, other = (normalize_plane(plane.astype(f"{order}{dtype}"), limits) for order in "<>")
    np.testing.assert_array_equal(one, other)
