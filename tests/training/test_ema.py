from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_sam2_adapters.training.ema import MovingAverage, ema_decay


def test_the_decay_grows_to_its_bound() -> None:
    assert ema_decay(1) == pytest.approx(2 / 11)
    assert ema_decay(90) == pytest.approx(0.91)
    assert ema_decay(10**6) == 0.999


def test_the_average_by_hand() -> None:
    parameter = nn.Parameter(torch.tensor([0.0]))
    average = MovingAverage({"w": parameter})
    expected = 0.0
    for step, value in enumerate((1.0, 5.0, -2.0), start=1):
        parameter.data.fill_(value)
        average.update(step)
        decay = (1 + step) / (10 + step)
        expected = decay * expected + (1 - decay) * value
    assert average.state()["w"].item() == pytest.approx(expected)
    assert parameter.item() == -2.0


def test_without_averaging_it_is_the_latest() -> None:
    parameter = nn.Parameter(torch.tensor([0.1]))
    average = MovingAverage({"w": parameter}, averaged=False)
    parameter.data.fill_(0.3)
    average.update(1)
    assert torch.equal(average.state()["w"], parameter.detach())


def test_state_is_a_copy_and_loads() -> None:
    parameter = nn.Parameter(torch.ones(2))
    average = MovingAverage({"w": parameter})
    state = average.state()
    parameter.data.zero_()
    average.update(1)
    assert torch.equal(state["w"], torch.ones(2))
    average.load(state)
    assert torch.equal(average.state()["w"], torch.ones(2))
