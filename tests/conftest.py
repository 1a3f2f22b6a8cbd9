"""A network small enough for tests: a Hiera with four narrow blocks and SAM's real decoder, randomly initialised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from napari_sam2_adapters.config import ClassInfo, ModelConfig, default_classes
from napari_sam2_adapters.models.backbone import HieraBackbone, HieraShape
from napari_sam2_adapters.models.decoder import SamHeads
from napari_sam2_adapters.models.segmenter import Segmenter, assemble

TINY_SHAPE = HieraShape(
    embed_dim=16,
    num_heads=1,
    stages=(1, 1, 2, 1),
    window_spec=(8, 4, 14, 7),
    global_att_blocks=(3,),
    window_pos_embed_bkg_spatial_size=(7, 7),
)


def random_parts(seed: int = 0) -> tuple[HieraBackbone, SamHeads]:
    """Backbone and heads with random weights, also where SAM2's constructors leave zeros."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone, heads = HieraBackbone(TINY_SHAPE), SamHeads(sam2=True)
        with torch.no_grad():
            for parameter in (
                backbone.trunk.pos_embed,
                backbone.trunk.pos_embed_window,
                backbone.no_mem_embed,
            ):
                parameter.normal_(std=0.1)
    return backbone, heads


def make_tiny_segmenter(
    adapter: str = "lw",
    n_classes: int = 3,
    input_channels: int = 1,
    classes: tuple[ClassInfo, ...] | None = None,
    **settings: Any,
) -> Segmenter:
    config = ModelConfig(
        backbone="tiny", adapter=adapter, input_channels=input_channels, **settings
    )
    backbone, heads = random_parts()
    return assemble(
        backbone, heads, config, classes or default_classes(list(range(1, n_classes + 1)))
    )


@pytest.fixture
def tiny_segmenter() -> Callable[..., Segmenter]:
    """Factory of small segmenters: ``tiny_segmenter(adapter="hp", n_classes=2, input_channels=3, …)``."""
    return make_tiny_segmenter


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    # Two threads on two busy cores wait for each other: the small networks of these tests ran many times slower.
    torch.set_num_threads(1)
