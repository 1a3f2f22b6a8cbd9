from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2_adapters.config import ModelConfig, default_classes
from napari_sam2_adapters.models.adapters import LightweightAdapter, LoraLinear
from napari_sam2_adapters.models.decoder import PromptFreeDecoder
from napari_sam2_adapters.models.onednn import use_onednn
from napari_sam2_adapters.models.segmenter import Segmenter, assemble

FAMILIES = ("hiera", "mobile")
ADAPTERS = ("hp", "lw", "lora")

Parts = Callable[[str], Any]
Build = Callable[..., Segmenter]


def picture(height: int = 64, width: int = 96, channels: int = 1, batch: int = 1) -> Tensor:
    return torch.rand(
        batch, channels, height, width, generator=torch.Generator().manual_seed(height)
    )


def one_step(segmenter: Segmenter) -> None:
    optimizer = torch.optim.AdamW(segmenter.trained_parameters().values(), lr=0.01)
    segmenter.train()
    segmenter(picture(batch=2)).square().mean().backward()
    optimizer.step()


class TestFreshAdapter:
    """A fresh adapter changes nothing (hybrid mode)."""

    @pytest.mark.parametrize("adapter", ADAPTERS)
    @pytest.mark.parametrize("family", FAMILIES)
    @torch.no_grad()
    def test_it_leaves_the_logits_of_the_frozen_model_bit_for_bit(
        self, parts: Parts, segmenter_of: Build, family: str, adapter: str
    ) -> None:
        ours = segmenter_of(family, adapter)
        # The frozen model is put together here from the pretrained parts alone: no adapter, no PEG and no projection is in it.
        backbone, heads = parts(family)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(ours.config.seed)
            decoder = PromptFreeDecoder(
                heads, 3, feature_widths=backbone.feature_widths, position="hybrid", mode="heads"
            )
        decoder.peg = _Nothing()
        for part in (backbone, decoder):
            use_onednn(part)  # on AMD's processors another order of the sums, as in ours
        image = picture()
        mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
        deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
        logits = decoder(backbone((image.expand(-1, 3, -1, -1) - mean) / deviation))
        wanted = F.interpolate(logits, (64, 96), mode="bilinear", align_corners=False)
        assert wanted.std() > 0
        assert torch.equal(ours(image), wanted)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_every_adapter_can_leave_it(
        self, segmenter_of: Build, disturbed: Build, family: str
    ) -> None:
        for adapter in ADAPTERS:
            segmenter = segmenter_of(family, adapter, decoder="frozen")
            image = picture()
            with torch.no_grad():
                before = segmenter(image)
                for name, parameter in segmenter.trained_parameters().items():
                    if ".adapter." in name or ".lora_b" in name:
                        parameter.add_(0.1)
                assert (segmenter(image) - before).abs().max() > 1e-3, adapter

    def test_the_same_seed_gives_the_same_network_and_another_does_not(
        self, segmenter_of: Build
    ) -> None:
        first, again, other = (
            segmenter_of("hiera", "hp", seed=s).trained_state() for s in (3, 3, 4)
        )
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert not torch.equal(first["decoder.class_tokens"], other["decoder.class_tokens"])

    def test_putting_it_together_leaves_the_global_random_state_alone(self, parts: Parts) -> None:
        backbone, heads = parts("hiera")
        before = torch.get_rng_state()
        assemble(backbone, heads, ModelConfig(adapter="lora"), default_classes([1, 2]))
        assert torch.equal(torch.get_rng_state(), before)


class _Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


