"""A U-Net beside SAM's decoder, for what is drawn by hand pixel by pixel, such as membranes and vessels.

SAM's features have stride 4, and the detail head on pixels looks through fixed filters. What closes a gap in a membrane lies between: shapes of some
tens of pixels at full resolution. This network learns them from scratch; its logits are added to those of the decoder, which knows
much that it then does not have to learn, and both learn together.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2_adapters.models.backbone import pad_to_multiple

__all__ = ["UNet"]

_WIDTHS = (32, 32, 64, 128, 256)
"""Channels at strides 1 to 16, those of MONAI's BasicUNet."""
_SLOPE = 0.1


class UNet(nn.Module):
    """Logits of each pixel from an image; those of a fresh network are zero.

    Two 3×3 convolutions at each of five resolutions, joined by pooling on the way down and transposed convolutions on the way up (Ronneberger et
    al., arXiv 1505.04597). Each channel is normalised over its image, that is over a tile of a large one. What hangs on no tile was tried and is far
    behind on membranes: normalising each pixel by itself, or by running averages.

    Parameters
    ----------
    n_classes
        Number of classes C.
    channels
        Channels of the image.
    widths
        Channels at each resolution, from fine to coarse.
    """

    def __init__(self, n_classes: int, channels: int, widths: tuple[int, ...] = _WIDTHS) -> None:
        super().__init__()
        coarser = tuple(itertools.pairwise(widths))
        self.down = nn.ModuleList([_two_convolutions(channels, widths[0])])
        self.down.extend(_two_convolutions(fine, coarse) for fine, coarse in coarser)
        self.lift = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in coarser
        )
        self.up = nn.ModuleList(_two_convolutions(2 * fine, fine) for fine, _ in coarser)
        self.logits = nn.Conv2d(widths[0], n_classes, 1)
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, channels, H, W), normalised, to (B, C, H, W)."""
        height, width = image.shape[2:]
        coarsest = 2 ** len(self.lift)
        # One pixel has no spread to be normalised by: two are left at the coarsest resolution.
        x = pad_to_multiple(image, coarsest if min(height, width) > coarsest else 2 * coarsest)
        finer: list[Tensor] = []
        for level, convolutions in enumerate(self.down):
            x = convolutions(F.max_pool2d(x, 2) if level else x)
            finer.append(x)
        for level in reversed(range(len(self.lift))):
            x = self.up[level](torch.cat([finer[level], self.lift[level](x)], dim=1))
        logits: Tensor = self.logits(x)
        return logits[:, :, :height, :width]


def _two_convolutions(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (before, after):
        layers += [
            nn.Conv2d(width, after, 3, padding=1),
            nn.InstanceNorm2d(after, affine=True),
            nn.LeakyReLU(_SLOPE, inplace=True),
        ]
    return nn.Sequential(*layers)
