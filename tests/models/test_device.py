from __future__ import annotations

import re

import pytest
import torch

from napari_sam2_adapters.models.device import (
    choose_device,
    computes_bfloat16,
    describe_device,
    half_precision,
    seeded,
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


@pytest.mark.parametrize("name", ["auto", "cuda", "cuda:0"])
def test_a_card_is_known_by_its_number_as_tensors_name_it(card: torch.device, name: str) -> None:
    chosen = choose_device(name)
    assert chosen == card == torch.zeros(1, device=chosen).device
    assert describe_device(chosen) == "a simulated card, 68.7 of 85.9 GB free"
    with pytest.raises(ValueError, match="not available"):
        choose_device("cuda:1")


@pytest.mark.parametrize("name", ["cuda:97", "meta", "xpu"])
def test_a_device_that_is_not_here_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name!r} is not available .* Choose auto or cpu"):
        choose_device(name)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x"])
def test_a_device_that_nobody_knows_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"There is no device .* Choose auto, cpu, cuda"):
        choose_device(name)


def test_the_description_names_cores_and_memory() -> None:
    line = describe_device(torch.device("cpu"))
    found = re.fullmatch(r"CPU, (\d+) cores, ([\d.]+) of ([\d.]+) GB free", line)
    assert found, line
    assert int(found[1]) >= 1
    assert 0 < float(found[2]) <= float(found[3])


CPU = torch.device("cpu")
GPUS = [
    pytest.param(
        torch.device("cuda", 0),
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    ),
    pytest.param(
        torch.device("mps", 0),
        marks=pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU"),
    ),
]


@pytest.mark.parametrize("device", [CPU, *GPUS])
def test_the_seed_decides_and_others_do_not_notice(device: torch.device) -> None:
    before = torch.get_rng_state()
    draws = []
    for seed in (5, 5, 6):
        undisturbed = torch.rand(3, device=device)
        with seeded(device, seed):
            draws.append(torch.cat([torch.rand(3), torch.rand(3, device=device).cpu()]))
        assert not torch.equal(torch.rand(3, device=device), undisturbed)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    torch.set_rng_state(before)
    with pytest.raises(KeyboardInterrupt), seeded(device, 5):
        raise KeyboardInterrupt
    assert torch.equal(torch.get_rng_state(), before)


def test_the_seed_of_one_device_is_not_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.manual_seed` seeds every GPU of the machine, whose states nobody would put back."""
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("seeds every device"))
    with seeded(CPU, 1):
        torch.rand(1)


def test_the_cpu_computes_in_full_precision() -> None:
    with half_precision(CPU):
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("able", [True, False])
def test_the_cpu_computes_in_bfloat16_when_asked_and_able(monkeypatch, able: bool) -> None:
    found = {"avx2": True, "avx512_bf16": able}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert computes_bfloat16(CPU) == able
    with half_precision(CPU, on_cpu=True):
        assert torch.is_autocast_enabled("cpu") == able
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not computes_bfloat16(CPU)


@pytest.mark.gpu
@pytest.mark.parametrize("device", GPUS)
def test_a_gpu_computes(device: torch.device) -> None:
    with half_precision(device):
        assert torch.is_autocast_enabled(device.type) <= (device.type == "cuda")
        assert torch.ones(2, 2, device=device).mm(torch.ones(2, 2, device=device)).sum() == 8
