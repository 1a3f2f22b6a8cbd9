"""What is written comes back the same in every format that can hold it, for whatever shape, axes, type and place."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import read_image, read_labels, write_array, write_labels

LENGTHS = {"T": 2, "Z": 3, "C": 2, "Y": 5, "X": 7}
ORDERS = ("YX", "TYX", "ZYX", "TZYX", "ZTYX")
SIZES = st.floats(1e-3, 1e3, allow_nan=False)
PLACES = st.floats(-1e4, 1e4, allow_nan=False).map(lambda value: round(value, 3))
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=9)
TURNED = {2: ((0.8, -0.6), (0.6, 0.8)), 3: ((0, 1, 0), (1, 0, 0), (0, 0, -1))}


@st.composite
def geometries(draw: st.DrawFn, axes: str) -> Geometry | None:
    count = sum(axis in "ZYX" for axis in axes)
    timed = "T" in axes and draw(st.booleans())
    geometry = Geometry(
        draw(st.tuples(*[SIZES] * count)),
        draw(st.sampled_from(["nanometer", "micrometer", "millimeter", "angstrom"])),
        draw(st.none() | st.tuples(*[PLACES] * count)),
        draw(st.sampled_from([None, TURNED[count]])),
        draw(st.sampled_from([0.5, 30.0])) if timed else None,
        draw(st.sampled_from(["second", "millisecond", "minute"])) if timed else None,
    )
    return draw(st.sampled_from([geometry, geometry, geometry, None]))


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    axes = draw(st.sampled_from(ORDERS))
    shape = [draw(st.sampled_from([LENGTHS[axis], 11, 1])) for axis in axes]
    largest = draw(st.sampled_from([1, 255, 256, 65535, 65536, 2**32 - 1]))
    seed = draw(st.integers(0, 2**31))
    labels = np.random.default_rng(seed).integers(0, largest, shape, np.uint64, endpoint=True)
    labels.flat[0] = largest
    kinds = [k for k in ("uint8", "uint16", "uint32") if largest <= np.iinfo(k).max]
    kind = draw(st.sampled_from([*kinds, ">u4", "int64", "uint64"]))
    values = draw(st.lists(st.integers(0, 65535), max_size=3, unique=True))
    color = st.integers(0, 2**24 - 1).map("#{:06x}".format)
    classes = tuple(ClassInfo(value=v, name=draw(NAMES), color=draw(color)) for v in sorted(values))
    return {
        "labels": labels.astype(kind),
        "axes": axes,
        "geometry": draw(geometries(axes)),
        "classes": classes,
    }


def same_geometry(found: Geometry | None, wanted: Geometry | None) -> None:
    if wanted is None or found is None:
        assert found is wanted
        return
    assert found.pixel_size == pytest.approx(wanted.pixel_size, rel=1e-6)
    assert (found.unit, found.time_step, found.time_unit) == (
        wanted.unit,
        wanted.time_step,
        wanted.time_unit,
    )
    count = len(wanted.pixel_size)
    assert found.origin or (0,) * count == pytest.approx(wanted.origin or (0,) * count)
    np.testing.assert_allclose(found.rotation(), wanted.rotation(), atol=1e-9)


@settings(max_examples=40)
@given(case=cases(), ending=st.sampled_from([".tif", ".ome.tif", ".ome.zarr", ".npz"]))
def test_labels_come_back_with_all_that_belongs_to_them(case: dict[str, Any], ending: str) -> None:
    labels, axes = case["labels"], case["axes"]
    stored = axes if ending == ".npz" else "".join(a for a in "TZYX" if a in axes)
    expected = labels.transpose([axes.index(axis) for axis in stored])
    with tempfile.TemporaryDirectory() as folder:
        path = write_labels(
            Path(folder) / f"m{ending}",
            labels,
            axes=axes,
            geometry=case["geometry"],
            classes=case["classes"],
        )
        assert [p.name for p in Path(folder).iterdir()] == [path.name]
        found = read_labels(path)
        assert found.axes == stored
        assert found.array.dtype == np.min_scalar_type(int(labels.max()))
        np.testing.assert_array_equal(np.asarray(found.array[:]), expected)
        same_geometry(found.geometry, case["geometry"])
        assert found.classes == case["classes"]
        as_others_read = {
            ".tif": tifffile.imread,
            ".ome.tif": tifffile.imread,
            ".ome.zarr": _level_0,
            ".npz": lambda name: np.load(name)["array"],
        }[ending](path)
        # others leave out axes of length 1
        np.testing.assert_array_equal(np.squeeze(as_others_read), np.squeeze(expected))


def _level_0(path: Path) -> Any:
    yaozarrs.validate_ome_object(dict(zarr.open_group(str(path), mode="r").attrs))
    return zarr.open_array(str(path / "0"), mode="r")[:]


@settings(max_examples=20)
@given(
    axes=st.sampled_from(["YX", "CYX", "ZYX", "ZCYX", "TZCYX"]),
    dtype=st.sampled_from(["float16", "float32", "uint8", "uint16"]),
    ending=st.sampled_from([".tif", ".ome.tif", ".ome.zarr", ".npz"]),
    data=st.data(),
)
def test_images_come_back(axes: str, dtype: str, ending: str, data: st.DataObject) -> None:
    singles = data.draw(st.sampled_from(["", "T", "Z", "TZ"]))
    shape = [1 if axis in singles else LENGTHS[axis] for axis in axes]
    array = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    geometry = data.draw(geometries(axes))
    with tempfile.TemporaryDirectory() as folder:
        path = write_array(Path(folder) / f"a{ending}", array, axes=axes, geometry=geometry)
        found = read_image(path)
        stored = "".join(a for a in "TCZYX" if a in axes) if ending == ".ome.zarr" else axes
        kept = "float32" if (ending, dtype) == (".ome.tif", "float16") else dtype
        assert (found.axes, found.array.dtype, found.rgb) == (stored, kept, False)
        expected = array.transpose([axes.index(axis) for axis in stored])
        np.testing.assert_array_equal(np.asarray(found.array[:]), expected)
        same_geometry(found.geometry, geometry)
