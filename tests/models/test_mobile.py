from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import skimage.data
import skimage.measure
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2_adapters.inference.network import copy_to_cpu
from napari_sam2_adapters.models.mobile import MobileBackbone
from napari_sam2_adapters.models.segmenter import Segmenter

Build = Callable[..., Segmenter]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

STRIDES, WIDTHS = (4, 8, 16, 16), (64, 128, 160, 320)


@pytest.fixture(scope="module")
def timms() -> nn.Module:
    """timm's own TinyViT with MobileSAM's one change, random weights and random BatchNorm statistics."""
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = timm.create_model("tiny_vit_5m_224", pretrained=False, num_classes=0)
        model.stages[3].downsample.conv2.conv.stride = (1, 1)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.2)
                nn.init.normal_(module.running_mean, std=0.2)
                nn.init.uniform_(module.running_var, 0.5, 2.0)
            if hasattr(module, "attention_biases"):
                nn.init.normal_(module.attention_biases)
    return model.eval()


def stage_outputs(trunk: Any, image: Tensor) -> list[Tensor]:
    x = trunk.patch_embed(image)
    outputs = []
    for stage in trunk.stages:
        x = stage(x)
        outputs.append(x)
    return outputs


@pytest.mark.parametrize("side", [224, 448])
@torch.no_grad()
def test_the_folded_trunk_equals_timms_unfolded_one(timms: nn.Module, side: int) -> None:
    from timm.models.tiny_vit import ConvNorm

    folded = copy.deepcopy(timms)
    folded.head = nn.Identity()
    for owner in list(folded.modules()):
        for name, layer in list(owner.named_children()):
            if isinstance(layer, ConvNorm):
                setattr(owner, name, layer.eval().fuse())
    ours = MobileBackbone().eval()
    ours.trunk.load_state_dict(folded.state_dict(), strict=True)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in ours.modules())

    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    ours(image)  # so that the stages below run with the tables that the whole network keeps
    got, wanted = stage_outputs(ours.trunk, image), stage_outputs(timms, image)
    for a, b, stride, width in zip(got, wanted, STRIDES, WIDTHS, strict=True):
        assert a.shape == (1, width, side // stride, side // stride)
        assert (a - b).abs().max() < 1e-4 * b.abs().max()


@torch.no_grad()
def test_a_fresh_lateral_adds_nothing_and_a_trained_one_does(parts: Callable[..., Any]) -> None:
    backbone, _ = parts("mobile")
    image = torch.randn(1, 3, 64, 64)
    before = backbone(image).stride16
    backbone.add_projections()
    assert torch.equal(backbone(image).stride16, before)
    nn.init.normal_(backbone.lateral.weight)
    assert not torch.equal(backbone(image).stride16, before)


def test_every_block_has_a_place_for_an_adapter_of_its_width(parts: Callable[..., Any]) -> None:
    backbone, _ = parts("mobile")
    widths: list[int] = []

    def note(width: int) -> nn.Module:
        widths.append(width)
        return _Nothing()

    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        before = backbone(image)
        backbone.add_adapters(note)
        backbone.add_position(lambda width: _Nothing())
        after = backbone(image)
    assert widths == [64] * 2 + [128] * 2 + [160] * 6 + [320] * 2
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a, b)


class _Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@torch.no_grad()
def test_an_adapter_sees_its_tokens_where_they_lie_in_the_image(parts: Callable[..., Any]) -> None:
    backbone, _ = parts("mobile")
    seen: list[Tensor] = []

    class Recording(nn.Module):
        channels_last = True

        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return torch.zeros_like(x)

    backbone.add_adapters(lambda width: Recording())
    backbone(torch.randn(2, 3, 64, 96))
    grids = [(16, 24)] * 2 + [(8, 12)] * 2 + [(4, 6)] * 8
    assert [tuple(x.shape[:3]) for x in seen] == [(2, *grid) for grid in grids]
    # What reaches the adapter went through the block's norm: first stage plain, the others with the norm's own scale.
    assert torch.allclose(seen[0].mean(-1), torch.zeros(2, 16, 24), atol=1e-4)
    mlp = backbone.trunk.stages[1].blocks[0].block.mlp
    plain = (seen[2] - mlp.norm.bias) / mlp.norm.weight
    assert torch.allclose(plain.mean(-1), torch.zeros(2, 8, 12), atol=1e-3)


@pytest.mark.parametrize("adapter", ["hp", "lw", "lora"])
def test_threads_with_images_of_other_sizes_do_not_mix(
    segmenter_of: Build, disturbed: Build, adapter: str
) -> None:
    """A preview and a batch may run at once: nothing of an image stays in the network."""
    segmenter = disturbed(segmenter_of("mobile", adapter), 0.01)
    images = [torch.rand(1, 1, *size) for size in ((64, 96), (96, 64), (48, 128))]

    def segment(image: Tensor) -> Tensor:
        with torch.inference_mode():
            return segmenter(image)

    wanted = [segment(image) for image in images]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(segment, images * 6))
    for at, got in enumerate(results):
        torch.testing.assert_close(got, wanted[at % 3], rtol=1e-4, atol=1e-4)


