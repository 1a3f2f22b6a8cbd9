"""What the README tells a newcomer to type works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from napari_sam2_adapters.cli import app
from napari_sam2_adapters.cli.settings_file import load_settings
from napari_sam2_adapters.config import (
    ClassInfo,
    ModelConfig,
    Normalization,
    TrainConfig,
)
from napari_sam2_adapters.data.io import write_array
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.models.model_file import save_adapter

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
CLUSTERS = (Path(__file__).parents[1] / "docs" / "clusters.md").read_text(encoding="utf-8")


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_python_snippets_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample = load_sample("fluorescence")
    segmenter = build_segmenter(ModelConfig(adapter="lw"), sample.classes)
    scaling = Normalization(mode="percentile")
    save_adapter("membrane.adapter.safetensors", segmenter, normalization=scaling, tile_size_px=224)
    (tmp_path / "screen").mkdir()
    write_array(tmp_path / "screen" / "a.tif", sample.held_out_images[0], axes="YX")
    names = {"image": sample.held_out_images[0]}
    for snippet in snippets("python"):
        exec(snippet, names)  # noqa: S102  (our own README)
    assert names["labels"].shape == sample.held_out_images[0].shape
    assert names["record"].status == "done"
    assert (tmp_path / "results" / "a.tif").is_file()


COMMANDS = sorted(
    set(
        re.findall(
            r"^sam2-adapters (.+)$|`sam2-adapters ([^`]+)`", f"{README}\n{CLUSTERS}", re.MULTILINE
        )
    )
)


@pytest.mark.parametrize("command", [a or b for a, b in COMMANDS])
def test_commands_exist_with_their_options(command):
    words = shlex.split(command)
    names = [w for w in words if re.fullmatch(r"[a-z]+", w)]
    path = [names[0], *(n for n in names[1:2] if names[0] == "backbones")]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*path, "--help"])
    assert result.exit_code == 0, result.output
    for option in (w for w in words if w.startswith("--")):
        assert option in result.output


def test_files_that_the_readme_points_to_exist():
    root = Path(__file__).parents[1]
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (root / target).exists(), target


def test_the_settings_file_is_one_that_is_read(tmp_path):
    (snippet,) = snippets("yaml")
    path = tmp_path / "settings.yaml"
    path.write_text(snippet, encoding="utf-8")
    sections = load_settings(path)
    assert [ClassInfo(**c).name for c in sections["classes"]] == ["background", "membrane"]
    assert TrainConfig(**sections["train"]).steps == 400
    assert ModelConfig(**sections["model"]).adapter == "hp"
