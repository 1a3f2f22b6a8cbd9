"""The stand-in for a card is strict where cards are, or the tests on it would say nothing."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from simulated_card import CARD, CardTensor


def test_devices_are_not_mixed(card: torch.device) -> None:
    here, there = torch.ones(3, device=card), torch.ones(3)
    for mixed in (lambda: here + there, lambda: torch.cat([here, there]), lambda: there @ here):
        with pytest.raises(RuntimeError, match="same device"):
            mixed()
    assert float((here + torch.tensor(2.0)).sum()) == 9  # a number may come from anywhere


def test_what_is_on_the_card_says_so_and_is_fetched_only_by_asking(card: torch.device) -> None:
    image = torch.rand(1, 3, 8, 8).to(card)
    made = [image * 2, image[:, 1:], F.interpolate(image, scale_factor=2), torch.zeros_like(image)]
    made += [image.new_zeros(2), F.one_hot(image.argmax(1), 3), torch.arange(3, device=card)]
    for tensor in made:
        assert isinstance(tensor, CardTensor)
        assert (tensor.device, tensor.is_cuda) == (CARD, True)
        with pytest.raises(TypeError, match=r"Use Tensor\.cpu"):
            tensor.numpy()
        with pytest.raises(TypeError, match=r"Use Tensor\.cpu"):
            np.asarray(tensor)
        assert type(tensor.cpu()) is torch.Tensor
    assert torch.ones(2, dtype=torch.float64).to(image).dtype == torch.float32


def test_a_module_learns_there_with_its_own_parameters(card: torch.device) -> None:
    module = nn.Linear(4, 2)
    weight, before = module.weight, module.weight.detach().clone()
    module.to(card)
    assert module.weight is weight
    assert weight.device == CARD
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        result = module(torch.ones(5, 4, device=card))
    assert result.dtype == torch.bfloat16
    result.float().square().sum().backward()
    optimizer.step()
    assert not torch.equal(weight.detach().cpu(), before)
    module.to("cpu")
    assert module.weight is weight
    assert type(weight.data) is torch.Tensor


def test_threads_have_the_card_too(card: torch.device) -> None:
    made = []
    thread = threading.Thread(target=lambda: made.append(torch.zeros(2).to(card) + 1))
    thread.start()
    thread.join()
    assert isinstance(made[0], CardTensor)


def test_there_is_none_afterwards() -> None:
    assert not isinstance(torch.zeros(2), CardTensor)
    assert torch.ones(1).device.type == "cpu"
