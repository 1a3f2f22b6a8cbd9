import numpy as np
import pytest
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_sam2_adapters.config import ClassInfo, default_classes
from napari_sam2_adapters.widgets.annotation.class_names import (
    MOST_CLASSES,
    classes_of_layer,
    dress_layer,
    join_classes,
    missing_classes,
    name_classes,
    next_class,
)


def test_classes_take_names_and_colours_from_the_layer() -> None:
    layer = Labels(
        np.zeros((4, 4), np.uint8), features={"index": [1, 4], "class": ["ground", "cell"]}
    )
    classes = classes_of_layer(layer, [0, 1, 4], "unlabelled")
    assert [(info.value, info.name) for info in classes] == [(1, "ground"), (4, "cell")]
    red, green, blue = (round(255 * part) for part in layer.get_color(4)[:3])
    assert classes[1].color == f"#{red:02x}{green:02x}{blue:02x}"


def test_zero_is_a_class_when_it_means_background() -> None:
    layer = Labels(np.zeros((4, 4), np.uint8))
    classes = classes_of_layer(layer, [0, 2], "background")
    assert [(info.value, info.name) for info in classes] == [(0, "background"), (2, "class 2")]


def test_a_class_without_a_pixel_is_known_by_its_name() -> None:
    layer = Labels(np.zeros((4, 4), np.uint8))
    new = next_class((ClassInfo(value=1, name="cell"),))
    name_classes(layer, (ClassInfo(value=1, name="cell"), new))
    assert [info.value for info in classes_of_layer(layer, [], "unlabelled")] == [1, 2]


def test_names_reach_the_status_bar_and_other_columns_stay() -> None:
    layer = Labels(np.full((4, 4), 2, np.uint8), features={"index": [1, 2], "area": [3.5, 4.5]})
    classes = (
        ClassInfo(value=1, name="ground", color="#112233"),
        ClassInfo(value=2, name="nucleus", color="#445566"),
    )
    name_classes(layer, classes)
    assert "nucleus" in layer.get_status((1, 1), world=True)["coordinates"]
    assert list(layer.features["area"]) == [3.5, 4.5]
    assert isinstance(layer.colormap, DirectLabelColormap)
    assert classes_of_layer(layer, [1, 2], "unlabelled") == classes


CELL_AND_WALL = (
    ClassInfo(value=1, name="cell", color="#00ff00"),
    ClassInfo(value=3, name="wall", color="#0000ff"),
)


def test_a_table_whose_rows_are_labels_keeps_its_columns() -> None:
    layer = Labels(np.eye(4, dtype=np.uint8), features={"diameter": [0, 7.5, 8.25]})
    assert dress_layer(layer, CELL_AND_WALL)
    assert list(layer.features["index"]) == [0, 1, 2, 3]
    assert list(layer.features["diameter"].dropna()) == [0, 7.5, 8.25]
    assert list(layer.features["class"].fillna("")) == ["", "cell", "", "wall"]
    assert [info.name for info in classes_of_layer(layer, [], "unlabelled")] == ["cell", "wall"]
    assert layer.get_status((0, 0), world=True)["coordinates"].endswith(
        "diameter: 7.5, class: cell"
    )


def test_rows_of_values_that_are_no_class_stay() -> None:
    measured = {"index": [1, 2, 2, 500], "area": [3, 4, 5, 6]}
    layer = Labels(np.eye(4, dtype=np.uint8), features=measured)
    for name in ("axon", "myelin"):
        name_classes(layer, (ClassInfo(value=1, name=name),))
        assert list(layer.features["index"]) == measured["index"]
        assert list(layer.features["area"]) == measured["area"]
        assert list(layer.features["class"].fillna("")) == [name, "", "", ""]
    name_classes(layer, ())
    name_classes(layer, CELL_AND_WALL)
    assert set(layer.features) == {"index", "area", "class"}


