from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from napari_sam2_adapters.models.compiled import CompiledNetwork

BATCH = torch.arange(6.0).view(1, 1, 2, 3)


class Doubling(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


@pytest.fixture
def said() -> list[str]:
    return []


def test_the_translation_is_called_for_shapes_that_stay(monkeypatch, said: list[str]) -> None:
    asked = []

    def translate(network: nn.Module, **settings: object) -> object:
        asked.append(settings)
        return lambda x: network(x) + 1  # not the same, so that one sees which was called

    monkeypatch.setattr(torch, "compile", translate)
    network = CompiledNetwork(Doubling(), said.append)
    assert torch.equal(network(BATCH), 2 * BATCH + 1)
    assert asked == [{"dynamic": False}]
    assert not said


def test_what_cannot_be_translated_is_said_once_and_computed_all_the_same(
    monkeypatch, said: list[str]
) -> None:
    tries = []

    def fail(x: Tensor) -> Tensor:
        tries.append(x)
        raise RuntimeError("No C++ compiler was found.\nSet CXX.")

    monkeypatch.setattr(torch, "compile", lambda network, **settings: fail)
    network = CompiledNetwork(Doubling(), said.append)
    for _ in range(3):
        assert torch.equal(network(BATCH), 2 * BATCH)
    assert len(tries) == 1
    (sentence,) = said
    assert "(No C++ compiler was found.): going on without it" in sentence


def test_a_full_memory_and_errors_of_the_network_are_passed_on(monkeypatch, said) -> None:
    class Failing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise error

    monkeypatch.setattr(torch, "compile", lambda network, **settings: network)
    for error in (torch.OutOfMemoryError("full"), ValueError("a bad image")):
        network = CompiledNetwork(Failing(), said.append)
        with pytest.raises(type(error)):
            network(BATCH)
    assert not said
