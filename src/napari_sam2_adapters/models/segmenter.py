"""The network as a whole: frozen encoder, adapters, positional encoding and prompt-free decoder.

`assemble` is the one place where the parts meet. Whatever is there before it is frozen, whatever it adds learns, and the
adapter file keeps exactly what learns.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2_adapters.config import ClassInfo, ModelConfig
from napari_sam2_adapters.heap import keep_freed_memory
from napari_sam2_adapters.models.adapters import (
    PARALLEL_ADAPTERS,
    LightweightAdapter,
    LoraLinear,
    add_lora,
    merge_lora,
)
from napari_sam2_adapters.models.backbone import Backbone, pad_to_multiple, resize
from napari_sam2_adapters.models.channel_mix import ChannelMix
from napari_sam2_adapters.models.decoder import PromptFreeDecoder, SamHeads
from napari_sam2_adapters.models.detail import DetailHead
from napari_sam2_adapters.models.device import seeded
from napari_sam2_adapters.models.in_place import add_scaled, use_in_place_gelu
from napari_sam2_adapters.models.onednn import use_onednn
from napari_sam2_adapters.models.position import PositionEncodingGenerator
from napari_sam2_adapters.models.unet import UNet
from napari_sam2_adapters.wording import counted

__all__ = ["CLASS_BIAS", "Segmenter", "assemble"]

CLASS_BIAS = "class_bias"
"""Its name among the trained tensors."""

_DECODER_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
_PRETRAINED = (
    "decoder.upscaling.",
    "decoder.transformer.",
    "decoder.prefix_tokens",
    "decoder.no_mask.",
)
_NEW_IN_PRETRAINED = ("lora_a", "lora_b")


class Segmenter(nn.Module):
    """Semantic segmentation of images of any size and channel count. Build one with `assemble` or `build_segmenter`.

    Parameters
    ----------
    backbone, decoder
        The frozen encoder with its adapters, and the decoder.
    config
        What the network is made of.
    classes
        The classes in the order of the logits.
    detail
        What tells classes at full resolution, and whose logits are added to the decoder's; None: nothing is.

    Attributes
    ----------
    class_bias
        (classes,) float32, added to the logits. Zero unless a run was calibrated; not learnt from gradients, but kept with what is.
    """

    class_bias: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        decoder: PromptFreeDecoder,
        config: ModelConfig,
        classes: Sequence[ClassInfo],
        detail: DetailHead | UNet | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.classes = tuple(classes)
        self.channel_mix = ChannelMix(config.input_channels)
        self.backbone = backbone
        self.decoder = decoder
        self.detail = detail
        self.backbone_sha256 = ""
        # ImageNet's mean and standard deviation, with which every SAM was trained.
        self.register_buffer(
            "mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False
        )
        self.register_buffer(
            "deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False
        )
        self.register_buffer(CLASS_BIAS, torch.zeros(len(self.classes)), persistent=False)

    @property
    def n_classes(self) -> int:
        """Number of classes, background included."""
        return len(self.classes)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.class_tokens.device

    def forward(self, image: Tensor) -> Tensor:
        """Segment a batch of images.

        Parameters
        ----------
        image
            (B, C, H, W) float32, values nominally between 0 and 1; H and W from 2 px on.

        Returns
        -------
        Tensor
            Logits (B, classes, H, W), float32.

        Raises
        ------
        ValueError
            When the image is not of this form or has another number of channels.
        """
        self._check(image)
        height, width = image.shape[2:]
        scale = self.config.input_scale
        plain = (self.channel_mix(image) - self.mean) / self.deviation
        x = resize(plain, max(2, round(height * scale)), max(2, round(width * scale)))
        scaled_height, scaled_width = x.shape[2:]
        x = pad_to_multiple(x, self.backbone.size_multiple)  # type: ignore[arg-type]
        logits = self.decoder(self.backbone(x)).float()  # (B, classes, H/4, W/4)
        logits = logits + self.class_bias.view(1, -1, 1, 1)  # while they are few: it stays constant
        logits = F.interpolate(logits, x.shape[2:], mode="bilinear", align_corners=False)
        logits = resize(logits[:, :, :scaled_height, :scaled_width], height, width)
        if self.detail is None:
            return logits
        # The three channels of a grey image are one and the same.
        own = plain[:, :1] if image.shape[1] == 1 else plain
        return add_scaled(logits, self.detail(own).float(), 1.0)

    def _check(self, image: Tensor) -> None:
        wanted = self.config.input_channels
        if image.ndim != 4 or image.shape[1] != wanted:
            raise ValueError(
                f"The image batch has shape {tuple(image.shape)}, but this network takes (batch, {wanted}, height, width). "
                f"Give images with {counted(wanted, 'channel')} or build one with another number of input channels."
            )
        if min(image.shape[2:]) < 2:
            raise ValueError(
                f"The image is {image.shape[2]}×{image.shape[3]} px, but at least 2×2 px are needed. Give a larger image."
            )

    def train(self, mode: bool = True) -> Self:
        """Switch LoRA's dropout; the frozen network itself always stays in inference mode."""
        super().train(mode)
        self.backbone.eval()
        for module in self.modules():
            if isinstance(module, LoraLinear):
                module.training = mode
        return self

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Exactly the parameters that learn, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The trained parameters as ``new`` (ours), ``offset`` (deformable offsets), ``detail`` (head on pixels) and ``pretrained`` (SAM's)."""
        groups: dict[str, list[nn.Parameter]] = {
            "new": [],
            "offset": [],
            "detail": [],
            "pretrained": [],
        }
        for name, parameter in self.trained_parameters().items():
            if ".offset." in name:
                groups["offset"].append(parameter)
            elif name.startswith("detail.") and isinstance(self.detail, DetailHead):
                groups["detail"].append(parameter)
            elif name.startswith(self._pretrained_prefixes()) and not name.endswith(
                _NEW_IN_PRETRAINED
            ):
                groups["pretrained"].append(parameter)
            else:
                groups["new"].append(parameter)
        return groups

    def _pretrained_prefixes(self) -> tuple[str, ...]:
        ours = self.decoder.high_resolution_is_new
        return _PRETRAINED if ours else (*_PRETRAINED, "decoder.conv_s0.", "decoder.conv_s1.")

    def trained_state(self) -> dict[str, Tensor]:
        """Contiguous copies of the trained parameters and, where something learns, of ``class_bias``, in the CPU's memory."""
        learnt: dict[str, Tensor] = dict(self.trained_parameters())
        if learnt:
            learnt[CLASS_BIAS] = self.class_bias
        return {
            name: p.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, p in learnt.items()
        }

    @torch.no_grad()
    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over trained parameters, and ``class_bias``, which stays as it is when it is not among them.

        Raises
        ------
        ValueError
            When a name is missing or too many, or a shape differs; nothing is changed then.
        """
        own: dict[str, Tensor] = dict(self.trained_parameters())
        if CLASS_BIAS in state:
            own[CLASS_BIAS] = self.class_bias
        missing, foreign = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        wrong = [n for n in own.keys() & state.keys() if own[n].shape != state[n].shape]
        for what, names in (
            ("lacks", missing),
            ("has the unknown", foreign),
            ("has another shape for", wrong),
        ):
            if names:
                raise ValueError(
                    f"The adapter's weights do not fit this network: the file {what} {names[0]!r} "
                    f"({counted(len(names), 'such tensor')}). Build the network with the settings that the adapter was trained with."
                )
        for name, own_tensor in own.items():
            own_tensor.copy_(state[name])

    def folded(self) -> Segmenter:
        """A network for inference alone that gives the same logits: LW folded, LoRA merged, nothing learns.

        The frozen weights are shared with this network, not copied: moving one to another device moves those of both.
        """
        shared: dict[int, object] = {id(p): p for p in self.parameters() if not p.requires_grad}
        twin = copy.deepcopy(self, shared)
        for module in twin.modules():
            if isinstance(module, LightweightAdapter):
                module.fold()
        merge_lora(twin)
        use_onednn(twin)
        use_in_place_gelu(twin.backbone)
        if twin.detail is not None:
            use_in_place_gelu(twin.detail)
        # The frozen tensors are still those of the network that may be training: only our own copies are told not to.
        for parameter in twin.parameters():
            if parameter.requires_grad:
                parameter.requires_grad_(False)
        return twin.eval()


def assemble(
    backbone: Backbone, heads: SamHeads, config: ModelConfig, classes: Sequence[ClassInfo]
) -> Segmenter:
    """Put a segmenter together from loaded, pretrained parts, which it takes over.

    Parameters
    ----------
    backbone, heads
        With their pretrained weights loaded.
    config
        Adapter, position, decoder mode, channels and seed. The global random state is not touched.
    classes
        At least two classes with different values.

    Raises
    ------
    ValueError
        When there are fewer than two classes or two have one value or one name.
    """
    _check_classes(classes)
    if not isinstance(backbone, nn.Module):
        raise TypeError(f"The backbone must be a torch module, got {type(backbone).__name__}.")
    keep_freed_memory()
    backbone.requires_grad_(False)
    hybrid = config.position == "hybrid"
    with seeded(torch.device("cpu"), config.seed):
        decoder = PromptFreeDecoder(
            heads,
            len(classes),
            feature_widths=backbone.feature_widths,
            position=config.position,
            mode=config.decoder,
        )
        backbone.add_projections()
        if not hybrid:
            backbone.drop_absolute_position()
        if config.adapter == "lora":
            add_lora(backbone, backbone.attention_layers, config.lora_rank, config.lora_dropout)
            add_lora(decoder.transformer, _DECODER_ATTENTION, config.lora_rank, config.lora_dropout)
        else:
            kind = PARALLEL_ADAPTERS[config.adapter]
            backbone.add_adapters(lambda width: kind(width, config.reduction))
        backbone.add_position(lambda width: PositionEncodingGenerator(width, start_at_zero=hybrid))
        kinds = {"pixels": DetailHead, "unet": UNet}
        make_detail = kinds.get(config.detail_kind)
        own_channels = 1 if config.input_channels == 1 else 3
        detail = None if make_detail is None else make_detail(len(classes), own_channels)
        segmenter = Segmenter(backbone, decoder, config, classes, detail).eval()
    use_onednn(segmenter)
    return segmenter


def _check_classes(classes: Sequence[ClassInfo]) -> None:
    if len(classes) < 2:
        raise ValueError(
            f"A segmentation needs at least two classes, got {len(classes)}. Label one more class."
        )
    for what, seen in (
        ("value", [str(c.value) for c in classes]),
        ("name", [c.name for c in classes]),
    ):
        twice = sorted({v for v in seen if seen.count(v) > 1})
        if twice:
            raise ValueError(
                f"Two classes have the {what} {', '.join(twice)}. Give each class its own {what}."
            )
