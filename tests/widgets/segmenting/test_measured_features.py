from __future__ import annotations

import numpy as np
from napari.components import ViewerModel

from napari_sam2_adapters.widgets.segmenting.measure_form import MeasureForm


def test_measured_numbers_join_a_table_whose_rows_are_labels(qtbot) -> None:
    viewer = ViewerModel()
    layer = viewer.add_labels(np.eye(4, dtype=np.uint8) * 2, features={"diameter": [0, 7.5, 8.25]})
    form = MeasureForm(viewer)
    qtbot.addWidget(form)
    form.show_table(layer, {"index": np.array([2]), "area_px2": np.array([4.0])})
    assert list(layer.features["index"]) == [0, 1, 2]
    assert list(layer.features["diameter"]) == [0, 7.5, 8.25]
    assert list(layer.features["area_px2"].fillna(-1)) == [-1, -1, 4]
