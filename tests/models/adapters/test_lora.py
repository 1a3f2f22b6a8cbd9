from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from napari_sam2_adapters.config import ModelConfig, default_classes
from napari_sam2_adapters.models.adapters import (
    LoraLinear,
    add_lora,
    merge_lora,
    seeded_dropout,
)
from napari_sam2_adapters.models.backbone import HieraBackbone
from napari_sam2_adapters.models.backbone_files import BACKBONES
from napari_sam2_adapters.models.decoder import SamHeads
from napari_sam2_adapters.models.segmenter import assemble


def test_it_starts_as_the_frozen_layer_bit_for_bit() -> None:
    linear = nn.Linear(12, 36)
    x = torch.randn(5, 12)
    assert torch.equal(LoraLinear(linear, 4, 0.1).eval()(x), linear(x))


def test_its_start_has_the_spread_of_the_paper() -> None:
    lora = LoraLinear(nn.Linear(4000, 8), 16, 0.0)
    assert lora.lora_a.std().item() == pytest.approx(1 / 4, rel=0.03)
    assert torch.count_nonzero(lora.lora_b) == 0


def test_it_computes_its_formula_and_merging_keeps_it() -> None:
    linear = nn.Linear(12, 36)
    lora = LoraLinear(linear, 4, 0.1).eval()
    nn.init.normal_(lora.lora_b)
    x, frozen = torch.randn(5, 12), linear.weight.clone()
    wanted = x @ (linear.weight + 2 * lora.lora_b @ lora.lora_a).T + linear.bias
    torch.testing.assert_close(lora(x), wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(lora.merged()(x), lora(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(linear.weight, frozen)


def test_dropout_works_in_training_alone() -> None:
    lora = LoraLinear(nn.Linear(64, 8), 4, 0.5)
    nn.init.normal_(lora.lora_b)
    x = torch.randn(3, 64)
    lora.train()
    assert not torch.equal(lora(x), lora(x))
    lora.eval()
    assert torch.equal(lora(x), lora(x))


@pytest.mark.parametrize("cut", [1, 3])
def test_what_a_sample_drops_hangs_on_no_other_sample(cut: int) -> None:
    """Also where its tokens are cut into windows, which lie one after the other."""
    root = nn.Module()
    root.first, root.second = (LoraLinear(nn.Linear(40, 4), 4, 0.3) for _ in range(2))
    x = torch.ones(4 * cut, 100, 40)
    root.train()
    with seeded_dropout(root, 5, range(4)):
        whole, again, beside = (
            root.first._dropped(x),
            root.first._dropped(x),
            root.second._dropped(x),
        )
    with seeded_dropout(root, 5, range(2, 4)):
        part = root.first._dropped(x[2 * cut :])
    with seeded_dropout(root, 6, range(4)):
        another = root.first._dropped(x)
    assert torch.equal(whole, again)
    assert torch.equal(whole[2 * cut :], part)
    kept = [*(whole > 0).chunk(4), *(beside > 0).chunk(4), *(another > 0).chunk(4)]
    for one, other in itertools.combinations(kept, 2):
        assert (one == other).float().mean() == pytest.approx(0.3**2 + 0.7**2, abs=0.03)
    for one in kept:
        assert one.float().mean() == pytest.approx(0.7, abs=0.03)
    assert whole.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert root.first.seeds == ()


def test_only_the_named_layers_are_wrapped_and_merging_unwraps_all() -> None:
    root = nn.Module()
    root.attn = nn.Module()
    root.attn.qkv, root.attn.proj = nn.Linear(4, 12, bias=False), nn.Linear(4, 4)
    add_lora(root, ("qkv",), 2, 0.0)
    assert isinstance(root.attn.qkv, LoraLinear)
    assert type(root.attn.proj) is nn.Linear
    merge_lora(root)
    assert type(root.attn.qkv) is nn.Linear
    assert root.attn.qkv.bias is None


@pytest.mark.parametrize("name", ["tiny", "small", "base_plus", "large"])
def test_fewer_than_five_percent_train_on_every_official_size(name: str) -> None:
    shape = BACKBONES[name].shape
    assert shape is not None
    segmenter = assemble(
        HieraBackbone(shape),
        SamHeads(sam2=True),
        ModelConfig(backbone=name, adapter="lora"),
        default_classes([1, 2, 3]),
    )
    trained = sum(p.numel() for p in segmenter.trained_parameters().values())
    assert 0 < trained < 0.05 * sum(p.numel() for p in segmenter.parameters())

    wrapped = [n for n, m in segmenter.named_modules() if isinstance(m, LoraLinear)]
    in_trunk = [n for n in wrapped if n.endswith(".attn.qkv")]
    # Two blocks with three attentions of four projections each, and the last attention.
    in_decoder = [n for n in wrapped if n.startswith("decoder.transformer.")]
    assert len(in_trunk) == sum(shape.stages)
    assert len(in_decoder) == 2 * 3 * 4 + 4
    assert len(wrapped) == len(in_trunk) + len(in_decoder)
