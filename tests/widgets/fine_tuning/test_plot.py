import itertools

import numpy as np
from qtpy.QtGui import QPainter, QPicture

from napari_sam2_adapters.config import default_classes
from napari_sam2_adapters.widgets.fine_tuning.plot import LearningPlot

CLASSES = default_classes([1, 2])


def test_curves_grow_and_start_anew(make_napari_viewer_proxy, qtbot) -> None:
    plot = LearningPlot(make_napari_viewer_proxy())
    qtbot.addWidget(plot)
    for _ in range(2):
        plot.clear(CLASSES, steps=10)
        plot.add_loss([1, 2], [0.9, 0.8])
        plot.add_loss([3], [0.7])
        plot.add_check(0, {"class 1": 0.1, "class 2": float("nan")})
        plot.add_check(3, {"class 1": 0.6, "class 2": 0.4})
        assert plot.loss_plot.listDataItems()[0].yData.tolist() == [0.9, 0.8, 0.7]
        curves = {curve.name(): curve for curve in plot.dice_plot.listDataItems()}
        assert curves["class 1"].yData.tolist() == [0.1, 0.6]
        assert np.isnan(curves["class 2"].yData[0])


def test_the_plot_follows_the_theme(make_napari_viewer_proxy, qtbot) -> None:
    viewer = make_napari_viewer_proxy()
    plot = LearningPlot(viewer)
    qtbot.addWidget(plot)
    plot.clear(CLASSES, steps=10)
    viewer.theme = "light"
    light = plot.dice_plot.backgroundBrush().color()
    viewer.theme = "dark"
    dark = plot.dice_plot.backgroundBrush().color()
    assert light.lightness() > 200
    assert dark.lightness() < 100


def test_a_loss_of_next_to_nothing_leaves_room_for_the_others(
    make_napari_viewer_proxy, qtbot
) -> None:
    plot = LearningPlot(make_napari_viewer_proxy())
    qtbot.addWidget(plot)
    plot.clear(CLASSES, steps=10)
    plot.add_loss([1, 2, 3], [0.9, 1e-12, 0.0])  # 0 has no logarithm: the line would have a gap
    assert plot.loss_plot.listDataItems()[0].yData.tolist() == [0.9, 0.001, 0.001]


def test_numbers_beside_the_loss_do_not_lie_over_each_other(
    make_napari_viewer_proxy, qtbot
) -> None:
    plot = LearningPlot(make_napari_viewer_proxy())
    qtbot.addWidget(plot)
    plot.clear(CLASSES, steps=10)
    plot.add_loss([1, 2], [10.0, 0.0005])
    with qtbot.waitExposed(plot):
        plot.show()
    axis = plot.loss_plot.getAxis("left")
    qtbot.waitUntil(lambda: axis.picture is not None, timeout=60_000)
    paper = QPicture()
    painter = QPainter(paper)
    *_, texts = axis.generateDrawSpecs(painter)
    painter.end()
    places = sorted((rectangle.top(), rectangle.bottom()) for rectangle, *_ in texts)
    assert len(places) >= 2
    assert all(above[1] <= below[0] for above, below in itertools.pairwise(places))
