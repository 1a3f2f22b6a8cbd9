from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from napari_sam2_adapters.data.io import read_labels

TUTORIALS = Path(__file__).parents[2] / "tutorials"


def test_fine_tune_and_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(TUTORIALS / "01_fine_tune_and_segment.py"))
    assert names["scores"].images == 3
    assert names["scores"].mean_dice > 0.7
    mask = read_labels(tmp_path / "tutorial-output" / "mask.tif").array
    assert mask.shape == names["new"].shape


def test_every_tutorial_is_numbered_and_opens_as_a_notebook() -> None:
    tutorials = sorted(TUTORIALS.glob("*.py"))
    assert tutorials
    for number, tutorial in enumerate(tutorials, start=1):
        assert tutorial.name.startswith(f"{number:02d}_")
        assert tutorial.read_text(encoding="utf-8").startswith("# %% [markdown]\n# # ")
