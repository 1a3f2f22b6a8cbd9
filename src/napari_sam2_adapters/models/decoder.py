"""SAM's mask decoder without prompts, with one mask token per class.

The parts are SAM's own (`sam2.modeling.sam.mask_decoder.MaskDecoder` and its prompt encoder); only the path through them is written
here, because SAM2's expects prompts, four masks and one image. Tokens are [object score, IoU, class 0 … class C-1]; each class token
starts as SAM's mask token 0 with a little noise, and reads the image through its own copy of SAM's hypernetwork MLP 0.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from napari_sam2_adapters.config import DecoderMode, PositionMode
from napari_sam2_adapters.models.backbone import DECODER_WIDTH, Features
from napari_sam2_adapters.models.position import PositionEncodingGenerator

__all__ = ["PromptFreeDecoder", "SamHeads"]

TOKEN_NOISE = 0.02
"""Standard deviation of what tells a fresh class token from SAM's mask token 0."""


class SamHeads(nn.Module):
    """SAM's prompt encoder and mask decoder, built as SAM2 (or MobileSAM) builds them.

    Parameters
    ----------
    sam2
        With SAM2's object score and high-resolution features; else as in the first SAM.
    """

    def __init__(self, *, sam2: bool) -> None:
        super().__init__()
        from sam2.modeling.sam.mask_decoder import MaskDecoder
        from sam2.modeling.sam.prompt_encoder import PromptEncoder
        from sam2.modeling.sam.transformer import TwoWayTransformer

        self.prompt_encoder = PromptEncoder(
            embed_dim=DECODER_WIDTH,
            image_embedding_size=(64, 64),
            input_image_size=(1024, 1024),
            mask_in_chans=16,
        )
        self.mask_decoder = MaskDecoder(
            transformer_dim=DECODER_WIDTH,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=DECODER_WIDTH, mlp_dim=2048, num_heads=8
            ),
            num_multimask_outputs=3,
            use_high_res_features=sam2,
            iou_prediction_use_sigmoid=sam2,
            pred_obj_scores=sam2,
            pred_obj_scores_mlp=sam2,
        )


class PromptFreeDecoder(nn.Module):
    """Logits of every class from the features of an image.

    Parameters
    ----------
    heads
        Loaded parts of SAM; they are taken over, not copied.
    n_classes
        Number of classes C, background included.
    feature_widths
        Channels of the stride-4 and stride-8 maps.
    position
        ``hybrid`` adds PEG, starting at zero, to SAM's positional encoding; ``peg`` uses PEG alone.
    mode
        What of SAM's parts learns: ``frozen`` nothing, ``heads`` the up-scaling and the two high-resolution convolutions,
        ``full`` everything.
    """

    def __init__(
        self,
        heads: SamHeads,
        n_classes: int,
        *,
        feature_widths: tuple[int, int],
        position: PositionMode,
        mode: DecoderMode,
    ) -> None:
        super().__init__()
        sam = heads.mask_decoder.requires_grad_(False)
        prompts = heads.prompt_encoder.requires_grad_(False)
        self.transformer = sam.transformer
        self.upscaling = sam.output_upscaling
        prefix = [sam.obj_score_token.weight] if sam.pred_obj_scores else []
        self.prefix_tokens = nn.Parameter(
            torch.cat([*prefix, sam.iou_token.weight]), requires_grad=False
        )
        self.no_mask = prompts.no_mask_embed
        self.position_layer = prompts.pe_layer
        self.high_resolution_is_new = not sam.use_high_res_features
        if sam.use_high_res_features:
            self.conv_s0, self.conv_s1 = sam.conv_s0, sam.conv_s1
        else:
            self.conv_s0 = _zero_projection(feature_widths[0], DECODER_WIDTH // 8)
            self.conv_s1 = _zero_projection(feature_widths[1], DECODER_WIDTH // 4)
        start = sam.mask_tokens.weight[:1].detach()
        self.class_tokens = nn.Parameter(
            start + TOKEN_NOISE * torch.randn(n_classes, DECODER_WIDTH)
        )
        self.class_mlps = nn.ModuleList(
            copy.deepcopy(sam.output_hypernetworks_mlps[0]).requires_grad_(True)
            for _ in range(n_classes)
        )
        self.absolute_position = position == "hybrid"
        self.peg = PositionEncodingGenerator(DECODER_WIDTH, start_at_zero=self.absolute_position)
        learns: dict[str, list[nn.Module]] = {
            "frozen": [],
            "heads": [self.upscaling, self.conv_s0, self.conv_s1],
            "full": [self.transformer, self.upscaling, self.conv_s0, self.conv_s1],
        }
        for part in learns[mode]:
            part.requires_grad_(True)
        if mode == "full":
            self.prefix_tokens.requires_grad_(True)
            self.no_mask.requires_grad_(True)

    def forward(self, features: Features) -> Tensor:
        """Features of an image batch to logits (B, C, H/4, W/4)."""
        image = features.stride16
        batch, width, height, length = image.shape
        position = self.peg(image)
        if self.absolute_position:
            position = position + self.position_layer((height, length)).unsqueeze(0)
        tokens = torch.cat([self.prefix_tokens, self.class_tokens]).expand(batch, -1, -1)
        tokens_out, image_out = self.transformer(
            image + self.no_mask.weight.view(1, -1, 1, 1), position, tokens
        )
        image_out = image_out.transpose(1, 2).reshape(batch, width, height, length)
        up1, norm1, act1, up2, act2 = self.upscaling
        upscaled = act1(norm1(up1(image_out) + self.conv_s1(features.stride8)))
        upscaled = act2(up2(upscaled) + self.conv_s0(features.stride4))  # (B, 32, H/4, W/4)
        first = self.prefix_tokens.shape[0]
        kernels = torch.stack(
            [mlp(tokens_out[:, first + c]) for c, mlp in enumerate(self.class_mlps)], dim=1
        )
        logits: Tensor = kernels @ upscaled.flatten(2)  # (B, C, H/4 · W/4)
        return logits.view(batch, -1, *upscaled.shape[2:])


def _zero_projection(width_in: int, width_out: int) -> nn.Conv2d:
    layer = nn.Conv2d(width_in, width_out, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
