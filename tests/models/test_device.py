from __future__ import annotations

import re

import pytest
import torch

from napari_sam2_adapters.models.device import (
    choose_device,
    describe_device,
    free_memory_bytes,
)


def test_auto_takes_the_fastest_that_is_there() -> None:
    chosen = choose_device("auto").type
    if torch.cuda.is_available():
        assert chosen == "cuda"
    elif torch.backends.mps.is_available():
        assert chosen == "mps"
    else:
        assert chosen == "cpu"


def test_auto_may_be_decided_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM2_ADAPTERS_DEVICE", "cpu")
    assert choose_device().type == "cpu"
    monkeypatch.setenv("SAM2_ADAPTERS_DEVICE", "cuda:97")
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="'cuda:97' is not available"):
        choose_device()


def test_the_cpu_is_always_there() -> None:
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:97", "meta", "xpu"])
def test_a_device_that_is_not_here_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name!r} is not available .* Choose auto or cpu"):
        choose_device(name)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x"])
def test_a_device_that_nobody_knows_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"There is no device .* Choose auto, cpu, cuda"):
        choose_device(name)


def test_free_memory_is_what_a_program_can_take() -> None:
    assert 2**20 < free_memory_bytes(torch.device("cpu")) < 2**50


def test_the_description_names_cores_and_memory() -> None:
    line = describe_device(torch.device("cpu"))
    found = re.fullmatch(r"CPU, (\d+) cores, ([\d.]+) of ([\d.]+) GB free", line)
    assert found, line
    assert int(found[1]) >= 1
    assert 0 < float(found[2]) <= float(found[3])
