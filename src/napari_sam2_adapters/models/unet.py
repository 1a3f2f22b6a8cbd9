"""A U-Net beside SAM's decoder, for what is drawn by hand pixel by pixel, such as membranes.

SAM's features have stride 4, and the detail head on pixels looks at single pixels of fixed filters. What closes a gap in a membrane lies between:
shapes of some tens of pixels at full resolution. This network learns them from scratch; its logits are added to those of the
decoder, which knows what it does not have to learn, and both learn together.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2_adapters.models.backbone import pad_to_multiple

__all__ = ["UNet"]

_LEVELS = 4
_WIDTH = 32
_SLOPE = 0.1
_EPSILON = 1e-6


class UNet(nn.Module):
    """Logits of each pixel from an image; those of a fresh network are zero.

    Four levels of two 3×3 convolutions, 32 to 256 channels, joined by pooling on the way down and transposed convolutions on the way up
    (Ronneberger et al., arXiv 1505.04597). Each pixel's channels are normalised by themselves, unlike in most U-Nets: statistics of a whole tile would
    make results hang on where tiles lie, and blow up the noise where nothing is.

    Parameters
    ----------
    n_classes
        Number of classes C.
    channels
        Channels of the image.
    width
        Channels of the first level.
    """

    def __init__(self, n_classes: int, channels: int, width: int = _WIDTH) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(_LEVELS)]
        self.down = nn.ModuleList(
            _two_convolutions(before, after)
            for before, after in zip([channels, *widths], widths, strict=False)
        )
        self.lift = nn.ModuleList(
            nn.ConvTranspose2d(2 * fine, fine, 2, stride=2) for fine in widths[:-1]
        )
        self.up = nn.ModuleList(_two_convolutions(2 * fine, fine) for fine in widths[:-1])
        self.logits = nn.Conv2d(width, n_classes, 1)
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, channels, H, W), normalised, to (B, C, H, W)."""
        height, width = image.shape[2:]
        x = pad_to_multiple(image, 2 ** (_LEVELS - 1))
        # In this order the channels of a pixel, which are normalised together, lie together.
        x = x.contiguous(memory_format=torch.channels_last)
        finer: list[Tensor] = []
        for level, convolutions in enumerate(self.down):
            x = convolutions(F.max_pool2d(x, 2) if level else x)
            finer.append(x)
        for level in reversed(range(_LEVELS - 1)):
            x = self.up[level](torch.cat([finer[level], self.lift[level](x)], dim=1))
        logits: Tensor = self.logits(x)
        return logits[:, :, :height, :width]


class _PixelNorm(nn.LayerNorm):
    """Layer normalisation of each pixel's channels."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _two_convolutions(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (before, after):
        layers += [
            nn.Conv2d(width, after, 3, padding=1),
            _PixelNorm(after, eps=_EPSILON),
            nn.LeakyReLU(_SLOPE, inplace=True),
        ]
    return nn.Sequential(*layers)