class TestWhatIsFrozen:
    """What is frozen stays frozen."""

    @pytest.mark.parametrize("adapter", ADAPTERS)
    @pytest.mark.parametrize("family", FAMILIES)
    def test_it_has_no_gradient_and_does_not_move_in_a_step(
        self, segmenter_of: Build, disturbed: Build, family: str, adapter: str
    ) -> None:
        segmenter = disturbed(segmenter_of(family, adapter))
        tensors = dict(segmenter.named_parameters()) | dict(segmenter.named_buffers())
        before = {name: t.detach().clone() for name, t in tensors.items()}
        one_step(segmenter)
        trained = segmenter.trained_parameters().keys()
        assert trained
        for name, tensor in tensors.items():
            assert (tensor.grad is not None) == (name in trained), name
            assert torch.equal(tensor, before[name]) == (name not in trained), name

    @pytest.mark.parametrize("family", FAMILIES)
    def test_it_stays_in_inference_mode(self, segmenter_of: Build, family: str) -> None:
        segmenter = segmenter_of(family, "lora").train()
        lora = [m for m in segmenter.modules() if isinstance(m, LoraLinear)]
        assert all(m.training for m in lora)
        assert not any(
            m.training for m in segmenter.backbone.modules() if not isinstance(m, LoraLinear)
        )
        segmenter.eval()
        assert not any(m.training for m in segmenter.modules())

    def test_dropout_is_lora_s_alone_and_in_training_alone(
        self, segmenter_of: Build, disturbed: Build
    ) -> None:
        segmenter = disturbed(segmenter_of("hiera", "lora", lora_dropout=0.5))
        image = picture()
        with torch.no_grad():
            assert torch.equal(segmenter(image), segmenter(image))
            segmenter.train()
            assert not torch.equal(segmenter(image), segmenter(image))
            still = disturbed(segmenter_of("hiera", "hp")).train()
            assert torch.equal(still(image), still(image))


