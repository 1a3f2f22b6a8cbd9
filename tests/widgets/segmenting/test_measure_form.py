"""What is measured in which unit, and whose table it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QFileDialog

from napari_sam2_adapters.config import default_classes
from napari_sam2_adapters.inference.measure import join_tables, measure
from napari_sam2_adapters.widgets.docks.layers import placement
from napari_sam2_adapters.widgets.docks.results import add_layer, make_labels
from napari_sam2_adapters.widgets.segmenting.measure_form import MeasureForm


@pytest.fixture
def form(qtbot):
    made = MeasureForm(ViewerModel())
    qtbot.addWidget(made)
    return made


def measured(form: MeasureForm):
    request = form.request()
    together = "volumes" if request.by == "volumes" else "slices"
    parts = measure(request.labels, request.axes, request.ruler, together=together)
    return join_tables([part.table for part in parts])


def choose_rows(form: MeasureForm, by: str) -> None:
    form.by.setCurrentIndex(form.by.findData(by))


@pytest.mark.parametrize(
    ("scale", "units", "name", "volume"),
    [
        ((0.002, 1, 1), ("mm", "um", "um"), "volume_um3", 400),
        ((2, 0.001, 1000), ("um", "mm", "nm"), "volume_nm3", 400e9),
        ((2, 1, 1), ("um", "um", "um"), "volume_um3", 400),
        ((2, 1, 1), ("pixel",) * 3, "volume_px3", 400),
    ],
)
def test_a_volume_counts_each_axis_in_its_own_unit(form, scale, units, name, volume) -> None:
    labels = np.ones((2, 10, 10), np.uint8)
    form.labels.layer = form.viewer.add_labels(labels, scale=scale, units=units)
    choose_rows(form, "volumes")
    assert form.missing() == ""
    assert measured(form)[name] == pytest.approx([volume])


def test_places_in_time_are_in_the_unit_of_the_layer(form) -> None:
    labels = np.ones((2, 3, 10, 10), np.uint8)
    names, units = ("t", "z", "y", "x"), ("ms", "um", "um", "um")
    form.labels.layer = form.viewer.add_labels(
        labels, scale=(5, 2, 1, 1), units=units, axis_labels=names
    )
    choose_rows(form, "volumes")
    assert measured(form)["centroid_t_msec"].tolist() == [0, 5]


def test_lengths_and_pixels_make_no_volume_but_areas(form) -> None:
    labels = np.ones((2, 10, 10), np.uint8)
    layer = form.viewer.add_labels(
        labels, name="mixed", scale=(3, 0.5, 0.5), units=("pixel", "um", "um")
    )
    form.labels.layer = layer
    choose_rows(form, "volumes")
    assert "pixels of mixed are micrometer and pixel long" in form.missing()
    choose_rows(form, "slices")
    assert form.missing() == ""
    assert measured(form)["area_um2"] == pytest.approx([25, 25])
    choose_rows(form, "volumes")
    layer.units = "um"
    assert form.missing() == ""


@pytest.mark.parametrize(
    ("names", "offered"),
    [
        ("zyx", {"volumes": "in 3D", "slices": "in each slice", "totals": "over all slices"}),
        ("tzyx", {"volumes": "in 3D", "slices": "in each slice", "totals": "at each time"}),
        ("tyx", {"slices": "in each slice"}),
    ],
)
def test_nothing_is_added_up_over_time(form, names: str, offered: dict[str, str]) -> None:
    labels = np.ones((2,) * len(names), np.uint8)
    form.labels.layer = form.viewer.add_labels(labels, axis_labels=tuple(names))
    found = {form.by.itemData(row): form.by.itemText(row) for row in range(form.by.count())}
    assert found == {by: f"each label {what}" for by, what in offered.items()}


def test_five_axes_are_refused_in_a_sentence(form) -> None:
    form.labels.layer = form.viewer.add_labels(np.ones((1, 1, 1, 2, 2), np.uint8))
    assert form.missing().startswith("The layer has 5 axes")


def test_a_table_keeps_the_name_of_its_layer(form, monkeypatch, qtbot, tmp_path: Path) -> None:
    first, second = (
        form.viewer.add_labels(np.full((4, 4), value, np.uint8), name=name)
        for value, name in ((1, "A"), (2, "B"))
    )
    form.labels.layer = first
    table = measured(form)
    form.labels.layer = second  # while A is measured
    form.show_table(first, table)
    assert form.summary.text().startswith("A: 1 row")
    offered = []

    def ask(_parent, _title, name, _kinds):
        offered.append(name)
        return str(tmp_path / name), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    form.save_button.click()
    assert offered == ["A.csv"]
    qtbot.waitUntil(lambda: "Saved A.csv" in form.summary.text(), timeout=60_000)
    assert list(first.features["index"]) == [1]
    form.show_table(second, table)
    assert form.summary.text().startswith("1 row")


def test_intensities_are_of_the_image_that_a_result_is_of(form) -> None:
    def result(image, name: str):
        layer = make_labels(
            form.viewer, image, np.ones((4, 4), np.uint8), default_classes([1]), role="segmentation",
            name=name, place=placement(image),
        )  # fmt: skip
        add_layer(form.viewer, layer)
        return layer

    first, second = (form.viewer.add_image(np.full((4, 4), n), name=f"{n}") for n in (5, 9))
    assert form.image.layer is first  # it was the only one
    form.prefer(result(second, "of the second"))
    assert form.image.layer is second
    assert form.request().image is second.data
    form.prefer(result(first, "of the first"))
    assert form.image.layer is first
    form.image.setCurrentIndex(2)
    form.image.activated.emit(2)  # chosen by the user
    form.labels.layer = form.viewer.layers["of the first"]
    assert form.image.layer is second
