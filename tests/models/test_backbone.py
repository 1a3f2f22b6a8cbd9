from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from napari_sam2_adapters.models.adapters import PARALLEL_ADAPTERS, add_lora
from napari_sam2_adapters.models.backbone import HieraBackbone, pad_to_multiple, resize
from napari_sam2_adapters.models.backbone_files import BACKBONES
from napari_sam2_adapters.models.position import PositionEncodingGenerator

OFFICIAL = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}


@pytest.fixture(scope="module")
def sam2_tiny() -> nn.Module:
    """SAM2's own complete network for tiny, randomly initialised, with embeddings that are not zero."""
    from sam2.build_sam import build_sam2

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu")
        for name, parameter in model.named_parameters():
            if "pos_embed" in name or name == "no_mem_embed":
                nn.init.normal_(parameter, std=0.1)
    return model


@pytest.mark.parametrize(
    ("size", "adapter"),
    [((64, 96), None), ((224, 224), None), ((64, 96), "hp"), ((64, 96), "lw"), ((64, 96), "lora")],
)
def test_trunk_and_neck_equal_sam2s_own_encoder(
    sam2_tiny: Any, size: tuple[int, int], adapter: str | None
) -> None:
    """Bare, and with fresh adapters and PEG in every place."""
    shape = BACKBONES["tiny"].shape
    assert shape is not None
    ours = HieraBackbone(shape)
    ours.trunk.load_state_dict(sam2_tiny.image_encoder.trunk.state_dict(), strict=True)
    ours.neck.load_state_dict(sam2_tiny.image_encoder.neck.state_dict(), strict=True)
    if adapter == "lora":
        add_lora(ours.eval(), ours.attention_layers, 8, 0.1)
    elif adapter is not None:
        ours.add_adapters(lambda width: PARALLEL_ADAPTERS[adapter](width, 4))
    if adapter is not None:
        ours.add_position(lambda width: PositionEncodingGenerator(width, start_at_zero=True))
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        maps = sam2_tiny.image_encoder(image)["backbone_fpn"]
        got = ours(image)
    assert len(maps) == 3
    for a, b in zip(got, maps, strict=True):
        assert torch.equal(a, b)


def test_the_stride_16_map_gets_what_sam2_adds_to_single_images(sam2_tiny: Any) -> None:
    shape = BACKBONES["tiny"].shape
    assert shape is not None
    ours = HieraBackbone(shape)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = ours(image)
        ours.no_mem_embed.copy_(sam2_tiny.no_mem_embed)
        after = ours(image)
    assert torch.equal(before.stride8, after.stride8)
    added = after.stride16 - before.stride16
    torch.testing.assert_close(
        added, sam2_tiny.no_mem_embed.view(1, -1, 1, 1).expand_as(added), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("name", OFFICIAL)
def test_our_table_is_that_of_sam2s_configuration_files(name: str) -> None:
    import inspect
    from importlib.resources import files

    from sam2.modeling.backbones.hieradet import Hiera

    path = files("sam2") / "configs" / "sam2.1" / f"sam2.1_hiera_{OFFICIAL[name]}.yaml"
    encoder = yaml.safe_load(path.read_text())["model"]["image_encoder"]
    defaults = {k: p.default for k, p in inspect.signature(Hiera).parameters.items()}
    wanted = {**defaults, **encoder["trunk"]}
    shape = BACKBONES[name].shape
    assert shape is not None
    for field in vars(shape):
        assert tuple(torch.tensor(getattr(shape, field)).reshape(-1).tolist()) == tuple(
            torch.tensor(wanted[field]).reshape(-1).tolist()
        ), field
    assert encoder["scalp"] == 1
    assert encoder["neck"]["fpn_top_down_levels"] == [2, 3]
    assert encoder["neck"]["fpn_interp_model"] == "nearest"
    assert tuple(encoder["neck"]["backbone_channel_list"]) == shape.stage_widths[::-1]


@pytest.mark.parametrize("family", ["hiera", "mobile"])
def test_features_have_the_promised_strides_and_widths(
    parts: Callable[..., Any], family: str
) -> None:
    backbone, _ = parts(family)
    with torch.no_grad():
        features = backbone(torch.randn(2, 3, 64, 96))
    widths = (*backbone.feature_widths, 256)
    for tensor, stride, width in zip(features, (4, 8, 16), widths, strict=True):
        assert tensor.shape == (2, width, 64 // stride, 96 // stride)


def test_paper_mode_removes_the_absolute_position(parts: Callable[..., Any]) -> None:
    backbone, _ = parts("hiera")
    assert backbone.trunk._get_pos_embed((16, 16)).abs().max() > 0
    backbone.drop_absolute_position()
    assert backbone.trunk._get_pos_embed((16, 16)).abs().max() == 0


@pytest.mark.parametrize("height", [2, 3, 31, 33, 64, 100])
def test_padding_mirrors_as_numpy_does(height: int) -> None:
    import numpy as np

    image = torch.rand(1, 2, height, 40)
    got = pad_to_multiple(image, 32)
    rows, columns = -height % 32, 24
    wanted = np.pad(image.numpy(), ((0, 0), (0, 0), (0, rows), (0, columns)), mode="reflect")
    assert torch.equal(got, torch.from_numpy(wanted))


def test_an_image_that_fits_is_not_copied() -> None:
    image = torch.rand(1, 1, 32, 64)
    assert pad_to_multiple(image, 32) is image
    assert resize(image, 32, 64) is image


def test_shrinking_is_smoothed() -> None:
    stripes = torch.zeros(1, 1, 8, 64)
    stripes[..., ::4] = 1
    got: Tensor = resize(stripes, 8, 16)
    assert got[..., 2:-2].std() < 0.02
