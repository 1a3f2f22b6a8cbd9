"""The page of preferences: as the manifest shows it, and as the docks read it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from npe2 import PluginManifest

from napari_sam2_adapters.widgets.docks import preferences as module
from napari_sam2_adapters.widgets.docks.preferences import (
    PLUGIN,
    Preferences,
    apply_preferences,
    change_preference,
    preferences,
    watch_preferences,
)

_CACHE, _DEVICE = "SAM2_ADAPTERS_CACHE", "SAM2_ADAPTERS_DEVICE"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch):
    """napari's own object for the page, with nothing on the disk and no variable set."""
    generator = pytest.importorskip("napari.settings._plugin_config_generator")
    manifest = PluginManifest.from_distribution(PLUGIN)
    made = generator._build_single_config_model(
        manifest.contributions.configurations["general"], "general"
    )()
    monkeypatch.setattr(module, "_stored", lambda: made)
    monkeypatch.setattr(module, "_GIVEN", {})
    for variable in (_CACHE, _DEVICE):
        monkeypatch.setenv(variable, "")  # so that it is restored
        monkeypatch.delenv(variable)
    return made


def test_the_page_of_the_manifest_is_the_class() -> None:
    page = PluginManifest.from_distribution(PLUGIN).contributions.configurations["general"]
    assert list(page.properties) == list(Preferences.model_fields)
    schema = Preferences.model_json_schema()["properties"]
    for name, shown in page.properties.items():
        ours = schema[name]
        assert (shown.title, shown.description) == (ours["title"], ours["description"])
        assert (shown.type, shown.default) == (ours["type"], ours["default"])
        assert shown.enum == ours.get("enum")
        assert (shown.minimum, shown.maximum) == (ours.get("minimum"), ours.get("maximum"))


def test_without_a_page_the_defaults_hold() -> None:
    assert preferences() == Preferences()
    with pytest.raises(ValueError, match="keeps no preferences"):
        change_preference("threads", 2)


def test_what_is_set_on_the_page_is_read(page) -> None:
    page.threads, page.autosave_minutes = 3, 5
    assert preferences() == Preferences(threads=3, autosave_minutes=5)


def test_device_and_folder_reach_the_floors_below(page, tmp_path: Path) -> None:
    from napari_sam2_adapters.models.backbone_files import cache_folder
    from napari_sam2_adapters.models.device import choose_device

    usual = cache_folder()
    change_preference("cache_folder", str(tmp_path / "weights"))
    change_preference("device", "cpu")
    assert cache_folder() == tmp_path / "weights"
    assert choose_device().type == "cpu"
    change_preference("cache_folder", "")
    change_preference("device", "auto")
    assert cache_folder() == usual
    assert _DEVICE not in os.environ


def test_a_variable_of_the_users_own_wins(page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_CACHE, "/elsewhere")
    page.cache_folder = "/there"
    apply_preferences()
    assert os.environ[_CACHE] == "/elsewhere"


def test_changes_are_noticed(page) -> None:
    seen = []

    def notice(event) -> None:
        seen.append(event)

    watch_preferences(notice)
    page.device = "cpu"
    assert seen


def test_a_dock_that_is_gone_is_left_alone(page, make_napari_viewer_proxy, qtbot) -> None:
    from napari_sam2_adapters.widgets.docks.dock import Dock

    dock = Dock(make_napari_viewer_proxy())
    with qtbot.waitSignal(dock.machine_known, timeout=60_000):
        page.device = "cpu"
    dock.close()
    dock.deleteLater()
    qtbot.wait(50)
    with qtbot.capture_exceptions() as raised:
        page.device = "auto"
        qtbot.wait(50)
    assert raised == []
