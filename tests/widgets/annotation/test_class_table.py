import pytest

from napari_sam2_adapters.config import ClassInfo
from napari_sam2_adapters.widgets.annotation.class_table import ClassTable
from napari_sam2_adapters.widgets.docks.marking import WRONG

CLASSES = (ClassInfo(value=1, name="a", color="#112233"), ClassInfo(value=2, name="b"))


@pytest.fixture
def table(qtbot):
    made = ClassTable()
    qtbot.addWidget(made)
    made.show_classes(CLASSES, {1: 1200, 2: 4}, {2: 3})
    return made


def test_pixels_are_shown_of_the_slice_and_in_all(table) -> None:
    assert [table.item(0, column).text() for column in (0, 1, 3, 4)] == ["1", "a", "0", "1,200"]
    assert [table.item(1, column).text() for column in (3, 4)] == ["3", "4"]


def test_a_new_name_is_told(table, qtbot) -> None:
    with qtbot.waitSignal(table.classes_changed, timeout=60_000):
        table.item(1, 1).setText("nucleus")
    assert [info.name for info in table.classes] == ["a", "nucleus"]


def test_an_empty_or_taken_name_is_put_back(table) -> None:
    for wrong in ("", "  ", "a"):
        table.item(1, 1).setText(wrong)
        assert table.item(1, 1).text() == "b"
    assert table.classes == CLASSES


def test_a_name_that_is_taken_is_said_and_marked_until_the_next_one(table, qtbot) -> None:
    with qtbot.waitSignal(table.name_refused, timeout=60_000) as told:
        table.item(1, 1).setText("a")
    assert told.args == [
        "Another class is called “a” already, so “b” keeps its name. Type another one."
    ]
    mark = table.item(1, 1).foreground().color()
    assert mark.name() == WRONG
    assert table.item(0, 1).foreground().color() != mark
    table.item(1, 1).setText("c")
    assert table.item(1, 1).foreground().color() != mark


def test_a_click_chooses_the_class_to_paint_with(table, qtbot) -> None:
    with qtbot.waitSignal(table.class_chosen, timeout=60_000) as told:
        table.selectRow(1)
    assert told.args == [2]
    table.choose(1)  # as when the layer's own control is used
    assert table.chosen.value == 1


def test_new_numbers_leave_the_name_that_is_being_typed(table) -> None:
    table.show()
    table.edit_name(2)
    table.show_classes((*CLASSES, ClassInfo(value=3, name="c")), {3: 9}, {})
    assert table.state() == ClassTable.State.EditingState
    assert table.rowCount() == 2