class TestTrainedTensors:
    """The saved file holds exactly what was trained."""

    def test_the_keys_are_these(self, segmenter_of: Build) -> None:
        """Written out, because a renamed key would make every saved adapter unreadable."""
        lw = {f"{linear}.{p}" for linear in ("down", "up") for p in ("weight", "bias")} | {
            f"spatial.{p}"
            for p in ("scales", "conv3.weight", "conv3.bias", "conv1.weight", "conv1.bias")
        }
        slots = [f"backbone.trunk.blocks.{b}.mlp.adapter" for b in ("0.block", 1, 2, 3, 4)]
        wanted = {f"{slot}.{part}" for slot in slots for part in lw}
        wanted |= {f"backbone.trunk.blocks.0.addition.conv.{p}" for p in ("weight", "bias")}
        wanted |= {"decoder.class_tokens", "decoder.peg.conv.weight", "decoder.peg.conv.bias"}
        wanted |= {
            f"decoder.class_mlps.{c}.layers.{i}.{p}"
            for c in range(2)
            for i in range(3)
            for p in ("weight", "bias")
        }
        segmenter = segmenter_of("hiera", "lw", n_classes=2, decoder="frozen")
        assert segmenter.trained_state().keys() == wanted | {"class_bias"}
        heads = {f"decoder.conv_s{i}.{p}" for i in (0, 1) for p in ("weight", "bias")}
        heads |= {f"decoder.upscaling.{i}.{p}" for i in (0, 1, 3) for p in ("weight", "bias")}
        segmenter = segmenter_of("hiera", "lw", n_classes=2, decoder="heads", input_channels=4)
        assert segmenter.trained_state().keys() == wanted | {"class_bias"} | heads | {
            "channel_mix.mix.weight"
        }

    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_the_keys_of_mobile_are_these(self, segmenter_of: Build, adapter: str) -> None:
        trunk = "backbone.trunk.stages"
        blocks = [(1, 2), (2, 6), (3, 2)]  # stage, number of its attention blocks
        attention = [f"{trunk}.{stage}.blocks.{b}" for stage, n in blocks for b in range(n)]
        parts = {
            "hp": ("down", "offset", "conv", "up"),
            "lw": ("down", "spatial.conv3", "spatial.conv1", "up"),
        }
        wanted = {
            f"{layer}.{p}"
            for layer in (
                f"{trunk}.0.blocks.0.addition.conv",
                "backbone.lateral",
                "decoder.peg.conv",
                "decoder.conv_s0",
                "decoder.conv_s1",
                *(f"decoder.class_mlps.{c}.layers.{i}" for c in range(2) for i in range(3)),
            )
            for p in ("weight", "bias")
        } | {"decoder.class_tokens"}
        if adapter == "lora":
            sides = ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
            decoders = [f"layers.{i}.{side}" for i in (0, 1) for side in sides]
            wrapped = [f"{block}.attn.qkv" for block in attention] + [
                f"decoder.transformer.{name}.{projection}_proj"
                for name in (*decoders, "final_attn_token_to_image")
                for projection in ("q", "k", "v", "out")
            ]
            wanted |= {f"{layer}.{p}" for layer in wrapped for p in ("lora_a", "lora_b")}
        else:
            slots = [f"{trunk}.0.blocks.0.block.addition.adapter"]
            slots += [f"{trunk}.0.blocks.1.addition.adapter"]
            slots += [f"{block}.block.mlp.parallel.adapter" for block in attention]
            wanted |= {
                f"{slot}.{part}.{p}"
                for slot in slots
                for part in parts[adapter]
                for p in ("weight", "bias")
            }
            wanted |= {f"{slot}.spatial.scales" for slot in slots if adapter == "lw"}
        if adapter == "hp":
            layers = ("first", "second", "logits")
            wanted |= {f"detail.{layer}.{p}" for layer in layers for p in ("weight", "bias")}
        segmenter = segmenter_of("mobile", adapter, n_classes=2, decoder="frozen")
        assert segmenter.trained_state().keys() == wanted | {"class_bias"}

    @pytest.mark.parametrize("adapter", ADAPTERS)
    @pytest.mark.parametrize("family", FAMILIES)
    def test_they_are_all_that_a_trained_network_differs_in(
        self, segmenter_of: Build, disturbed: Build, family: str, adapter: str
    ) -> None:
        trained = disturbed(segmenter_of(family, adapter, decoder="full"))
        fresh = segmenter_of(family, adapter, decoder="full", seed=8)
        fresh.load_trained_state(trained.trained_state())
        with torch.no_grad():
            assert torch.equal(fresh(picture()), trained(picture()))

    def test_they_are_copies_that_a_later_step_does_not_move(self, segmenter_of: Build) -> None:
        segmenter = segmenter_of("hiera")
        state = segmenter.trained_state()
        kept = {name: t.clone() for name, t in state.items()}
        one_step(segmenter)
        assert all(torch.equal(state[name], kept[name]) for name in kept)

    def test_they_are_contiguous_in_a_channels_last_network(self, segmenter_of: Build) -> None:
        segmenter = segmenter_of("hiera", "hp").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        assert any(not p.is_contiguous() for p in segmenter.trained_parameters().values())
        assert all(t.is_contiguous() for t in segmenter.trained_state().values())

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda s: s.pop("decoder.class_tokens"), "lacks 'decoder.class_tokens'"),
            (lambda s: s.update(extra=torch.zeros(1)), "has the unknown 'extra'"),
            (
                lambda s: s.update({"decoder.class_tokens": torch.zeros(9, 256)}),
                "has another shape for 'decoder.class_tokens'",
            ),
        ],
        ids=["missing", "foreign", "shape"],
    )
    def test_others_are_refused_and_change_nothing(
        self, segmenter_of: Build, disturbed: Build, spoil: Callable[[Any], Any], message: str
    ) -> None:
        segmenter, other = segmenter_of("hiera"), disturbed(segmenter_of("hiera")).trained_state()
        before = segmenter.trained_state()
        spoil(other)
        with pytest.raises(ValueError, match=f"the file {message} .* Build the network with"):
            segmenter.load_trained_state(other)
        after = segmenter.trained_state()
        assert all(torch.equal(before[name], after[name]) for name in before)

    @pytest.mark.parametrize(
        ("family", "adapter", "decoder"),
        [("hiera", "hp", "heads"), ("mobile", "hp", "heads"), ("hiera", "lora", "full")],
    )
    def test_each_is_in_one_group(
        self, segmenter_of: Build, family: str, adapter: str, decoder: str
    ) -> None:
        segmenter = segmenter_of(family, adapter, decoder=decoder, input_channels=2)
        groups = segmenter.parameter_groups()
        assert list(groups) == ["new", "offset", "detail", "pretrained"]
        ids = [id(p) for group in groups.values() for p in group]
        assert len(ids) == len(set(ids))
        assert set(ids) == {id(p) for p in segmenter.trained_parameters().values()}

        names = {id(p): name for name, p in segmenter.named_parameters()}
        inside = {kind: {names[id(p)] for p in group} for kind, group in groups.items()}
        assert all(".adapter.offset." in name for name in inside["offset"])
        assert bool(inside["offset"]) == (adapter == "hp")
        assert all(name.startswith("decoder.") for name in inside["pretrained"])
        assert "decoder.upscaling.0.weight" in inside["pretrained"]
        sams = "decoder.conv_s0.weight" in inside["pretrained"]
        assert sams == (family == "hiera")
        assert not any("lora" in name for name in inside["pretrained"])
        new = {"decoder.class_tokens", "decoder.peg.conv.weight", "channel_mix.mix.weight"}
        assert new <= inside["new"]


