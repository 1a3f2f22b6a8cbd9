"""What people would use instead, behind the segmenter's interface, so that one training loop serves all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from monai.networks.nets import BasicUNet, UNet
from torch import Tensor, nn

from napari_sam2_adapters.config import ClassInfo, ModelConfig
from napari_sam2_adapters.models.backbone import pad_to_multiple

__all__ = ["ScratchNetwork"]


class ScratchNetwork(nn.Module):
    """A network that learns from scratch: every parameter trains, at the recipe's rate for new parameters.

    Parameters
    ----------
    kind
        ``unet`` (MONAI's residual UNet, 16 to 256 channels, two units a level) or ``basic_unet`` (MONAI's BasicUNet).
    input_channels
        Channels of the images.
    classes
        The classes in the order of the logits.
    seed
        Seed of the weights.
    """

    backbone_sha256 = ""

    def __init__(
        self, kind: str, input_channels: int, classes: Sequence[ClassInfo], seed: int
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.n_classes = len(self.classes)
        self.config = ModelConfig(backbone=kind, input_channels=input_channels, seed=seed)
        torch.manual_seed(seed)
        if kind == "unet":
            self.net: nn.Module = UNet(
                spatial_dims=2,
                in_channels=input_channels,
                out_channels=self.n_classes,
                channels=(16, 32, 64, 128, 256),
                strides=(2, 2, 2, 2),
                num_res_units=2,
            )
        else:
            self.net = BasicUNet(
                spatial_dims=2, in_channels=input_channels, out_channels=self.n_classes
            )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, classes, H, W)."""
        height, width = image.shape[2:]
        logits: Tensor = self.net(pad_to_multiple(image, 16))
        return logits[:, :, :height, :width]

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """All parameters."""
        return dict(self.named_parameters())

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """All parameters, as new ones."""
        return {"new": list(self.parameters()), "offset": [], "pretrained": []}

    def trained_state(self) -> dict[str, Tensor]:
        """Copies of all parameters."""
        return {name: p.detach().clone() for name, p in self.named_parameters()}

    @torch.no_grad()
    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over all parameters."""
        for name, parameter in self.named_parameters():
            parameter.copy_(state[name])

    def folded(self) -> ScratchNetwork:
        """Itself: there is nothing to fold."""
        return self
