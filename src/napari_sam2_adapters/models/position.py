"""The positional encoding generator (PEG): a convolution that tells a pixel where it is.

Conditional positional encodings (Chu et al., arXiv 2102.10882) come from the features themselves: a depthwise 3×3
convolution with zero padding sees the image's edge and passes it on, so any image size is served by one set of weights.
"""

from __future__ import annotations

from torch import Tensor, nn

from napari_sam2_adapters.models.in_place import add_scaled

__all__ = ["AfterBlock", "PositionEncodingGenerator"]


class PositionEncodingGenerator(nn.Module):
    """Depthwise 3×3 convolution whose output is added to the features.

    Parameters
    ----------
    width
        Channels of the features.
    start_at_zero
        Start as "no change": for the hybrid mode, where SAM2's own embedding stays.
    """

    def __init__(self, width: int, *, start_at_zero: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=width)
        if start_at_zero:
            nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to an encoding of the same shape."""
        encoding: Tensor = self.conv(x)
        return encoding


class AfterBlock(nn.Module):
    """A trunk block followed by ``x + scale * addition(x)``, where the trunk works in the given memory order.

    Parameters
    ----------
    block
        The trunk's own block; it is called unchanged.
    addition
        Maps (B, C, H, W) to the same shape, or (B, H, W, C) when it says ``channels_last = True``.
    channels_last
        Whether the block gives (B, H, W, C).
    """

    def __init__(
        self, block: nn.Module, addition: nn.Module, *, channels_last: bool, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.block = block
        self.addition = addition
        self.channels_last = channels_last
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """The block's output with the addition."""
        x = self.block(x)
        return add_scaled(x, self._added(x), self.scale)

    def _added(self, x: Tensor) -> Tensor:
        if getattr(self.addition, "channels_last", False) == self.channels_last:
            added: Tensor = self.addition(x)
            return added
        inward, outward = (0, 3, 1, 2), (0, 2, 3, 1)
        if not self.channels_last:
            inward, outward = outward, inward
        turned: Tensor = self.addition(x.permute(inward)).permute(outward)
        return turned
