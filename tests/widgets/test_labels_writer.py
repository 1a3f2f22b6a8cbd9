"""What napari's Save makes of a Labels layer, read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap
from napari.utils.notifications import notification_manager
from npe2 import PluginManager

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.data.image_file import ImageFile
from napari_sam2_adapters.data.io import labels_inside, read_image, read_labels, write_array
from napari_sam2_adapters.widgets.docks.arrays import with_axis
from napari_sam2_adapters.widgets.docks.layers import take_picture, world_matrix
from napari_sam2_adapters.widgets.docks.results import OURS, class_colormap, class_features
from napari_sam2_adapters.widgets.docks.spread import spread_entry
from napari_sam2_adapters.widgets.docks.turned import turn_back
from napari_sam2_adapters.widgets.labels_writer import write_labels_layer
from napari_sam2_adapters.widgets.loading.file_layers import labels_layer

PLUGIN = "napari-sam2-adapters"
CLASSES = (
    ClassInfo(value=1, name="membrane", color="#ff0000"),
    ClassInfo(value=3, name="nucleus", color="#00ff7f"),
)


@pytest.fixture(autouse=True)
def _known_plugins() -> None:
    PluginManager.instance().discover()


def labels(shape: tuple[int, ...] = (3, 16, 20), **keywords: Any) -> Labels:
    data = np.random.default_rng(0).integers(0, 4, shape)
    return Labels(data, **keywords)


def test_a_class_that_was_painted_since_the_others_were_named_keeps_its_colour(
    tmp_path: Path,
) -> None:
    layer = labels(features={"index": [1, 2], "class": ["cell", "wall"]})
    colors = {None: "#ffffff", 0: "transparent", 1: "#ff0000", 2: "#00ff00", 3: "#123456"}
    layer.colormap = DirectLabelColormap(color_dict=colors)
    (path,) = layer.save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    classes = {info.value: (info.name, info.color) for info in read_labels(path).classes}
    assert classes[3] == ("class 3", "#123456")
    assert classes[2] == ("wall", "#00ff00")


@pytest.mark.parametrize("ending", [".ome.tif", ".tif"])
def test_values_pixel_size_and_unit_come_back(tmp_path: Path, ending: str) -> None:
    layer = labels(scale=(2, 0.5, 0.25), units=["um"] * 3)
    (path,) = layer.save(str(tmp_path / f"a{ending}"), plugin=PLUGIN)
    found = read_labels(path)
    np.testing.assert_array_equal(found.array, layer.data)
    assert found.axes == "ZYX"
    assert found.unit == "micrometer"
    assert found.pixel_size == pytest.approx((2, 0.5, 0.25))


def test_a_name_without_ending_gets_one_and_replaces_nothing_that_nobody_was_asked_about(
    tmp_path: Path,
) -> None:
    layer = labels(scale=(2, 0.5, 0.25), units=["um"] * 3)
    _, state, _ = layer.as_layer_data_tuple()
    (path,) = write_labels_layer(str(tmp_path / "mask"), layer.data, state)
    assert path == str(tmp_path / "mask.ome.tif")
    assert read_labels(path).pixel_size == pytest.approx((2, 0.5, 0.25))
    before = Path(path).read_bytes()
    with pytest.raises(FileExistsError, match=r"mask\.ome\.tif"):
        write_labels_layer(str(tmp_path / "mask"), layer.data, state)
    assert Path(path).read_bytes() == before


def test_different_units_become_one(tmp_path: Path) -> None:
    layer = labels(scale=(0.05, 4, 4), units=["um", "nm", "nm"])
    (path,) = layer.save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    found = read_labels(path)
    assert (found.pixel_size, found.unit) == (pytest.approx((50, 4, 4)), "nanometer")


def test_pixels_without_a_size_get_none(tmp_path: Path) -> None:
    (path,) = labels((8, 9)).save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    found = read_labels(path)
    assert (found.axes, found.pixel_size, found.unit) == ("YX", None, None)


def test_time_is_known_by_its_name(tmp_path: Path) -> None:
    layer = labels(axis_labels=("time", "y", "x"), scale=(60, 0.5, 0.5), units=["s", "um", "um"])
    (path,) = layer.save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    found = read_labels(path)
    assert found.axes == "TYX"
    assert found.pixel_size == pytest.approx((0.5, 0.5))


def test_time_is_known_by_its_unit(tmp_path: Path) -> None:
    layer = labels(scale=(12.5, 0.5, 0.5), units=["s", "um", "um"])
    (path,) = layer.save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    found = read_labels(path)
    assert found.axes == "TYX"
    assert found.geometry is not None
    assert (found.geometry.time_step, found.geometry.time_unit) == (12.5, "second")
    assert found.pixel_size == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (".ome.tif", ["does not hold the time at which the layer begins"]),
        (".nrrd", ["keeps no time step", "does not hold the time at which"]),
    ],
)
def test_what_of_the_time_is_lost_is_said(tmp_path: Path, ending: str, words: list[str]) -> None:
    layer = labels(scale=(12.5, 1, 1), translate=(50, 0, 0), units=["s", "um", "um"])
    layer.save(str(tmp_path / f"a{ending}"), plugin=PLUGIN)
    said = notification_manager.records[-1].message
    assert all(word in said for word in words)
    assert said.count("cannot") + said.count("does not hold") + said.count("keeps no") == len(words)


@pytest.mark.parametrize("ending", [".ome.tif", ".nii.gz", ".npz"])
@pytest.mark.parametrize("name", ["t", "frame", "-3"])
def test_time_behind_depth_stays_time(tmp_path: Path, name: str, ending: str) -> None:
    scale, units = (2, 9, 0.5, 0.25), ("um", "s", "um", "um")
    layer = labels((3, 2, 16, 20), scale=scale, units=units, axis_labels=("z", name, "y", "x"))
    (path,) = layer.save(str(tmp_path / f"a{ending}"), plugin=PLUGIN)
    found = read_labels(path)
    assert found.pixel_size == pytest.approx((2, 0.5, 0.25))
    assert (found.geometry.time_step, found.geometry.time_unit) == (9, "second")
    at = [found.axes.index(axis) for axis in "ZTYX"]
    np.testing.assert_array_equal(np.asarray(found.array).transpose(at), layer.data)


def test_colours_are_those_that_are_shown_after_a_shuffle(tmp_path: Path) -> None:
    layer = labels(colormap=class_colormap(CLASSES), features=class_features(CLASSES))
    layer.new_colormap()
    shown = [layer.get_color(info.value) for info in CLASSES]
    (path,) = layer.save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    found = {info.value: info for info in read_labels(path).classes}
    for info, color in zip(CLASSES, shown, strict=True):
        assert found[info.value].name == info.name
        saved = bytes.fromhex(found[info.value].color[1:])
        np.testing.assert_allclose(np.frombuffer(saved, np.uint8) / 255, color[:3], atol=1 / 255)


def test_measured_labels_that_are_no_class_do_not_take_the_names_away(tmp_path: Path) -> None:
    known = class_features(CLASSES)
    numbers = range(1000, 1400)
    table = {
        "index": [*known["index"], *numbers],
        "class": [*known["class"], "", *[np.nan for _ in numbers[1:]]],
    }
    layer = labels(colormap=class_colormap(CLASSES), features=pd.DataFrame(table))
    (path,) = layer.save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    assert {info.name for info in CLASSES} <= {info.name for info in read_labels(path).classes}


@pytest.mark.parametrize("colors", [{}, {"colormap": class_colormap(CLASSES)}])
@pytest.mark.parametrize(
    ("index", "names"), [([1, np.nan, 3], ["membrane", "nucleus"]), (["a", "b", "c"], [])]
)
def test_a_table_whose_rows_are_no_labels_does_not_stop_the_labels_from_being_saved(
    tmp_path: Path, index: list[Any], names: list[str], colors: dict[str, Any]
) -> None:
    table = pd.DataFrame({"index": index, "class": ["membrane", "wall", "nucleus"]})
    layer = labels(features=table, **colors)
    (path,) = layer.save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    found = read_labels(path)
    np.testing.assert_array_equal(found.array, layer.data)
    assert [info.name for info in found.classes] == names


def test_of_a_pyramid_the_finest_level_is_written(tmp_path: Path) -> None:
    full = np.random.default_rng(0).integers(0, 4, (64, 64))
    layer = Labels([full, full[::2, ::2]], multiscale=True)
    (path,) = layer.save(str(tmp_path / "a.tif"), plugin=PLUGIN)
    np.testing.assert_array_equal(read_labels(path).array, full)


def again(path: str) -> Labels:
    """The layer that the Load dock makes of a file."""
    found = labels_layer(read_labels(path))
    return Labels(found.data, **found.keywords)


@pytest.mark.parametrize("ending", [".ome.tif", ".tif", ".ome.zarr", ".npz"])
def test_a_layer_comes_back_where_it_was_with_its_classes(tmp_path: Path, ending: str) -> None:
    layer = labels(
        scale=(2, 0.5, 0.25),
        translate=(-3, 4, 50),
        units=["um"] * 3,
        axis_labels=("z", "y", "x"),
        colormap=class_colormap(CLASSES),
        features=class_features(CLASSES),
    )
    seen = len(notification_manager.records)
    (path,) = layer.save(str(tmp_path / f"a{ending}"), plugin=PLUGIN)
    assert len(notification_manager.records) == seen
    found = again(path)
    np.testing.assert_array_equal(found.data, layer.data)
    np.testing.assert_allclose(world_matrix(found), world_matrix(layer), rtol=1e-6)
    assert found.units == layer.units
    assert [c for c in read_labels(path).classes if c.value] == list(CLASSES)
    assert found.colormap.color_dict[3] == pytest.approx(layer.colormap.color_dict[3])


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@pytest.mark.parametrize(
    "place",
    [
        {"rotate": 30, "scale": (2, 0.5, 0.25), "translate": (1, 2, 3)},
        {"shear": (0.2, 0, 0.1), "scale": (2, 0.5, 0.25)},
        {"scale": (2, -0.5, 0.25)},
        {"affine": [[0, 1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]], "scale": (2, 3, 4)},
    ],
)
@pytest.mark.parametrize(
    ("ending", "others"), [(".ome.tif", 1), (".tif", 1), (".npz", 0), (".ome.zarr", 1)]
)
def test_a_layer_that_lies_askew_comes_back(
    tmp_path: Path, place: dict[str, Any], ending: str, others: int
) -> None:
    layer = labels(units=["um"] * 3, **place)
    seen = len(notification_manager.records)
    (path,) = layer.save(str(tmp_path / f"a{ending}"), plugin=PLUGIN)
    found = again(
        path
    )  # napari breaks off where a slice is seen from the side: that is shown straight, and knows how it lies
    lies = turn_back(world_matrix(found), found.metadata, "ZYX")
    np.testing.assert_allclose(lies, world_matrix(layer), atol=1e-6)
    said = [record.message for record in notification_manager.records[seen:]]
    assert len(said) == others
    assert all("other programs show it straight" in message for message in said)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_files_of_medicine_keep_the_place_and_the_turn(tmp_path: Path, ending: str) -> None:
    place = {"rotate": 30, "scale": (2, 0.5, 0.25), "translate": (1, 2, 3)}
    layer = labels(units=["mm"] * 3, axis_labels=("z", "y", "x"), **place)
    (path,) = layer.save(str(tmp_path / f"a{ending}"), plugin=PLUGIN)
    found = read_labels(path)
    np.testing.assert_array_equal(np.asarray(found.array), layer.data)
    assert found.geometry is not None
    np.testing.assert_allclose(found.geometry.affine(), world_matrix(layer), atol=1e-4)
    assert found.unit == "millimeter"


def test_a_png_says_that_it_keeps_no_place(tmp_path: Path) -> None:
    (path,) = labels((16, 20), scale=(2, 2), units=["um"] * 2).save(
        str(tmp_path / "a.png"), plugin=PLUGIN
    )
    assert "keeps no pixel size" in notification_manager.records[-1].message
    assert read_labels(path).pixel_size is None


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_leaning_along_time_is_said(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[1, 0] = 0.5  # a drift
    labels(axis_labels=("t", "y", "x"), affine=affine).save(str(tmp_path / "a.npz"), plugin=PLUGIN)
    assert "leans along time" in notification_manager.records[-1].message


def test_labels_are_added_to_an_image_and_folders_are_not_replaced(tmp_path: Path) -> None:
    image = write_array(
        tmp_path / "a.ome.zarr",
        np.random.default_rng(0).random((3, 16, 20)).astype(np.float32),
        axes="ZYX",
    )
    layer = labels(name="my/cells")
    (path,) = layer.save(str(image), plugin=PLUGIN)
    assert labels_inside(image) == (image / "labels" / "my-cells",) == (Path(path),)
    with pytest.raises(FileExistsError, match="exists already"):
        write_labels_layer(str(image), layer.data, {"name": "my/cells"})
    (alone,) = layer.save(str(tmp_path / "b.ome.zarr"), plugin=PLUGIN)
    with pytest.raises(FileExistsError, match="exists already"):
        write_labels_layer(alone, layer.data, {})
    assert isinstance(read_image(image), ImageFile)


@pytest.mark.parametrize("nameless", ["", " ", np.nan, None])
def test_names_stay_beside_a_value_that_has_none(tmp_path: Path, nameless: object) -> None:
    features = class_features(CLASSES)
    features = {"index": [*features["index"], 2], "class": [*features["class"], nameless]}
    layer = labels(colormap=class_colormap(CLASSES), features=features)
    (path,) = layer.save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    assert [info for info in read_labels(path).classes if info.value in (1, 3)] == list(CLASSES)


@pytest.mark.parametrize("ending", [".ome.tif", ".ome.zarr", ".npz"])
@pytest.mark.parametrize(
    ("shape", "names", "axis", "scale", "units", "axes"),
    [
        ((4, 2, 16, 20), "zcyx", 1, (3, 1, 0.5, 0.25), ("um", "pixel", "um", "um"), "ZYX"),
        (
            (3, 2, 4, 16, 20), "tczyx", 1, (9, 1, 3, 0.5, 0.25),
            ("s", "pixel", "um", "um", "um"), "TZYX",
        ),
        ((16, 20, 2), "yxc", 2, (0.5, 0.25, 1), ("um", "um", "pixel"), "YX"),
    ],
)  # fmt: skip
def test_an_axis_in_place_of_channels_is_no_axis_of_the_file(
    tmp_path: Path,
    shape: tuple[int, ...],
    names: str,
    axis: int,
    scale: tuple[float, ...],
    units: tuple[str, ...],
    axes: str,
    ending: str,
) -> None:
    image = Image(np.zeros(shape, np.uint8), axis_labels=tuple(names), scale=scale, units=units)
    picture = take_picture(image, channel_axis=axis)
    plain = np.random.default_rng(0).integers(0, 4, picture.label_shape)
    layer = Labels(
        with_axis(plain, axis), metadata={OURS: spread_entry(picture.spread)}, **picture.place
    )
    (path,) = layer.save(str(tmp_path / f"a{ending}"), plugin=PLUGIN)
    found = read_labels(path)
    assert found.axes == axes
    np.testing.assert_array_equal(np.asarray(found.array), plain)
    assert found.unit == "micrometer"
    assert found.geometry is not None
    sizes = [n for n, name in zip(scale, names, strict=True) if name in "zyx"]
    assert found.pixel_size == pytest.approx(sizes)
    assert not np.any(found.geometry.origin or 0)
    assert found.geometry.time_step == (9 if "T" in axes else None)


@pytest.mark.parametrize("name", ["c", "Channel"])
def test_an_axis_that_is_called_channels_is_no_axis_of_the_file(tmp_path: Path, name: str) -> None:
    layer = labels((5, 1, 16, 20), scale=(2, 1, 0.5, 0.5), axis_labels=("z", name, "y", "x"))
    (path,) = layer.save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    found = read_labels(path)
    assert found.axes == "ZYX"
    np.testing.assert_array_equal(np.asarray(found.array), layer.data[:, 0])
    assert found.pixel_size == pytest.approx((2, 0.5, 0.5))


def test_five_axes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 5 axes"):
        write_labels_layer(str(tmp_path / "a.tif"), np.zeros((1, 1, 1, 2, 2), int), {})
