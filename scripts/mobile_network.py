"""MobileSAM in plain torch: what the shipped tensors are loaded into to check and to measure them.

It is built from timm's and sam2's own modules and shares no code with the package, so that a mistake in one of
the two cannot hide in the other.
"""

from __future__ import annotations

import torch
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.prompt_encoder import PromptEncoder
from sam2.modeling.sam.transformer import TwoWayTransformer
from sam2.modeling.sam2_utils import LayerNorm2d
from timm.models import tiny_vit
from torch import Tensor, nn

__all__ = ["MobileSam", "build_trunk", "expected_shapes"]

IMAGE_SIZE_PX = 1024
STRIDE = 16
WIDTH = 256


def build_trunk(*, folded: bool = True) -> nn.Module:
    """Build timm's ``tiny_vit_5m_224`` as MobileSAM has it: no head, and stride 16 after the last stage.

    Parameters
    ----------
    folded
        Put one convolution with a bias in the place of each convolution with BatchNorm.
    """
    # Not through the registry: the package of MobileSAM registers its own network by this name.
    trunk = tiny_vit.tiny_vit_5m_224(pretrained=False)
    trunk.head = nn.Identity()
    trunk.stages[3].downsample.conv2.conv.stride = (1, 1)
    if folded:
        for name, module in list(trunk.named_modules()):
            if isinstance(module, tiny_vit.ConvNorm):
                trunk.set_submodule(name, module.fuse())
    return trunk.eval()


class MobileSam(nn.Module):
    """MobileSAM with BatchNorm folded; its state dict has the names of the shipped file."""

    def __init__(self) -> None:
        super().__init__()
        grid = IMAGE_SIZE_PX // STRIDE
        self.trunk = build_trunk()
        self.neck = nn.Sequential(
            nn.Conv2d(320, WIDTH, 1, bias=False),
            LayerNorm2d(WIDTH),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False),
            LayerNorm2d(WIDTH),
        )
        self.prompt_encoder = PromptEncoder(
            embed_dim=WIDTH,
            image_embedding_size=(grid, grid),
            input_image_size=(IMAGE_SIZE_PX, IMAGE_SIZE_PX),
            mask_in_chans=16,
        )
        self.mask_decoder = MaskDecoder(
            transformer_dim=WIDTH,
            transformer=TwoWayTransformer(depth=2, embedding_dim=WIDTH, num_heads=8, mlp_dim=2048),
        )
        self.eval()

    def encode(self, image: Tensor) -> Tensor:
        """Encode normalised images, (B, 3, H, W) to (B, 256, H/16, W/16)."""
        x = self.trunk.stages(self.trunk.patch_embed(image))  # (B, 320, H/16, W/16)
        return self.neck(x)

    def decode(
        self, embedding: Tensor, points: Tensor, labels: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Decode four masks from point prompts.

        Parameters
        ----------
        embedding
            Of one image of 1024 × 1024, (1, 256, 64, 64).
        points, labels
            Pixel positions (x, y) in that image, (1, N, 2), and their kind (1 in, 0 out, -1 padding), (1, N).
        mask
            Logits of an earlier mask, (1, 1, 256, 256).

        Returns
        -------
        tuple of Tensor
            Mask logits (1, 4, 256, 256) and their predicted IoU (1, 4).
        """
        # The padding point is among `points`, as SAM's ONNX export wants it, so none is added here.
        sparse = self.prompt_encoder._embed_points(points, labels, pad=False)
        _, dense = self.prompt_encoder(points=None, boxes=None, masks=mask)
        logits, iou, _, _ = self.mask_decoder.predict_masks(
            image_embeddings=embedding,
            image_pe=self.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            repeat_image=False,
        )
        return logits, iou


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """Give the name and the shape of every tensor of the shipped file, sorted by name."""
    with torch.device("meta"):
        state = MobileSam().state_dict()
    return {name: tuple(state[name].shape) for name in sorted(state)}
