from pathlib import Path

from npe2 import PluginManifest

import napari_sam2_adapters
from napari_sam2_adapters.widgets.docks.store import SUFFIX

PACKAGED = Path(napari_sam2_adapters.__file__).parent / "napari.yaml"


def test_the_manifest_at_the_top_is_the_packaged_one() -> None:
    top = Path(__file__).parents[2] / "napari.yaml"
    assert top.read_text() == PACKAGED.read_text()


def test_the_manifest_is_valid_and_every_command_can_be_imported() -> None:
    manifest = PluginManifest.from_distribution("napari-sam2-adapters")
    manifest.validate_imports()
    assert {w.display_name for w in manifest.contributions.widgets} >= {
        "Segment",
        "Fine-tune",
        "Models",
    }


def test_both_docks_are_under_layers_segment() -> None:
    menus = PluginManifest.from_distribution("napari-sam2-adapters").contributions.menus
    commands = {item.command for item in menus["napari/layers/segment"]}
    assert commands >= {"napari-sam2-adapters.segment", "napari-sam2-adapters.fine_tune"}


def test_the_ending_of_a_model_file_is_the_models_own() -> None:
    from napari_sam2_adapters.models.model_file import SUFFIX as THEIRS

    assert SUFFIX == THEIRS


def test_every_contribution_names_a_command_that_is_there() -> None:
    contributions = PluginManifest.from_distribution("napari-sam2-adapters").contributions
    commands = {command.id for command in contributions.commands}
    used = {c.command for c in (*contributions.readers, *contributions.writers)}
    used |= {c.command for c in (*contributions.widgets, *contributions.sample_data)}
    used |= {item.command for items in contributions.menus.values() for item in items}
    assert used <= commands


def test_menus_are_those_that_napari_has() -> None:
    from napari._app_model.constants._menus import is_menu_contributable

    menus = PluginManifest.from_distribution("napari-sam2-adapters").contributions.menus
    assert {"napari/layers/segment", "napari/layers/annotate", "napari/layers/measure"} <= set(
        menus
    )
    assert all(is_menu_contributable(menu) for menu in menus)


def test_titles_in_the_palette_differ() -> None:
    contributions = PluginManifest.from_distribution("napari-sam2-adapters").contributions
    titles = [command.title for command in contributions.commands]
    assert len(set(titles)) == len(titles)
    assert all(title[0].isupper() and not title.endswith(".") for title in titles)
