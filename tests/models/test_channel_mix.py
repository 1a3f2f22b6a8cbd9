from __future__ import annotations

import pytest
import torch

from napari_sam2_adapters.models.channel_mix import ChannelMix


@pytest.mark.parametrize(
    ("channels", "means"),
    [
        (1, [[0], [0], [0]]),
        (2, [[0], [1], [0, 1]]),
        (3, [[0], [1], [2]]),
        (5, [[0, 3], [1, 4], [2]]),
    ],
)
def test_channels_are_averaged_into_three(channels: int, means: list[list[int]]) -> None:
    image = torch.rand(2, channels, 7, 9, generator=torch.Generator().manual_seed(0))
    mixed = ChannelMix(channels)(image)
    expected = torch.stack([image[:, which].mean(dim=1) for which in means], dim=1)
    torch.testing.assert_close(mixed, expected)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_grey_values_are_not_rounded_in_a_pass_in_bfloat16(channels: int) -> None:
    """What is read off neighbours' differences would be lost."""
    image = torch.rand(1, channels, 16, 16, generator=torch.Generator().manual_seed(0))
    mix = ChannelMix(channels)
    with torch.autocast("cpu", torch.bfloat16):
        found = mix(image)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, mix(image))
