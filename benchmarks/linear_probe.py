"""Logistic regression on the features of the frozen backbone, pixel by pixel, as convpaint classifies them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pixels import labelled_pixels
from torch import Tensor, nn

from napari_sam2_adapters.config import ModelConfig
from napari_sam2_adapters.data.dataset import Dataset
from napari_sam2_adapters.models.backbone import pad_to_multiple
from napari_sam2_adapters.models.backbone_files import find_weights
from napari_sam2_adapters.models.checkpoints import load_backbone
from napari_sam2_adapters.models.mobile import MobileBackbone

__all__ = ["LinearProbe"]

_ITERATIONS = 100


class LinearProbe(nn.Module):
    """A linear classifier on the backbone's up-sampled maps; it fits itself to a data set, and `predict` takes it as a segmenter.

    The maps are those that the decoder reads (strides 4, 8 and 16) and, of ``mobile``, stage 3 as well, which tells more than its neck.
    Channels are standardised over the pixels that are learnt from. A linear map and bilinear up-sampling change places, so each map has a
    1×1 convolution of its own whose logits are up-sampled and added: the same as one on all maps at full size, without the memory.

    Parameters
    ----------
    backbone
        Name of a backbone whose weights are there.
    dataset
        What to learn from, images of 1 or 3 channels; see `labelled_pixels`.
    seed
        Seed of the choice of pixels.

    Raises
    ------
    ValueError
        When the images have two channels or more than three.
    """

    def __init__(self, backbone: str, dataset: Dataset, seed: int) -> None:
        super().__init__()
        if dataset.input_channels not in (1, 3):
            raise ValueError(
                f"The linear classifier reads images of 1 or 3 channels, got {dataset.input_channels}. Choose another method."
            )
        self.classes = dataset.classes
        self.n_classes = len(self.classes)
        self.config = ModelConfig(
            backbone=backbone, input_channels=dataset.input_channels, seed=seed
        )
        frozen, _, _ = load_backbone(backbone, find_weights(backbone))
        self.backbone: Any = frozen.requires_grad_(False).eval()
        self._stage3: list[Tensor] = []
        if isinstance(frozen, MobileBackbone):
            self.backbone.trunk.stages[2].register_forward_hook(self._keep_stage3)
        # ImageNet's mean and standard deviation, with which the backbones were trained.
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        features, targets, widths = self._pixels(dataset, seed)
        weight, bias = fit_logistic_regression(features, targets, self.n_classes)
        self.weights = nn.ParameterList(weight.split(widths, dim=1))
        self.bias = nn.Parameter(bias)
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.bias.device

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Those of the linear classifier."""
        return {n: p for n, p in self.named_parameters() if not n.startswith("backbone.")}

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, classes, H, W)."""
        height, width = image.shape[2:]
        logits, (padded_height, padded_width) = self.bias.view(1, -1, 1, 1), self._padded(image)
        for features, weight in zip(self._maps(image), self.weights, strict=True):
            coarse = F.conv2d(features, weight[..., None, None])
            logits = logits + F.interpolate(
                coarse, (padded_height, padded_width), mode="bilinear", align_corners=False
            )
        return logits[:, :, :height, :width]

    def _padded(self, image: Tensor) -> tuple[int, int]:
        multiple = self.backbone.size_multiple
        return tuple(n + -n % multiple for n in image.shape[2:])  # type: ignore[return-value]

    def _maps(self, image: Tensor) -> list[Tensor]:
        x = (image.expand(-1, 3, -1, -1) - self.mean) / self.deviation
        self._stage3.clear()
        return [*self.backbone(pad_to_multiple(x, self.backbone.size_multiple)), *self._stage3]

    def _keep_stage3(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self._stage3.append(output)

    @torch.no_grad()
    def _pixels(self, dataset: Dataset, seed: int) -> tuple[Tensor, Tensor, list[int]]:
        """Features (N, channels) and classes (N,) of the pixels to learn from, and the channels of each map."""
        inputs, targets, widths = [], [], []
        for image, places, labels in labelled_pixels(dataset, seed):
            batch = torch.from_numpy(image)[None]
            height, width = self._padded(batch)
            rows, columns = (torch.from_numpy(i) for i in np.unravel_index(places, image.shape[1:]))
            # The middles of pixels, where -1 and 1 are the outer edges of the padded image.
            grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
            maps = self._maps(batch)
            at_pixels = [
                F.grid_sample(m, grid[None, None].float(), "bilinear", "border", False)[0, :, 0]
                for m in maps
            ]
            inputs.append(torch.cat(at_pixels).T)
            targets.append(torch.from_numpy(labels).long())
            widths = [m.shape[1] for m in maps]
        return torch.cat(inputs), torch.cat(targets), widths


def fit_logistic_regression(
    features: Tensor, targets: Tensor, n_classes: int
) -> tuple[Tensor, Tensor]:
    """Weight (classes, channels) and bias (classes,) by L-BFGS.

    Minimises the mean cross-entropy plus ``|w|² / 2N``, scikit-learn's default strength, on standardised features; the weight that comes back is
    for the features as they are.

    Parameters
    ----------
    features, targets
        (N, channels) and (N,) class indices.
    """
    mean, deviation = features.mean(0), features.std(0).clamp(min=1e-6)
    standard = (features - mean) / deviation
    weight = torch.zeros(n_classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(n_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(standard @ weight.T + bias, targets)
        value = value + weight.square().sum() / (2 * len(targets))
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[arg-type]
    with torch.no_grad():
        plain = weight / deviation
        return plain, bias - plain @ mean
