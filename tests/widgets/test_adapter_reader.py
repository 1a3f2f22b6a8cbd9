from __future__ import annotations

from pathlib import Path

import pytest
from npe2 import read

from napari_sam2_adapters.widgets.adapter_reader import get_adapter_reader, open_adapter
from napari_sam2_adapters.widgets.docks.store import SUFFIX
from napari_sam2_adapters.widgets.segment import Segment

WAIT_MS = 120_000


def test_only_adapters_are_taken() -> None:
    assert get_adapter_reader(f"/a/b{SUFFIX}") is not None
    assert get_adapter_reader([f"/a/b{SUFFIX}", f"/a/C{SUFFIX.upper()}"]) is not None
    assert get_adapter_reader("/a/b.safetensors") is None
    assert get_adapter_reader([f"/a/b{SUFFIX}", "/a/b.tif"]) is None


def test_a_file_dropped_on_napari_opens_segment_with_it(
    make_napari_viewer_proxy, qtbot, saved_adapter, tmp_path: Path
) -> None:
    elsewhere = tmp_path / f"gift{SUFFIX}"
    saved_adapter("mine").rename(elsewhere)
    viewer = make_napari_viewer_proxy()
    assert viewer.open(elsewhere, plugin=None) == []
    assert len(viewer.layers) == 0
    docks = [dock for dock in viewer.window.dock_widgets.values() if isinstance(dock, Segment)]
    assert [dock.model for dock in docks] == [elsewhere]
    qtbot.waitUntil(lambda: docks[0].header is not None, timeout=WAIT_MS)
    viewer.open(elsewhere, plugin=None)  # once more: the same dock
    assert sum(isinstance(dock, Segment) for dock in viewer.window.dock_widgets.values()) == 1


def test_a_file_that_is_not_there_is_named(make_napari_viewer_proxy) -> None:
    make_napari_viewer_proxy()
    with pytest.raises(FileNotFoundError, match="There is no adapter file /none"):
        open_adapter(f"/none{SUFFIX}")


def test_without_a_window_the_way_is_shown(monkeypatch: pytest.MonkeyPatch, saved_adapter) -> None:
    monkeypatch.setattr("napari.current_viewer", lambda: None)
    with pytest.raises(ValueError, match="Open napari's window first"):
        read([str(saved_adapter())], stack=False, plugin_name="napari-sam2-adapters")
