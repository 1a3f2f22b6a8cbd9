"""OME-Zarr as others write it and as it is written here; independent validators read what we write."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import dask.array
import numpy as np
import pytest
import yaozarrs
import zarr
from yaozarrs import v04, v05

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.formats import pyramid
from napari_sam2_adapters.data.formats.ome_zarr import (
    create_labels,
    discard_labels,
    finish_labels,
    label_names,
)
from napari_sam2_adapters.data.geometry import Geometry
from napari_sam2_adapters.data.io import read_image, read_labels, write_array, write_labels
from napari_sam2_adapters.data.matching import find_images
from napari_sam2_adapters.data.samples import load_sample

CLASSES = (
    ClassInfo(value=0, name="background", color="#102030"),
    ClassInfo(value=1, name="membrane", color="#ff0000"),
    ClassInfo(value=3, name="Kern, groß", color="#00ff7f"),
)
AXES = [
    {"name": "t", "type": "time", "unit": "second"},
    {"name": "c", "type": "channel"},
    *({"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"),
]


@pytest.fixture(scope="module")
def labels() -> np.ndarray[Any, Any]:
    return load_sample("fluorescence").train_labels


def write_image(
    path: Path, version: str, *, levels: int = 3, channels: int = 2, centred: bool = True
) -> np.ndarray[Any, Any]:
    """An image of (T, C, Z, Y, X) as another program writes it; the array of its finest level."""
    array = np.random.default_rng(0).integers(0, 999, (2, channels, 4, 50, 61)).astype(np.uint16)
    datasets, stored = [], []
    for number in range(levels):
        factor = 2**number
        shift = (factor - 1) / 2 if centred else 0
        datasets.append(
            {
                "path": f"s{number}",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [1, 1, 2, 0.5 * factor, 0.5 * factor]},
                    {
                        "type": "translation",
                        "translation": [0, 0, 7, 3 + 0.5 * shift, 4 + 0.5 * shift],
                    },
                ],
            }
        )
        stored.append(array[..., ::factor, ::factor])
    entries: dict[str, Any] = {
        "multiscales": [
            {
                "name": "image",
                "axes": AXES,
                "datasets": datasets,
                "coordinateTransformations": [{"type": "scale", "scale": [30, 1, 1, 1, 1]}],
            }
        ],
        "omero": {
            "channels": [
                {
                    "label": f"dye {i}",
                    "color": "FF0000",
                    "window": {"start": 0, "end": 9, "min": 0, "max": 9},
                }
                for i in range(channels)
            ]
        },
    }
    if version == "0.4":
        entries["multiscales"][0]["version"] = "0.4"
        group = zarr.open_group(str(path), mode="w", zarr_format=2, attributes=entries)
    else:
        attributes = {"ome": {"version": "0.5", **entries}}
        group = zarr.open_group(str(path), mode="w", zarr_format=3, attributes=attributes)
    for number, level in enumerate(stored):
        chunks = (1, 1, 2, 16, 16)
        made = group.create_array(f"s{number}", shape=level.shape, chunks=chunks, dtype=level.dtype)
        made[...] = level
    return array


def validated(path: Path) -> Any:
    """What yaozarrs makes of a group, if it finds nothing wrong."""
    if (path / "zarr.json").exists():
        yaozarrs.validate_zarr_store(str(path))
        return yaozarrs.validate_ome_object(
            json.loads((path / "zarr.json").read_text())["attributes"]["ome"]
        )
    return yaozarrs.validate_ome_object(json.loads((path / ".zattrs").read_text()))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("suffix", [".ome.zarr", ".zarr"])
def test_an_image_is_opened_lazily_with_all_it_says(
    tmp_path: Path, version: str, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    array = write_image(path, version)
    found = read_image(path)
    assert found.axes == "TCZYX"
    assert not isinstance(found.array, np.ndarray)
    np.testing.assert_array_equal(np.asarray(found.array[:]), array)
    assert [level.shape[-2:] for level in found.levels] == [(25, 31), (13, 16)]
    assert found.geometry == Geometry(
        (2, 0.5, 0.5), "micrometer", (7, 3, 4), time_step=30, time_unit="second"
    )
    assert found.channel_names == ("dye 0", "dye 1")


@pytest.mark.parametrize(
    ("names", "shown", "dtype", "rgb"),
    [
        (["Red", "Green", "Blue"], ["FF0000", "00FF00", "0000FF"], "uint8", True),
        (["R", "G", "B"], ["ff0000", "00ff00", "0000ff"], "uint8", True),
        (["Channel 0", "Channel 1", "Channel 2"], ["FF0000", "00FF00", "0000FF"], "uint8", True),
        ([None] * 3, ["FF0000", "00FF00", "0000FF"], "uint8", True),
        (["RFP", "GFP", "DAPI"], ["FF0000", "00FF00", "0000FF"], "uint8", False),
        (["Red", "Green", "Blue"], ["FFFFFF"] * 3, "uint8", False),
        (["Red", "Green", "Blue"], ["FF0000", "00FF00", "0000FF"], "uint16", False),
    ],
)
def test_channels_that_are_red_green_and_blue_are_colours(
    tmp_path: Path, names: list[str | None], shown: list[str], dtype: str, rgb: bool
) -> None:
    colour = np.moveaxis(load_sample("tissue").train_images[0], -1, 0)
    path = write_array(tmp_path / "a.ome.zarr", colour.astype(dtype), axes="CYX")
    group = zarr.open_group(str(path), mode="r+")
    about = [
        {"color": color, **({"label": name} if name else {})}
        for name, color in zip(names, shown, strict=True)
    ]
    group.attrs["omero"] = {"channels": about}
    found = read_image(path)
    assert (found.axes, found.rgb) == ("CYX", rgb)
    assert found.channel_names == (() if rgb else tuple(names))
    np.testing.assert_array_equal(np.asarray(found.array[:]), colour)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("centred", [True, False])
def test_labels_go_into_an_image_level_by_level(
    tmp_path: Path, version: str, centred: bool
) -> None:
    image_path = tmp_path / "a.ome.zarr"
    image = write_image(image_path, version, centred=centred)
    before = read_image(image_path)
    labels = (image[:, 0] % 4).astype(np.int64)
    path = write_labels(
        image_path / "labels" / "cells",
        labels,
        axes="TZYX",
        geometry=before.geometry,
        classes=CLASSES,
    )
    assert label_names(image_path) == ("cells",)
    found = read_labels(image_path)
    assert found.path == path
    assert (found.axes, found.geometry) == ("TZYX", before.geometry)
    assert found.classes == CLASSES
    assert found.array.dtype == np.uint8
    np.testing.assert_array_equal(np.asarray(found.array[:]), labels)
    for level, theirs in zip(found.levels, before.levels, strict=True):
        assert level.shape == theirs.shape[:1] + theirs.shape[2:]
    np.testing.assert_array_equal(np.asarray(found.levels[0][:]), labels[..., ::2, ::2])
    start = 2 if centred else 0  # the pixel next to the middle of four, among those of level 1
    coarsest = np.asarray(found.levels[1][:])[..., :12, :15]
    expected = labels[..., start : start + 48 : 4, start : start + 60 : 4]
    np.testing.assert_array_equal(coarsest, expected)
    about = validated(path)
    assert isinstance(about, v04.LabelImage if version == "0.4" else v05.LabelImage)
    transforms = [d.coordinateTransformations for d in about.multiscales[0].datasets]
    assert transforms[1][0].scale == [30, 2, 1, 1]
    assert transforms[1][1].translation == [0, 7, 3.25, 4.25] if centred else [0, 7, 3, 4]
    assert about.image_label.source.image == "../../"
    assert about.image_label.colors[1].rgba == [255, 0, 0, 255]
    validated(image_path / "labels")


def test_an_image_may_have_several_labels_and_none_is_replaced_unasked(tmp_path: Path) -> None:
    image_path = tmp_path / "a.ome.zarr"
    shape = write_image(image_path, "0.4")[:, 0].shape
    zarr.consolidate_metadata(str(image_path))
    for name, value in (("one", 1), ("two", 2)):
        write_labels(image_path / "labels" / name, np.full(shape, value), axes="TZYX")
    with pytest.raises(FileExistsError, match="exists already"):
        write_labels(image_path / "labels" / "two", np.ones(shape, int), axes="TZYX")
    with pytest.raises(ValueError, match=r"labels one, two\. Choose one of them"):
        read_labels(image_path)
    assert np.asarray(read_labels(image_path / "labels" / "two").array[:]).min() == 2
    write_labels(image_path / "labels" / "two", np.zeros(shape, int), axes="TZYX", overwrite=True)
    assert not np.asarray(read_labels(image_path / "labels" / "two").array[:]).any()
    assert np.asarray(read_labels(image_path / "labels" / "one").array[:]).all()
    consolidated = zarr.open_group(str(image_path), mode="r").metadata.consolidated_metadata
    assert {"labels/one", "labels/two/2"} <= set(consolidated.flattened_metadata)
    assert sorted(p.name for p in (image_path / "labels").iterdir()) == [
        ".zattrs",
        ".zgroup",
        "one",
        "two",
    ]
    with pytest.raises(ValueError, match="is a group of labels"):
        read_labels(image_path / "labels")


def test_labels_that_do_not_fit_the_image_are_refused(tmp_path: Path) -> None:
    image_path = tmp_path / "a.ome.zarr"
    write_image(image_path, "0.4")
    target = image_path / "labels" / "x"
    with pytest.raises(ValueError, match="Choose the image that they belong to"):
        write_labels(target, np.zeros((4, 50, 60), int), axes="ZYX")
    with pytest.raises(ValueError, match=r"have pixels of \(1, 1, 1\) pixel"):
        write_labels(
            target, np.zeros((2, 4, 50, 61), int), axes="TZYX", geometry=Geometry((1, 1, 1))
        )
    with pytest.raises(ValueError, match=r"called a.ome.zarr/labels/NAME"):
        write_labels(image_path / "x", np.zeros((2, 4, 50, 61), int), axes="TZYX")
    with pytest.raises(ValueError, match="only whole numbers go"):
        write_array(target, np.zeros((2, 4, 50, 61)), axes="TZYX")
    zarr.open_group(str(tmp_path / "b.zarr"), mode="w")
    with pytest.raises(ValueError, match="no OME-Zarr image that labels could go into"):
        write_labels(tmp_path / "b.zarr" / "labels" / "x", np.zeros((4, 4), int), axes="YX")
    assert sorted(p.name for p in image_path.iterdir()) == [".zattrs", ".zgroup", "s0", "s1", "s2"]


@pytest.mark.parametrize("source_version", ["0.4", "0.5", None])
def test_labels_of_their_own(
    tmp_path: Path, labels: np.ndarray[Any, Any], source_version: str | None
) -> None:
    source = tmp_path / "source.ome.zarr" if source_version else None
    array = labels
    geometry = Geometry((2, 0.5, 0.25), "nanometer", (1, -2, 3.5))
    axes = "ZYX"
    if source:
        array = write_image(source, str(source_version))[:, 0] % 4
        geometry, axes = read_image(source).geometry, "TZYX"
    path = write_labels(
        tmp_path / "masks" / "m.ome.zarr",
        array,
        axes=axes,
        geometry=geometry,
        classes=CLASSES,
        source=source,
    )
    found = read_labels(path)
    assert (found.axes, found.geometry, found.classes) == (axes, geometry, CLASSES)
    np.testing.assert_array_equal(np.asarray(found.array[:]), array)
    about = validated(path)
    assert about.multiscales[0].axes[-1].unit == geometry.unit
    assert len(found.levels) == (2 if source else 0)
    if source:
        assert about.image_label.source.image == "../../source.ome.zarr"
        assert (path / "zarr.json").exists() == (source_version == "0.5")
    else:
        assert about.image_label.source is None
    assert [p.name for p in path.parent.iterdir()] == ["m.ome.zarr"]


def test_a_pyramid_of_its_own_covers_the_same_field(tmp_path: Path) -> None:
    array = np.zeros((9, 1200, 1500), np.uint8)
    array[:, 600:] = 1
    path = write_labels(
        tmp_path / "m.ome.zarr", array, axes="ZYX", geometry=Geometry((3, 1, 1), "micrometer")
    )
    found = read_labels(path)
    assert [level.shape for level in found.levels] == [(9, 600, 750), (5, 300, 375)]
    datasets = validated(path).multiscales[0].datasets
    for dataset, factor in zip(datasets, ((1, 1, 1), (1, 2, 2), (2, 4, 4)), strict=True):
        scale, shift = dataset.coordinateTransformations
        assert scale.scale == [3 * factor[0], factor[1], factor[2]]
        # the edge of the first pixel stays where it is
        np.testing.assert_allclose(
            np.array(shift.translation) - np.array(scale.scale) / 2, [-1.5, -0.5, -0.5]
        )
    coarsest = np.asarray(found.levels[1][:])
    assert not coarsest[:, :150].any()
    assert coarsest[:, 150:].all()


def test_directions_come_back(tmp_path: Path, labels: np.ndarray[Any, Any]) -> None:
    turned = ((0.8, 0.6), (-0.6, 0.8))
    geometry = Geometry((0.5, 0.25), "micrometer", (5, 6), turned)
    path = write_labels(tmp_path / "m.ome.zarr", labels[0], axes="YX", geometry=geometry)
    assert read_labels(path).geometry == geometry
    validated(path)


def test_images_of_probabilities(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((3, 20, 30)).astype(np.float32)
    path = write_array(tmp_path / "p.ome.zarr", array, axes="CYX", geometry=Geometry((2, 2), "nm"))
    found = read_image(path)
    assert (found.axes, found.array.dtype, found.pixel_size) == ("CYX", np.float32, (2, 2))
    np.testing.assert_array_equal(np.asarray(found.array[:]), array)
    assert isinstance(validated(path), v04.Image)
    with pytest.raises(ValueError, match="got complex64"):
        write_array(tmp_path / "c.ome.zarr", array.astype(np.complex64), axes="CYX")


def test_lazy_labels_are_written_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyramid.aligned_blocks, "__defaults__", (2**16,))
    monkeypatch.setattr(pyramid, "_BLOCK_BYTES", 2**16)
    largest = []

    class Source:
        shape, dtype = (20, 520, 600), np.dtype(np.uint8)

        def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
            block = [np.arange(n)[part] for n, part in zip(self.shape, key, strict=True)]
            largest.append(int(np.prod([len(part) for part in block])))
            return sum(np.ix_(*block)).astype(np.uint8)

    path = write_labels(tmp_path / "m.ome.zarr", Source(), axes="ZYX")
    assert max(largest) == 16 * 512 * 512  # one chunk
    whole = np.add.outer(np.add.outer(np.arange(20), np.arange(520)), np.arange(600))
    np.testing.assert_array_equal(np.asarray(read_labels(path).array[:]), whole.astype(np.uint8))
    lazy = dask.array.from_array(whole[:3].astype(np.uint16), chunks=(1, 100, 600))
    other = write_labels(tmp_path / "d.ome.zarr", lazy, axes="ZYX")
    np.testing.assert_array_equal(np.asarray(read_labels(other).array[:]), whole[:3])


def test_a_failure_in_the_middle_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyramid.aligned_blocks, "__defaults__", (2**16,))

    class Broken:
        shape, dtype = (40, 600, 600), np.dtype(np.uint8)
        reads = 0

        def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
            type(self).reads += 1
            if self.reads == 2:
                raise KeyboardInterrupt
            return np.ones([len(range(*part.indices(999))) for part in key], np.uint8)

    image = tmp_path / "a.ome.zarr"
    write_image(image, "0.4")
    before = sorted(tmp_path.rglob("*"))
    for _ in range(2):
        Broken.reads = 0
        with pytest.raises(KeyboardInterrupt):
            write_labels(tmp_path / "m.ome.zarr", Broken(), axes="ZYX")
    broken = dask.array.map_blocks(
        lambda block_info: 1 / 0,
        chunks=((2,), (4,), (50,), (61,)),
        dtype=np.uint8,
        meta=np.empty(0),
    )
    with pytest.raises(ZeroDivisionError):
        write_labels(image / "labels" / "x", broken, axes="TZYX")
    assert sorted(tmp_path.rglob("*")) == before


def test_labels_are_written_by_chunk_and_seen_when_they_are_finished(tmp_path: Path) -> None:
    image = tmp_path / "a.ome.zarr"
    values = write_image(image, "0.5")[:, 1] % 4
    target = image / "labels" / "big"
    level0 = create_labels(target, values.shape, "TZYX", np.uint8, classes=CLASSES)
    assert level0.chunks == (1, 2, 16, 16)
    assert not (image / "labels").exists()
    # as another process does it
    again = zarr.open_array(Path(level0.store.root) / level0.path, mode="r+")
    again[0], level0[1] = values[0], values[1]
    assert finish_labels(again, target) == target
    found = read_labels(target)
    np.testing.assert_array_equal(np.asarray(found.array[:]), values)
    assert len(found.levels) == 2
    validated(target)
    discard_labels(level0)  # it has its name and stays
    assert read_labels(target).classes == CLASSES
    with pytest.raises(FileExistsError):
        create_labels(target, values.shape, "TZYX", np.uint8)
    abandoned = create_labels(tmp_path / "b.ome.zarr", (30, 40), "YX", np.uint8, chunks=(8, 8))
    assert abandoned.chunks == (8, 8)
    discard_labels(abandoned)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ome.zarr"]


def test_only_labels_are_replaced(tmp_path: Path, labels: np.ndarray[Any, Any]) -> None:
    image = tmp_path / "a.ome.zarr"
    shape = write_image(image, "0.4")[:, 0].shape
    write_labels(image / "labels" / "one", np.zeros(shape, int), axes="TZYX")
    with pytest.raises(FileExistsError, match="holds labels or several images"):
        write_labels(image, labels, axes="ZYX", overwrite=True)
    (tmp_path / "precious.zarr").mkdir()
    (tmp_path / "precious.zarr" / "thesis.tex").write_text("precious")
    with pytest.raises(FileExistsError, match="no zarr, so it is not replaced"):
        write_labels(tmp_path / "precious.zarr", labels, axes="ZYX", overwrite=True)
    path = write_labels(tmp_path / "m.ome.zarr", labels, axes="ZYX")
    write_labels(path, labels[0], axes="YX", overwrite=True)
    assert read_labels(path).axes == "YX"
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["a.ome.zarr", "m.ome.zarr", "precious.zarr"]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_plain_arrays_have_axes_that_are_named_or_guessed(tmp_path: Path, zarr_format: int) -> None:
    named = {"dimension_names": ["t", "y", "x"]} if zarr_format == 3 else {}
    attributes = {} if zarr_format == 3 else {"_ARRAY_DIMENSIONS": ["t", "y", "x"]}
    for name, options, axes, shape in (
        ("plain", {}, "ZYX", (5, 20, 30)),
        ("named", {**named, "attributes": attributes}, "TYX", (5, 20, 30)),
        ("rgb", {}, "YXC", (20, 30, 3)),
    ):
        path = tmp_path / f"{name}.zarr"
        made = zarr.create_array(
            str(path), shape=shape, dtype="uint8", zarr_format=zarr_format, **options
        )
        made[...] = 3
        found = read_image(path)
        assert (found.axes, found.rgb, found.geometry) == (axes, name == "rgb", None)
        assert np.asarray(found.array[:]).all()
    strange = zarr.create_array(
        str(tmp_path / "c.zarr"), shape=(4, 4), dtype="complex64", zarr_format=zarr_format
    )
    assert strange.shape == (4, 4)
    with pytest.raises(ValueError, match=r"c.zarr holds complex64"):
        read_image(tmp_path / "c.zarr")


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"plate": {"wells": []}}, "is a plate of many images"),
        ({"well": {"images": []}}, "is a well of many images"),
        ({"bioformats2raw.layout": 3}, "is a collection of images"),
        ({}, "does not say it is an OME-Zarr image"),
        ({"multiscales": [{"axes": AXES}]}, "does not know .KeyError"),
        ({"multiscales": [{"axes": AXES, "datasets": []}]}, "lists no resolution"),
        ({"multiscales": [{"axes": AXES, "datasets": [{"path": "0"}]}]}, "copy it again"),
        ({"multiscales": [{"axes": ["q", "y", "x"], "datasets": [{"path": "0"}]}]}, "q, y, x"),
        (
            {
                "multiscales": [
                    {
                        "axes": AXES,
                        "datasets": [
                            {
                                "path": "0",
                                "coordinateTransformations": [{"type": "scale", "scale": [1, 2]}],
                            }
                        ],
                    }
                ]
            },
            "a scale of 2 numbers for 5 axes",
        ),
        (
            {
                "multiscales": [
                    {
                        "axes": AXES,
                        "datasets": [
                            {"path": "0", "coordinateTransformations": [{"type": "affine"}]}
                        ],
                    }
                ]
            },
            "places its pixels by 'affine'",
        ),
    ],
)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_other_groups_are_refused_in_a_sentence(
    tmp_path: Path, zarr_format: int, attributes: dict[str, Any], sentence: str
) -> None:
    path = tmp_path / "a.zarr"
    inner = {"ome": {"version": "0.5", **attributes}} if zarr_format == 3 else attributes
    zarr.open_group(str(path), mode="w", zarr_format=zarr_format, attributes=inner)
    with pytest.raises(ValueError, match=rf"a\.zarr.*{sentence}"):
        read_image(path)


@pytest.mark.parametrize("content", [None, "", "{", "[]"])
def test_folders_that_are_no_zarr_are_refused_in_a_sentence(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "a.ome.zarr"
    path.mkdir()
    if content is not None:
        (path / "zarr.json").write_text(content)
    with pytest.raises(ValueError, match=r"a\.ome\.zarr is a folder without a readable zarr"):
        read_image(path)
    (tmp_path / "b.zarr").write_text("a file")
    with pytest.raises(ValueError, match="should be a folder"):
        read_image(tmp_path / "b.zarr")


def test_the_inside_of_an_image_folder_is_no_list_of_images(tmp_path: Path) -> None:
    write_image(tmp_path / "sub" / "a.ome.zarr", "0.4")
    zarr.create_array(str(tmp_path / "b.zarr"), shape=(4, 4), dtype="uint8")
    found = find_images(tmp_path, "**/*")
    assert [p.name for p in found] == ["b.zarr", "a.ome.zarr"]


def test_old_files_without_axes_and_scales(tmp_path: Path) -> None:
    attributes = {"multiscales": [{"version": "0.1", "datasets": [{"path": "0"}]}]}
    path = tmp_path / "a.zarr"
    group = zarr.open_group(str(path), mode="w", zarr_format=2, attributes=attributes)
    group.create_array("0", shape=(1, 1, 3, 8, 9), dtype="uint8")
    found = read_image(path)
    assert (found.axes, found.array.shape, found.geometry) == ("TZYX", (1, 3, 8, 9), None)


def test_on_a_full_disk_nothing_is_left_of_labels_that_could_not_be_begun(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Zarr writes several files at a time, and those that come after one has failed make the folder anew."""
    write = zarr.storage._local._put
    at_once, late = Barrier(2), Event()

    def full(path: Path, *given: Any, **more: Any) -> Any:
        if path.parent.name.endswith(".partial"):  # what belongs to the group
            if at_once.wait(timeout=30):
                time.sleep(0.3)
                write(path, *given, **more)
                late.set()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, *given, **more)

    monkeypatch.setattr(zarr.storage._local, "_put", full)
    with pytest.raises(OSError, match="No space left"):
        create_labels(tmp_path / "masks.ome.zarr", (8, 8), "YX", np.uint8, classes=CLASSES)
    assert late.wait(timeout=30)
    assert list(tmp_path.rglob("*")) == []
