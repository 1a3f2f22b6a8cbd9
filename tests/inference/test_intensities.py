from __future__ import annotations

import warnings

import numpy as np
import pytest

from napari_sam2_adapters.inference.measure import join_tables, measure, total_by_label
from napari_sam2_adapters.inference.ruler import Ruler


def table_of(labels, image, axes="YX", image_axes=None, **settings):
    ruler = Ruler(np.eye(labels.ndim + 1))
    parts = measure(labels, axes, ruler, image=image, image_axes=image_axes, **settings)
    return join_tables([part.table for part in parts])


@pytest.fixture
def halves() -> np.ndarray:
    labels = np.ones((6, 8), np.uint8)
    labels[:, 4:] = 2
    return labels


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("no_number", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_left_out_and_counted(halves, dtype, no_number) -> None:
    image = np.full((6, 8), 3, dtype)
    image[0, 0], image[1, 0], image[2, 0] = no_number, 1, 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = table_of(halves, image)
    np.testing.assert_allclose(table["intensity_mean"], [(3 * 21 + 9) / 23, 3])
    assert table["intensity_min"].tolist() == [1, 3]
    assert table["intensity_max"].tolist() == [8, 3]
    assert table["intensity_left_out"].tolist() == [1, 0]
    assert table["pixels"].tolist() == [24, 24]


def test_an_object_without_a_number_has_none(halves) -> None:
    image = np.full((6, 8), 3.0)
    image[:, :4] = np.nan
    table = table_of(halves, image)
    for name in ("mean", "min", "max"):
        np.testing.assert_array_equal(table[f"intensity_{name}"], [np.nan, 3])
    assert table["intensity_left_out"].tolist() == [24, 0]


def test_each_channel_leaves_out_its_own(halves) -> None:
    image = np.stack([np.full((6, 8), 3.0), np.full((6, 8), 5.0)])
    image[1, 0, :2] = np.nan
    table = table_of(halves, image, image_axes="CYX")
    assert table["intensity_mean_channel_1"].tolist() == [5, 5]
    assert table["intensity_left_out_channel_0"].tolist() == [0, 0]
    assert table["intensity_left_out_channel_1"].tolist() == [2, 0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, bool])
def test_whole_numbers_are_all_numbers(halves, dtype) -> None:
    table = table_of(halves, np.ones((6, 8), dtype))
    assert "intensity_left_out" not in table
    assert {table[f"intensity_{name}"].dtype.kind for name in ("mean", "min", "max")} == {"f"}


@pytest.mark.parametrize("image_axes", ["YX", "CYX", "YXC"])
def test_means_of_large_objects_are_exact(image_axes) -> None:
    labels = np.ones((1500, 1500), np.uint8)
    shape = [{"Y": 1500, "X": 1500, "C": 2}[axis] for axis in image_axes]
    table = table_of(labels, np.full(shape, 1000.3, np.float32), image_axes=image_axes)
    (mean,) = table["intensity_mean" + "_channel_1" * (len(image_axes) - 2)]
    assert mean == pytest.approx(np.float32(1000.3), rel=1e-9)  # it was 1017.8 in channels


def test_totals_of_slices_are_of_what_has_a_number() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (5, 20, 20)).astype(np.uint8)
    image = rng.random((5, 20, 20, 2))
    image[rng.random(image.shape) < 0.3] = np.nan
    image[2, ..., 1] = np.nan
    image[labels == 3] = np.nan
    ruler = Ruler(np.eye(4))
    about = {"image": image, "image_axes": "ZYXC"}
    total = total_by_label([part.table for part in measure(labels, "ZYX", ruler, **about)], [])
    whole = table_of(labels, image, "ZYX", "ZYXC", together="volumes")
    names = [name for name in whole if name.startswith("intensity")]
    assert len(names) == 8
    for name in names:
        np.testing.assert_allclose(total[name], whole[name])
    assert total["intensity_left_out_channel_0"].dtype.kind == "i"
