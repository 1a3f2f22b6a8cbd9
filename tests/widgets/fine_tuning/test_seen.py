"""The picture shows what the network gets."""

import numpy as np
import pytest
import torch

from napari_sam2_adapters.config import Normalization
from napari_sam2_adapters.models.channel_mix import ChannelMix
from napari_sam2_adapters.widgets.docks.layers import Picture
from napari_sam2_adapters.widgets.fine_tuning.seen import SeenPicture, as_colours, see


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7])
def test_channels_become_colours_as_in_a_fresh_network(channels) -> None:
    plane = np.random.default_rng(0).random((channels, 5, 6), dtype=np.float32)
    with torch.no_grad():
        wanted = ChannelMix(channels)(torch.from_numpy(plane)[None])[0].numpy()
    np.testing.assert_allclose(as_colours(plane), wanted, atol=1e-6)


def test_grey_values_are_scaled_and_said() -> None:
    image = np.linspace(0, 4000, 100, dtype=np.uint16).reshape(1, 10, 10)
    seen = see(image, "ZYX", False, (0,), Normalization(mode="range", low=1000, high=3000))
    assert seen.colours.shape == (10, 10, 3)
    assert seen.colours[0, 0].tolist() == [0, 0, 0]
    assert seen.colours[-1, -1].tolist() == [255, 255, 255]
    assert "1000 becomes black, 3000 white" in seen.words
    assert "grey" in seen.words


def test_a_large_plane_is_read_in_part() -> None:
    class Large:
        shape, dtype = (50_000, 40_000), np.dtype("u1")

        def __getitem__(self, key):
            rows, columns = (
                range(*part.indices(n)) for part, n in zip(key, self.shape, strict=True)
            )
            assert len(rows) * len(columns) < 2_000_000
            return np.zeros((len(rows), len(columns)), np.uint8)

    seen = see(Large(), "YX", False, (), Normalization(mode="range", low=0, high=255))
    assert max(seen.colours.shape) <= 220
    assert "middle" in seen.words


def test_the_picture_is_drawn_and_taken_away(qtbot) -> None:
    made = SeenPicture()
    qtbot.addWidget(made)
    image = np.random.default_rng(0).integers(0, 255, (40, 20, 3), dtype=np.uint8)
    made.look((Picture(image, "YXC", True, "tissue", {}), ()), Normalization())
    qtbot.waitUntil(lambda: not made.isHidden(), timeout=60_000)
    assert made.picture.pixmap().height() == 96
    assert "red, green and blue; 0 becomes black, 255 white" in made.words.text()
    made.look(None, Normalization())
    assert made.isHidden()


@pytest.mark.parametrize("empty", [True, False])
def test_it_is_told_when_there_is_nothing_to_see(qtbot, empty) -> None:
    made = SeenPicture()
    qtbot.addWidget(made)
    image = np.full((40, 20), np.nan, np.float32)
    if not empty:
        image[3, 4] = 0.5
    with qtbot.waitSignal(made.judged, timeout=60_000) as told:
        made.look((Picture(image, "YX", False, "cells", {}), ()), Normalization())
    assert told.args[0] is image
    assert told.args[1] is empty
