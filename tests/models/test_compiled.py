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


def test_more_shapes_than_anybody_waits_for_are_computed_without_and_said_once(
    monkeypatch, said: list[str]
) -> None:
    translated = []

    def translate(network: nn.Module, **settings: object) -> object:
        def run(x: Tensor) -> Tensor:
            translated.append(tuple(x.shape))
            return network(x)

        return run

    monkeypatch.setattr(torch, "compile", translate)
    doubling = Doubling()
    batches = [torch.ones(1, 1, 2, side) for side in range(1, 8)]
    for batch in (*batches, batches[0]):  # one image after the other, with the same network
        network = CompiledNetwork(doubling, said.append)
        for _ in range(2):
            assert torch.equal(network(batch), 2 * batch)
    assert [shape[-1] for shape in translated] == [1, 1, 2, 2, 3, 3, 4, 4, 1, 1]
    assert len(said) == 3  # once for each image
    assert "going on without it for others" in said[0]


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
