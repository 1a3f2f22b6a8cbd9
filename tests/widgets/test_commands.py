"""Commands as the palette and the menus run them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.layers import Labels
from napari.utils.notifications import notification_manager
from npe2 import PluginManifest

from napari_sam2_adapters.widgets import commands
from napari_sam2_adapters.widgets.docks import log
from napari_sam2_adapters.widgets.segment import Segment

PLUGIN = "napari-sam2-adapters"


def run(name: str) -> Any:
    """Run a command as napari's palette does."""
    from napari._app_model import get_app_model

    return get_app_model().commands.execute_command(f"{PLUGIN}.{name}").result()


def test_new_strokes_lie_on_the_selected_image(make_napari_viewer_proxy) -> None:
    viewer = make_napari_viewer_proxy()
    viewer.add_image(np.zeros((4, 4)), name="other")
    image = viewer.add_image(
        np.zeros((3, 8, 9)),
        name="cells",
        scale=(2, 0.5, 0.5),
        translate=(1, 2, 3),
        units=["um"] * 3,
    )
    viewer.layers.selection.active = image
    run("new_strokes")
    strokes = viewer.layers[-1]
    assert isinstance(strokes, Labels)
    assert strokes.name == "cells – strokes"
    assert strokes.data.shape == (3, 8, 9)
    np.testing.assert_allclose(strokes.scale, image.scale)
    np.testing.assert_allclose(strokes.translate, image.translate)
    assert strokes.units == image.units
    assert str(strokes.mode) == "paint"


def test_new_strokes_follow_the_sliders_of_an_image_with_channels_between(
    make_napari_viewer_proxy,
) -> None:
    viewer = make_napari_viewer_proxy()
    image = viewer.add_image(np.zeros((5, 2, 8, 9)), name="cells", axis_labels=tuple("zcyx"))
    run("new_strokes")
    strokes = viewer.layers[-1]
    assert strokes.data.shape == (5, 1, 8, 9)
    for channel in (0, 1):
        at = strokes.world_to_data(image.data_to_world((4, channel, 3, 3)))
        assert np.round(np.clip(at, 0, None)).tolist() == [4, 0, 3, 3]


def test_new_strokes_without_a_choice_ask_for_one(make_napari_viewer_proxy) -> None:
    viewer = make_napari_viewer_proxy()
    run("new_strokes")
    assert len(viewer.layers) == 0
    assert "Select the image" in notification_manager.records[-1].message


def test_a_single_image_needs_no_selection(make_napari_viewer_proxy) -> None:
    viewer = make_napari_viewer_proxy()
    viewer.add_image(np.zeros((8, 9, 3), np.uint8), name="rgb", rgb=True)
    viewer.add_points(np.zeros((1, 2)))
    run("new_strokes")
    assert viewer.layers[-1].data.shape == (8, 9)


def test_log_and_folder_are_opened(
    make_napari_viewer_proxy, monkeypatch: pytest.MonkeyPatch, adapters_home
) -> None:
    make_napari_viewer_proxy()
    opened = []
    monkeypatch.setattr(log, "open_path", opened.append)
    monkeypatch.setattr(commands, "open_path", opened.append)
    run("open_log")
    run("open_adapters_folder")
    assert opened == [log.log_path(), adapters_home]


def test_measuring_opens_the_segment_dock(make_napari_viewer_proxy, qtbot) -> None:
    viewer = make_napari_viewer_proxy()
    run("measure")
    docks = viewer.window.dock_widgets
    qtbot.waitUntil(lambda: any(isinstance(d, Segment) for d in docks.values()), timeout=60_000)


def test_all_that_we_do_is_in_the_palette(make_napari_viewer_proxy) -> None:
    from app_model.types import MenuItem
    from napari._app_model import get_app_model

    make_napari_viewer_proxy()
    menus = get_app_model().menus
    palette = menus.get_menu(menus.COMMAND_PALETTE_ID)
    listed = {item.command.title for item in palette if isinstance(item, MenuItem)}
    manifest = PluginManifest.from_distribution(PLUGIN)
    ours = manifest.contributions
    # napari before 0.8 lists docks and samples by ids of its own, so what a person reads is compared
    names = {part.command: part.display_name for part in (*ours.widgets, *ours.sample_data)}
    wanted = {names.get(command.id, command.title) for command in ours.commands}
    end = f" ({manifest.display_name})"
    assert not wanted - {title.removesuffix(end) for title in listed}
