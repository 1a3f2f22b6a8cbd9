"""The lines that docs/export.md gives to somebody who has nothing but the exported file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from napari_sam2_adapters.config import PredictConfig
from napari_sam2_adapters.data.samples import load_sample
from napari_sam2_adapters.inference.predict import predict

DOCS = Path(__file__).parents[2] / "docs" / "export.md"


def test_the_ten_lines_give_the_labels_of_predict(exported, monkeypatch, tmp_path):
    _, segmenter, header, output, _ = exported("lw")
    (snippet,) = re.findall(r"^```python\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.S | re.M)
    assert "napari" not in snippet
    assert "torch" not in snippet
    image = load_sample("fluorescence").held_out_images[0][:128, :128]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nuclei.onnx").symlink_to(output)
    Image.fromarray(image).save("cells.png")
    names: dict[str, np.ndarray] = {}
    exec(snippet, names)  # noqa: S102  (our own documentation)
    wanted = predict(
        segmenter,
        image,
        normalization=header.normalization,
        config=PredictConfig(tile_size_px=128),
    ).labels
    assert len(np.unique(wanted)) > 1
    assert (names["labels"] == wanted).mean() >= 0.999
    Image.fromarray(image[:100, :90]).save("cells.png")
    exec(snippet, names)  # noqa: S102
    assert names["labels"].shape == (100, 90)
