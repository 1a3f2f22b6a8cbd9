import numpy as np
from napari.layers import Labels

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.widgets._classes import (
    ClassTable,
    classes_of_layer,
    count_values,
    name_classes,
)


def test_pixels_are_counted_plane_by_plane() -> None:
    labels = np.zeros((2, 4, 5), np.int16)
    labels[0, 0] = 3
    labels[1, 1:3] = 7
    labels[1, 3] = -1
    assert count_values(labels) == {0: 20, 3: 5, 7: 10}


def test_classes_take_names_and_colours_from_the_layer() -> None:
    layer = Labels(
        np.zeros((4, 4), np.uint8), features={"index": [1, 4], "class": ["ground", "cell"]}
    )
    classes = classes_of_layer(layer, {0: 5, 1: 5, 4: 6}, "unlabelled")
    assert [(info.value, info.name) for info in classes] == [(1, "ground"), (4, "cell")]
    red, green, blue = (round(255 * part) for part in layer.get_color(4)[:3])
    assert classes[1].color == f"#{red:02x}{green:02x}{blue:02x}"


def test_zero_is_a_class_when_it_means_background() -> None:
    layer = Labels(np.zeros((4, 4), np.uint8))
    classes = classes_of_layer(layer, {0: 5, 2: 5}, "background")
    assert [(info.value, info.name) for info in classes] == [(0, "background"), (2, "class 2")]


def test_a_new_name_reaches_the_layer_and_its_status(qtbot) -> None:
    layer = Labels(np.full((4, 4), 2, np.uint8))
    table = ClassTable()
    qtbot.addWidget(table)
    table.show_classes(classes_of_layer(layer, {1: 3, 2: 4}, "unlabelled"), {1: 3, 2: 4})
    assert table.item(1, 3).text() == "4"
    with qtbot.waitSignal(table.classes_changed, timeout=1000):
        table.item(1, 1).setText("nucleus")
    name_classes(layer, table.classes)
    assert "nucleus" in layer.get_status((1, 1), world=True)["coordinates"]
    again = classes_of_layer(layer, {1: 3, 2: 4}, "unlabelled")
    assert again == table.classes


def test_an_empty_or_taken_name_is_put_back(qtbot) -> None:
    table = ClassTable()
    qtbot.addWidget(table)
    classes = (ClassInfo(value=1, name="a"), ClassInfo(value=2, name="b"))
    table.show_classes(classes, {})
    for wrong in ("", "  ", "a"):
        table.item(1, 1).setText(wrong)
        assert table.item(1, 1).text() == "b"
    assert table.classes == classes