class TestFolding:
    """Folded and merged, the network gives the same logits."""

    @pytest.mark.parametrize("adapter", ADAPTERS)
    @pytest.mark.parametrize("family", FAMILIES)
    @torch.no_grad()
    def test_logits_move_by_less_than_1e_5(
        self,
        segmenter_of: Build,
        disturbed: Build,
        relative: Callable[[Tensor, Tensor], float],
        family: str,
        adapter: str,
    ) -> None:
        segmenter = disturbed(segmenter_of(family, adapter, decoder="full"), 0.02)
        folded = segmenter.folded()
        assert relative(folded(picture(96, 64)), segmenter(picture(96, 64))) <= 1e-5

    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_nothing_is_left_to_fold_or_to_learn(self, segmenter_of: Build, adapter: str) -> None:
        folded = segmenter_of("mobile", adapter).train().folded()
        assert not folded.trained_parameters()
        assert not any(m.training for m in folded.modules())
        assert not any(isinstance(m, LoraLinear) for m in folded.modules())
        lw = [m.spatial for m in folded.modules() if isinstance(m, LightweightAdapter)]
        assert all(isinstance(layer, nn.Conv2d) for layer in lw)
        assert bool(lw) == (adapter == "lw")

    @pytest.mark.parametrize("adapter", ["lw", "lora"])
    def test_it_draws_no_random_numbers(self, segmenter_of: Build, adapter: str) -> None:
        segmenter, before = segmenter_of("hiera", adapter), torch.get_rng_state()
        segmenter.folded()
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU")
    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_apples_gpu_folds_without_double_precision(
        self, segmenter_of: Build, adapter: str
    ) -> None:
        assert segmenter_of("hiera", adapter).to("mps").folded().device.type == "mps"

    def test_frozen_weights_are_shared_and_trained_ones_are_not(self, segmenter_of: Build) -> None:
        segmenter = segmenter_of("mobile", "hp")
        folded = dict(segmenter.folded().named_parameters())
        for name, parameter in segmenter.named_parameters():
            shared = folded[name].data_ptr() == parameter.data_ptr()
            assert shared == (not parameter.requires_grad), name

    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_the_network_can_go_on_learning(self, segmenter_of: Build, adapter: str) -> None:
        segmenter = segmenter_of("hiera", adapter)
        names = segmenter.trained_parameters().keys()
        with torch.no_grad():
            folded = segmenter.folded()
            before = folded(picture())
        one_step(segmenter)
        assert segmenter.trained_parameters().keys() == names
        with torch.no_grad():
            assert torch.equal(folded(picture()), before)
            assert not torch.equal(segmenter.eval()(picture()), before)
