from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtWidgets import QCheckBox

from napari_sam2_adapters.config import default_classes
from napari_sam2_adapters.inference.rules import ClassRule, PostprocessConfig
from napari_sam2_adapters.widgets.docks.layers import take_picture
from napari_sam2_adapters.widgets.segmenting.tidy_form import TidyForm


@pytest.fixture
def form(qtbot) -> TidyForm:
    made = TidyForm()
    qtbot.addWidget(made)
    made.show_classes(default_classes([1, 2]))
    return made


def test_the_table_is_the_rules(form: TidyForm) -> None:
    assert form.rules == PostprocessConfig(rules=(ClassRule(value=1), ClassRule(value=2)))
    form.table.cellWidget(1, 1).setValue(40)
    form.table.cellWidget(0, 2).setValue(7)
    form.table.cellWidget(0, 3).findChild(QCheckBox).setChecked(True)
    form.table.cellWidget(1, 4).findChild(QCheckBox).setChecked(True)
    form.together.setCurrentIndex(1)
    assert form.rules == PostprocessConfig(
        rules=(
            ClassRule(value=1, fill_holes_px=7, only_largest=True),
            ClassRule(value=2, smallest_px=40, objects=True),
        ),
        together="volumes",
    )


def test_what_was_set_for_a_class_stays_with_its_value(form: TidyForm) -> None:
    form.table.cellWidget(1, 1).setValue(40)
    form.show_classes(default_classes([2, 5]))
    assert form.rules.rules == (ClassRule(value=2, smallest_px=40), ClassRule(value=5))


def test_a_pixel_is_said_in_units_of_the_image(form: TidyForm) -> None:
    units = {"scale": (2, 0.5, 0.5), "units": ["um"] * 3}
    form.show_image(take_picture(Image(np.zeros((4, 8, 8)), **units)))
    assert form.sizes.text() == "Sizes in pixels of 0.25 µm²."
    form.together.setCurrentIndex(1)
    assert form.sizes.text() == "Sizes in voxels of 0.5 µm³."
    form.show_image(take_picture(Image(np.zeros((8, 8)))))
    assert form.sizes.text() == "Sizes in pixels."
    assert form.rules.together == "slices"
    assert not form.together.isVisibleTo(form)


def test_the_button_says_why_it_cannot_be_pressed(form: TidyForm) -> None:
    assert not form.apply_button.isEnabled()
    assert "segment the image first" in form.apply_button.toolTip()
    form.offer(True)
    assert form.apply_button.isEnabled()
    assert "segmented already" in form.apply_button.toolTip()


def test_a_long_name_of_a_class_leaves_room_for_the_others(form: TidyForm, qtbot) -> None:
    one, two = default_classes([1, 2])
    name = "vesicles near the plasma membrane that were fixed well, with their coats if seen"
    form.resize(330, 600)
    form.show()
    form.show_classes((one.model_copy(update={"name": name}), two))
    line = form.table.fontMetrics().lineSpacing()
    assert form.table.rowHeight(0) < 4 * line
    assert form.table.viewport().height() >= form.table.rowHeight(0) + form.table.rowHeight(1)
    assert name in form.table.item(0, 0).toolTip()
