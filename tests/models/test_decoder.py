from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from napari_sam2_adapters.config import DecoderMode
from napari_sam2_adapters.models.backbone import Features
from napari_sam2_adapters.models.decoder import TOKEN_NOISE, PromptFreeDecoder, SamHeads

WIDTHS = {"hiera": (256, 256), "mobile": (64, 128)}


def decoder(heads: SamHeads, family: str, n_classes: int = 3, **settings: Any) -> PromptFreeDecoder:
    chosen = {"position": "hybrid", "mode": "heads", **settings}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PromptFreeDecoder(heads, n_classes, feature_widths=WIDTHS[family], **chosen).eval()


def features(family: str, height: int = 4, width: int = 6, batch: int = 1) -> Features:
    g = torch.Generator().manual_seed(3)
    strides = zip((*WIDTHS[family], 256), (4, 2, 1), strict=True)
    return Features(
        *(torch.randn(batch, c, height * s, width * s, generator=g) for c, s in strides)
    )


def sams_own(heads: SamHeads, ours: PromptFreeDecoder, seen: Features) -> Tensor:
    """SAM's decoder itself, without a prompt, given our class tokens as its mask tokens."""
    sam: Any = copy.deepcopy(heads.mask_decoder)
    n_classes = ours.class_tokens.shape[0]
    sam.num_mask_tokens = n_classes
    sam.mask_tokens = nn.Embedding.from_pretrained(ours.class_tokens.detach())
    first = sam.output_hypernetworks_mlps[0]
    sam.output_hypernetworks_mlps = nn.ModuleList([first] * n_classes)
    fine = None
    if sam.use_high_res_features:
        fine = [sam.conv_s0(seen.stride4), sam.conv_s1(seen.stride8)]
    batch, _, height, width = seen.stride16.shape
    masks, *_ = sam.predict_masks(
        image_embeddings=seen.stride16,
        image_pe=heads.prompt_encoder.pe_layer((height, width)).unsqueeze(0),
        sparse_prompt_embeddings=torch.empty(batch, 0, 256),
        dense_prompt_embeddings=heads.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1),
        repeat_image=False,
        high_res_features=fine,
    )
    result: Tensor = masks
    return result


@pytest.mark.parametrize("n_classes", [2, 7])
@pytest.mark.parametrize("family", ["hiera", "mobile"])
@torch.no_grad()
def test_fresh_it_is_sams_own_decoder_without_a_prompt(
    parts: Callable[..., Any], family: str, n_classes: int
) -> None:
    _, heads = parts(family)
    _, ours_heads = parts(family)
    ours = decoder(ours_heads, family, n_classes)
    seen = features(family)
    got = ours(seen)
    assert got.shape == (1, n_classes, 16, 24)
    assert torch.equal(got, sams_own(heads, ours, seen))


def test_class_tokens_start_near_sams_mask_token(parts: Callable[..., Any]) -> None:
    _, heads = parts("mobile")
    start = heads.mask_decoder.mask_tokens.weight[0].detach().clone()
    noise = decoder(heads, "mobile", 9).class_tokens.detach() - start
    assert noise.std().item() == pytest.approx(TOKEN_NOISE, rel=0.1)
    assert noise.unique(dim=0).shape[0] == 9


def test_each_class_has_its_own_copy_of_sams_mlp(parts: Callable[..., Any]) -> None:
    _, heads = parts("mobile")
    sams = heads.mask_decoder.output_hypernetworks_mlps[0].state_dict()
    mlps = decoder(heads, "mobile", 3).class_mlps
    for mlp in mlps:
        for name, tensor in mlp.state_dict().items():
            assert torch.equal(tensor, sams[name])
    first, second = next(mlps[0].parameters()), next(mlps[1].parameters())
    assert first.data_ptr() != second.data_ptr()
    assert first.data_ptr() != next(iter(sams.values())).data_ptr()


ALWAYS = {"class_tokens", "class_mlps", "peg"}
LEARNS = {
    "hiera": {
        "frozen": ALWAYS,
        "heads": ALWAYS | {"upscaling", "conv_s0", "conv_s1"},
        "full": ALWAYS
        | {"upscaling", "conv_s0", "conv_s1", "transformer", "prefix_tokens", "no_mask"},
    },
    # The two projections of mobile are ours, not SAM's: they always learn.
    "mobile": {
        "frozen": ALWAYS | {"conv_s0", "conv_s1"},
        "heads": ALWAYS | {"upscaling", "conv_s0", "conv_s1"},
        "full": ALWAYS
        | {"upscaling", "conv_s0", "conv_s1", "transformer", "prefix_tokens", "no_mask"},
    },
}


@pytest.mark.parametrize("mode", get_args(DecoderMode))
@pytest.mark.parametrize("family", ["hiera", "mobile"])
def test_each_mode_trains_what_it_says_and_all_of_that_gets_a_gradient(
    parts: Callable[..., Any], family: str, mode: DecoderMode
) -> None:
    _, heads = parts(family)
    ours = decoder(heads, family, mode=mode)
    ours(features(family)).square().mean().backward()
    named = dict(ours.named_parameters())
    learns = {name.split(".")[0] for name, p in named.items() if p.requires_grad}
    assert learns == LEARNS[family][mode]
    for name, parameter in named.items():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.requires_grad == (name.split(".")[0] in learns), name


@torch.no_grad()
def test_paper_mode_knows_no_absolute_position(parts: Callable[..., Any]) -> None:
    _, heads = parts("hiera")
    ours = decoder(heads, "hiera", position="peg")
    seen = features("hiera")
    before = ours(seen)
    ours.position_layer.positional_encoding_gaussian_matrix.add_(1.0)
    assert torch.equal(ours(seen), before)
    nn.init.zeros_(ours.peg.conv.weight)
    assert not torch.equal(ours(seen), before)


@torch.no_grad()
def test_a_batch_is_its_images(parts: Callable[..., Any]) -> None:
    _, heads = parts("mobile")
    ours, seen = decoder(heads, "mobile"), features("mobile", batch=3)
    one_by_one = torch.cat([ours(Features(*(t[[i]] for t in seen))) for i in range(3)])
    torch.testing.assert_close(ours(seen), one_by_one, rtol=1e-4, atol=1e-4)