def test_a_copy_makes_its_own_tables_of_biases(segmenter_of: Build) -> None:
    """Those that are there lie on the device whose memory may be full when a copy on the CPU is made."""

    def tables(network: nn.Module) -> list[Tensor | None]:
        return [m._table for m in network.modules() if hasattr(m, "_table")]

    segmenter, image = segmenter_of("mobile", "lw"), torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        wanted = segmenter(image)
        twin = copy_to_cpu(segmenter)
        assert None not in tables(segmenter)
        assert set(tables(twin)) == {None}
        assert torch.equal(twin(image), wanted)


@pytest.mark.parametrize("adapter", ["hp", "lora"])
def test_it_learns_after_it_was_used_under_inference_mode(
    segmenter_of: Build, disturbed: Build, adapter: str
) -> None:
    segmenter = disturbed(segmenter_of("mobile", adapter, lora_dropout=0.0), 0.01)
    image = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        before = segmenter(image)
    optimizer = torch.optim.SGD(segmenter.trained_parameters().values(), lr=0.1)
    for switched in (False, True):  # with the tables of attention biases from inference mode
        if switched:
            segmenter.train()
        optimizer.zero_grad()
        loss = segmenter(image).square().mean()
        loss.backward()
        assert all(p.grad is not None for p in segmenter.trained_parameters().values())
    optimizer.step()
    with torch.inference_mode():
        after = segmenter.eval()(image)
    assert not torch.equal(before, after)
    # The tables that were kept are those of the weights, whatever was run in between.
    with torch.no_grad():
        assert torch.equal(segmenter(image), copy.deepcopy(segmenter).train().eval()(image))


def test_training_and_inference_mode_give_the_same_logits(segmenter_of: Build) -> None:
    segmenter, image = segmenter_of("mobile", "hp"), torch.rand(1, 1, 64, 96)
    with torch.no_grad():
        still = segmenter.eval()(image)
        assert torch.equal(segmenter.train()(image), still)


# MobileSAM as a whole: encoder, prompt encoder and decoder as loaded, on a photograph.


def coffee(side: int = 1024) -> tuple[Tensor, float]:
    """The photograph as SAM takes it, and the scale from its pixels to that."""
    image = torch.from_numpy(skimage.data.coffee().copy()).permute(2, 0, 1)[None].float() / 255
    scale = side / max(image.shape[2:])
    image = F.interpolate(
        image, [round(n * scale) for n in image.shape[2:]], mode="bilinear", antialias=True
    )
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    image = (image - mean) / deviation
    return F.pad(image, (0, side - image.shape[3], 0, side - image.shape[2])), scale


@pytest.fixture(scope="module")
def prompted() -> Callable[[float, float], list[Mask]]:
    """Those of MobileSAM's three masks (part, thing, whole) for a point (x, y) of which it is sure, each (256, 256)."""
    from napari_sam2_adapters.models.backbone_files import find_weights
    from napari_sam2_adapters.models.checkpoints import load_backbone

    backbone, heads, _ = load_backbone("mobile", find_weights("mobile"))
    image, scale = coffee()
    with torch.inference_mode():
        embedding = backbone.eval()(image).stride16

    @torch.inference_mode()
    def ask(x: float, y: float) -> list[Mask]:
        point = torch.tensor([[[x * scale, y * scale]]])
        sparse, dense = heads.prompt_encoder(
            points=(point, torch.tensor([[1]])), boxes=None, masks=None
        )
        masks, quality, _, _ = heads.mask_decoder.eval()(
            image_embeddings=embedding,
            image_pe=heads.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            repeat_image=False,
        )
        return [(masks[0, i] > 0).numpy() for i in range(3) if quality[0, i] > 0.9]

    return ask


def ellipse(x: float, y: float, a: float, b: float) -> Mask:
    """An ellipse of the photograph (600 px wide) on the decoder's grid of 256."""
    rows, columns = np.mgrid[:256, :256]
    right, down = (columns + 0.5) * 600 / 256 - x, (rows + 0.5) * 600 / 256 - y
    inside: Mask = (right / a) ** 2 + (down / b) ** 2 <= 1
    return inside


@pytest.mark.parametrize(
    ("x", "y", "shape"),
    [(275, 176, (286, 144, 82, 50)), (176, 260, (278, 205, 200, 186))],
    ids=["the coffee", "the saucer with the cup"],
)
def test_a_point_on_a_thing_gives_its_mask(
    prompted: Callable[..., Any], x: float, y: float, shape: tuple[float, ...]
) -> None:
    """A wrong mapping of a weight cannot hide here: the mask would not follow the thing."""
    wanted = ellipse(*shape)
    overlap, mask = max(
        (((m & wanted).sum() / (m | wanted).sum(), m) for m in prompted(x, y)), key=lambda p: p[0]
    )
    assert overlap > 0.9
    pieces = skimage.measure.label(mask)
    assert np.bincount(pieces.ravel())[1:].max() > 0.98 * mask.sum()
    assert mask[round(y * 256 / 600), round(x * 256 / 600)]


def test_another_point_gives_another_mask(prompted: Callable[..., Any]) -> None:
    corner = prompted(58, 58)[0]  # the dark corner behind the table
    rows, columns = np.nonzero(corner)
    assert 0.01 < corner.mean() < 0.05
    assert rows.max() < 60
    assert columns.max() < 80