@pytest.mark.parametrize(
    "own", [[1, 2, 3], [f"object {number}" for number in range(4 * MOST_CLASSES + 1)]]
)
def test_names_do_not_take_the_place_of_numbers_and_of_objects(own) -> None:
    index = list(range(1, len(own) + 1))
    layer = Labels(np.eye(4, dtype=np.uint8), features={"index": index, "class": own})
    name_classes(layer, CELL_AND_WALL)
    assert list(layer.features["class"]) == own
    assert list(layer.features["name"].dropna()) == ["cell", "wall"]
    assert [info.name for info in classes_of_layer(layer, [], "unlabelled")] == ["cell", "wall"]


def test_a_value_that_the_layer_has_no_colour_for_gets_its_own() -> None:
    layer = Labels(np.zeros((4, 4), np.uint8))
    name_classes(layer, (ClassInfo(value=1, name="cell", color="#112233"),))
    colors = [info.color for info in classes_of_layer(layer, [1, 3], "unlabelled")]
    assert colors[0] == "#112233"
    assert colors[1] != "#ffffff"


def test_classes_of_several_layers_are_joined_by_value_with_names_of_their_own() -> None:
    one = (ClassInfo(value=1, name="class 1"), ClassInfo(value=2, name="cell"))
    other = (ClassInfo(value=1, name="ground"), ClassInfo(value=3, name="cell"))
    joined = join_classes([one, other])
    assert [(info.value, info.name) for info in joined] == [
        (1, "ground"),
        (2, "cell"),
        (3, "cell (3)"),
    ]


def test_a_new_class_takes_the_smallest_free_value_and_a_colour_of_its_own() -> None:
    classes = (ClassInfo(value=1, name="a", color="#999999"), ClassInfo(value=3, name="b"))
    new = next_class(classes)
    assert new.value == 2
    assert new.color not in {info.color for info in classes}


def test_no_two_of_many_classes_have_one_colour_and_background_has_that_of_none() -> None:
    layer = Labels(np.zeros((4, 4), np.uint8))
    for number in range(MOST_CLASSES - 1):
        classes = classes_of_layer(layer, [], "unlabelled")
        name_classes(layer, (*classes, next_class(classes)))
        assert len(classes_of_layer(layer, [], "unlabelled")) == number + 1
    classes = classes_of_layer(layer, [0], "background")
    assert len(classes) == len({info.color for info in classes}) == MOST_CLASSES


def test_a_plain_layer_takes_names_and_colours_and_one_with_its_own_keeps_them() -> None:
    classes = (
        ClassInfo(value=1, name="cell", color="#00ff00"),
        ClassInfo(value=2, name="wall", color="#0000ff"),
    )
    plain, named = Labels(np.eye(8, dtype=np.uint8)), Labels(np.eye(8, dtype=np.uint8))
    name_classes(named, (ClassInfo(value=1, name="axon", color="#ff0000"),))
    assert dress_layer(plain, classes)
    assert classes_of_layer(plain, [1, 2], "unlabelled") == classes
    assert not dress_layer(plain, classes)
    assert dress_layer(named, classes)
    assert [(info.name, info.color) for info in classes_of_layer(named, [1, 2], "unlabelled")] == [
        ("axon", "#ff0000"),
        ("class 2", "#0000ff"),
    ]


def test_a_value_painted_later_gets_a_colour_that_no_other_class_has() -> None:
    layer = Labels(np.eye(8, dtype=np.uint8))
    seventh = default_classes(list(range(1, 8)))[-1]
    name_classes(layer, (ClassInfo(value=1, name="cell", color=seventh.color),))
    layer.data[0, 0] = 7
    assert dress_layer(layer, classes_of_layer(layer, [1, 7], "unlabelled"))
    first, second = classes_of_layer(layer, [1, 7], "unlabelled")
    assert first.color == seventh.color != second.color
    assert layer.get_color(7).tolist() != [1, 1, 1, 1]


def test_a_value_too_large_for_a_class_is_named_and_no_class_is_left_out_in_silence() -> None:
    classes = default_classes([1, 2])
    totals = {0: 10, 1: 5, 2: 5, 70_000: 5}
    assert "70000 occurs" in missing_classes(classes, classes, totals)
    assert missing_classes(classes, classes, {1: 5, 2: 5, 70_000: 0}) == ""
