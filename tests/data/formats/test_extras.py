"""A format whose library is not installed says how to get it."""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from napari_sam2_adapters.data.formats.registry import FORMATS
from napari_sam2_adapters.data.io import read_image, write_labels

LIBRARY = {
    "nifti": "nibabel",
    "itk": "SimpleITK",
    "dicom": "SimpleITK",
    "mrc": "mrcfile",
    "microscope": "bioio",
}
NEEDY = [entry for entry in FORMATS if entry.module in LIBRARY]


@pytest.mark.parametrize("entry", NEEDY, ids=lambda entry: entry.name)
def test_the_sentence_names_what_is_missing_and_the_command(tmp_path, monkeypatch, entry):
    importlib.import_module(f"napari_sam2_adapters.data.formats.{entry.module}")
    for name in [n for n in sys.modules if n.startswith("napari_sam2_adapters.data.formats.")]:
        if not name.endswith(".registry"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, LIBRARY[entry.module], None)
    path = tmp_path / f"a{entry.endings[0]}"
    path.touch()
    sentence = re.escape(
        f"{entry.name} files need {LIBRARY[entry.module]}, which is not installed. "
        f"Install it with: pip install 'napari-sam2-adapters[{entry.extra}]'"
    )
    with pytest.raises(ValueError, match=sentence):
        read_image(path)
    if entry.writes:
        with pytest.raises(ValueError, match=sentence):
            write_labels(tmp_path / f"b{entry.endings[0]}", np.ones((2, 2), int), axes="YX")


@pytest.mark.parametrize("entry", NEEDY, ids=lambda entry: entry.name)
def test_the_extra_is_declared(entry):
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))
    needs = project["project"]["optional-dependencies"][entry.extra]
    assert any(need.lower().startswith(LIBRARY[entry.module].lower()) for need in needs)
