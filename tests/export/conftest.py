"""Adapter files whose every trained tensor was moved, so that nothing in the network is still the identity.

Translating a network takes as long as it has layers, so those that are translated here have one block in each stage: of the built-in
backbone with its trained weights, or of SAM2's. A whole one is translated in the tests of the Models dock.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from typer.testing import CliRunner

from napari_sam2_adapters.cli import app
from napari_sam2_adapters.config import ModelConfig, Normalization
from napari_sam2_adapters.data.samples import SAMPLE_CLASSES
from napari_sam2_adapters.export import onnx as export_module
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.models.model_file import (
    AdapterHeader,
    read_header,
    save_adapter,
)
from napari_sam2_adapters.models.segmenter import Segmenter


@torch.no_grad()
def write_adapter(
    path: Path, segmenter: Segmenter, normalization: Normalization | None = None
) -> Path:
    generator = torch.Generator().manual_seed(11)
    for parameter in segmenter.trained_parameters().values():
        parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    scaling = normalization or Normalization(mode="percentile")
    save_adapter(
        path,
        segmenter,
        normalization=scaling,
        tile_size_px=224,
        pixel_size=(0.5, 0.25),
        unit="micrometer",
    )
    return path


@pytest.fixture(scope="session")
def adapter_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Factory of adapter files on the built-in backbone: ``adapter_file("hp", normalization=…, **ModelConfig fields)``."""
    folder = tmp_path_factory.mktemp("adapters")

    def make(adapter: str, **settings: Any) -> Path:
        number = len(list(folder.iterdir()))
        normalization = settings.pop("normalization", None)
        segmenter = build_segmenter(ModelConfig(adapter=adapter, **settings), SAMPLE_CLASSES)
        path = folder / f"{adapter}{number}.adapter.safetensors"
        return write_adapter(path, segmenter, normalization)

    return make


@pytest.fixture
def finish() -> Callable[[Generator[str, None, Any]], Any]:
    """Run an export to its end and give its result."""

    def run(steps: Generator[str, None, Any]) -> Any:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value

    return run


SIDE = 128
LORA: dict[str, Any] = {"adapter": "lora", "input_channels": 2, "input_scale": 2.0}


class Export(NamedTuple):
    """A model file, the network in it, the ONNX file made of it, and what the terminal said."""

    model: Path
    network: Segmenter
    header: AdapterHeader
    file: Path
    said: str

    def stand_in(self, patch: pytest.MonkeyPatch) -> None:
        """Have the file read as this network: a whole one has more blocks."""
        patch.setattr(export_module, "load_adapter", lambda _: (self.network, self.header))


def shortened(adapter: str) -> Segmenter:
    """The built-in backbone with one block in each stage, and the detail head or, with LW, the U-Net; calibrated."""
    detail = "unet" if adapter == "lw" else "pixels"
    config = ModelConfig.model_validate({"adapter": adapter, "detail": detail})
    segmenter = build_segmenter(config, SAMPLE_CLASSES)
    segmenter.class_bias.copy_(torch.tensor([0.0, 0.25, -0.25]))
    assert segmenter.detail is not None
    weight = segmenter.detail.logits.weight  # zero in a fresh one
    torch.nn.init.normal_(weight, std=0.05, generator=torch.Generator().manual_seed(0))
    for stage in segmenter.backbone.trunk.stages:
        del stage.blocks[1:]
    return segmenter


@pytest.fixture(scope="session")
def exported(
    tiny_segmenter: Callable[..., Segmenter],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Export]:
    """``exported(variant)`` is what the command line made of a model, in tiles of 128 px; once per session, since it takes long."""
    made: dict[str, Export] = {}
    folder = tmp_path_factory.mktemp("onnx")

    def make(variant: str) -> Export:
        if variant in made:
            return made[variant]
        lora = variant not in ("hp", "lw")
        network = tiny_segmenter(classes=SAMPLE_CLASSES, **LORA) if lora else shortened(variant)
        name = folder / str(len(made))
        model = write_adapter(name.with_suffix(".adapter.safetensors"), network)
        export = Export(model, network, read_header(model), name.with_suffix(".onnx"), "")
        command = ["export", str(model), str(name), "--format", "onnx", "--tile", str(SIDE)]
        with pytest.MonkeyPatch.context() as patch:
            export.stand_in(patch)
            result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        made[variant] = export._replace(said=result.stdout)
        return made[variant]

    return make


@pytest.fixture
def translated_before(exported: Callable[[str], Export], monkeypatch: pytest.MonkeyPatch) -> Export:
    """An export with LW whose translation is not done again, since it takes long."""
    export = exported("lw")
    content = export.file.read_bytes()
    export.stand_in(monkeypatch)
    monkeypatch.setattr(export_module, "_serialize", lambda *_: content)
    return export
