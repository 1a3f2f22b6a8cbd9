from pathlib import Path

from npe2 import PluginManifest

import napari_sam2_adapters
from napari_sam2_adapters.widgets._store import SUFFIX

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
