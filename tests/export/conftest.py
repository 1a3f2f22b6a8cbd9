"""Adapter files whose every trained tensor was moved, so that nothing in the network is still the identity."""

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
from napari_sam2_adapters.models.checkpoints import build_segmenter
from napari_sam2_adapters.models.model_file import save_adapter


@torch.no_grad()
def write_adapter(path: Path, normalization: Normalization | None = None, **settings: Any) -> Path:
    segmenter = build_segmenter(ModelConfig(**settings), SAMPLE_CLASSES)
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
        return write_adapter(
            folder / f"{adapter}{number}.adapter.safetensors", adapter=adapter, **settings
        )

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


VARIANTS: dict[str, dict[str, Any]] = {
    "hp": {"adapter": "hp"},
    "lw": {"adapter": "lw"},
    "lora, two channels, twice as large": {
        "adapter": "lora",
        "input_channels": 2,
        "input_scale": 2.0,
    },
}
SIDE = 128


class Export(NamedTuple):
    """A model file, the ONNX file made of it, and what the terminal said."""

    model: Path
    file: Path
    said: str


@pytest.fixture(scope="session")
def exported(
    adapter_file: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Export]:
    """``exported(variant)`` is what the command line made of a model, in tiles of 128 px; once per session, since it takes long."""
    made: dict[str, Export] = {}
    folder = tmp_path_factory.mktemp("onnx")

    def make(variant: str) -> Export:
        if variant not in made:
            model = adapter_file(**VARIANTS[variant])
            name = folder / str(len(made))
            command = ["export", str(model), str(name), "--format", "onnx", "--tile", str(SIDE)]
            result = CliRunner().invoke(app, command)
            assert result.exit_code == 0, result.output
            made[variant] = Export(model, name.with_suffix(".onnx"), result.stdout)
        return made[variant]

    return make
