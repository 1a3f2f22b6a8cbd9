"""Where our docks go in napari's window."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QMainWindow,
    QSpinBox,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

from napari_sam2_adapters.widgets.docks.dock import button, frame_of, show_dock

PLUGIN = "napari-sam2-adapters"
DOCKS = ("Load", "Segment", "Fine-tune", "Batch folder", "Models")


def test_docks_from_the_menu_are_tabs_of_each_other_and_the_new_one_is_in_front(
    make_napari_viewer_proxy, qtbot
) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    docks = [viewer.window.add_plugin_dock_widget(PLUGIN, name)[1] for name in ("Load", "Models")]
    frames = [frame_of(dock) for dock in docks]
    window = docks[0].window()
    assert isinstance(window, QMainWindow)
    qtbot.waitUntil(lambda: window.tabifiedDockWidgets(frames[0]) == [frames[1]], timeout=60_000)
    qtbot.waitUntil(
        lambda: frames[0].visibleRegion().isEmpty() and not frames[1].visibleRegion().isEmpty(),
        timeout=60_000,
    )


@pytest.mark.parametrize("by_us", [True, False])
def test_docks_that_are_opened_at_once_leave_the_window_as_tall_as_it_was(
    make_napari_viewer_proxy, qtbot, by_us
) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(1200, 700)
    qtbot.wait(300)
    window, before = None, None
    for name in DOCKS:
        if by_us:
            dock = show_dock(viewer, name)
        else:
            dock = viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]
        if window is None:
            window = frame_of(dock).parent()
            before = window.height()
    qtbot.waitUntil(
        lambda: len(window.tabifiedDockWidgets(frame_of(dock))) == len(DOCKS) - 1, timeout=60_000
    )
    qtbot.waitUntil(lambda: not frame_of(dock).visibleRegion().isEmpty(), timeout=60_000)
    assert window.height() == before


@pytest.mark.parametrize("floating", [True, False])
def test_a_dock_that_was_put_elsewhere_is_left_there(
    make_napari_viewer_proxy, qtbot, floating
) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    first, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Load")
    qtbot.waitUntil(dock.isVisible, timeout=60_000)
    if floating:
        first.setFloating(True)
    else:
        first.hide()
    second, _ = viewer.window.add_plugin_dock_widget(PLUGIN, "Models")
    qtbot.wait(300)
    assert second.parent().tabifiedDockWidgets(second) == []


def test_a_dock_opened_by_us_is_the_one_of_the_menu(make_napari_viewer_proxy) -> None:
    viewer = make_napari_viewer_proxy()
    dock = show_dock(viewer, "Models")
    assert list(viewer.window.dock_widgets) == ["Models (SAM2 adapters)"]
    assert frame_of(show_dock(viewer, "Models")) is frame_of(dock)
    assert list(viewer.window.dock_widgets) == ["Models (SAM2 adapters)"]


def test_a_tab_says_the_name_of_the_dock_alone(make_napari_viewer_proxy, qtbot) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    frames = [frame_of(show_dock(viewer, name)) for name in ("Load", "Models")]
    window = frames[0].parent()
    wanted = {"Load", "Models"}

    def tabs() -> list[set[str]]:
        bars = window.findChildren(QTabBar)
        return [{bar.tabText(tab) for tab in range(bar.count())} for bar in bars]

    qtbot.waitUntil(lambda: wanted in tabs(), timeout=60_000)
    assert frames[0].toggleViewAction().text() == "Load (SAM2 adapters)"
    assert list(viewer.window.dock_widgets) == ["Load (SAM2 adapters)", "Models (SAM2 adapters)"]


def test_docks_that_are_opened_at_once_are_one_stack_of_tabs_with_tooltips_on_all(
    make_napari_viewer_proxy, qtbot
) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    docks = [show_dock(viewer, name) for name in DOCKS]
    window = frame_of(docks[0]).parent()
    for dock in docks:
        qtbot.waitUntil(
            lambda dock=dock: len(window.tabifiedDockWidgets(frame_of(dock))) == len(DOCKS) - 1,
            timeout=60_000,
        )
    silent = [
        f"{type(dock).__name__}: {type(widget).__name__} {getattr(widget, 'text', str)()}"
        for dock in docks
        for kind in (QAbstractButton, QComboBox, QAbstractSpinBox, QLineEdit, QAbstractItemView)
        for widget in dock.findChildren(kind)
        if widget.isVisibleTo(dock) and not explained(widget)
    ]
    assert silent == []


def explained(widget: QWidget) -> bool:
    """Whether a control says what it is for, or is a part of one that does."""
    inside = widget.parentWidget()
    return bool(widget.toolTip() or (inside is not None and inside.toolTip()))


def test_a_dock_that_is_put_back_is_a_tab_again(make_napari_viewer_proxy, qtbot) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    load, models = (show_dock(viewer, name) for name in ("Load", "Models"))
    window = frame_of(load).parent()
    viewer.window.remove_dock_widget(models)
    viewer.window.add_dock_widget(models, name="Models (SAM2 adapters)", area="right")
    qtbot.waitUntil(
        lambda: window.tabifiedDockWidgets(frame_of(load)) == [frame_of(models)], timeout=60_000
    )


def test_a_number_that_is_being_typed_holds_when_a_button_is_pressed_without_leaving_it(
    qtbot,
) -> None:
    window, steps, seen = QWidget(), QSpinBox(), []
    qtbot.addWidget(window)
    steps.setRange(1, 999)
    steps.setKeyboardTracking(False)
    start = button("Start", "", lambda: seen.append(steps.value()))
    layout = QVBoxLayout(window)
    layout.addWidget(steps)
    layout.addWidget(start)
    with qtbot.waitActive(window, timeout=60_000):
        window.show()
        window.activateWindow()
    steps.setFocus()
    steps.selectAll()
    qtbot.keyClicks(steps, "40")
    start.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # as on macOS
    start.click()
    assert seen == [40]
