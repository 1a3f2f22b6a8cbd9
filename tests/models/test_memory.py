from __future__ import annotations

import gc
from functools import partial

import psutil
import pytest
import torch

from napari_sam2_adapters.models import memory
from napari_sam2_adapters.models.memory import (
    SHARE_VARIABLE,
    attempt,
    is_out_of_memory,
    memory_share,
    peak_bytes,
    plan_memory,
    usable_memory,
)

CPU = torch.device("cpu")
MIB = 2**20


def plan(monkeypatch, usable, *, per_pixel=100.0, sides=(448, 224, 128), most=8, held=0):
    monkeypatch.setattr(memory, "usable_memory", lambda device: usable)
    return plan_memory(
        "tile",
        CPU,
        sides=list(sides),
        most=most,
        bytes_of_one=None if per_pixel is None else lambda side: per_pixel * side**2,
        held_bytes=lambda side: held,
    )


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("any"),
        MemoryError(),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
    ],
)
def test_a_full_memory_is_known_and_survived(error) -> None:
    def fail():
        raise error

    assert is_out_of_memory(error)
    assert attempt(CPU, fail) is None


def test_another_error_is_no_full_memory() -> None:
    def fail():
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side"):
        attempt(CPU, fail)


def test_a_tensor_that_no_memory_holds_is_known() -> None:
    assert attempt(CPU, partial(torch.empty, 2**60, dtype=torch.uint8)) is None


def test_what_works_gives_its_result() -> None:
    assert attempt(CPU, lambda: 7) == 7


def test_the_peak_is_that_of_tensors_that_are_there_together() -> None:
    before = torch.ones(MIB)  # 4 MiB that were there already count nothing

    def work():
        first = before + 1
        second = first * 2  # both are needed here
        del first
        third = second.view(-1)[: MIB // 2] + 1  # a view is no new memory; half of it is
        return third.add_(1)

    assert peak_bytes(CPU, work) == 2 * 4 * MIB


def test_what_a_backward_pass_keeps_counts_too() -> None:
    weight = torch.ones(MIB, requires_grad=True)

    def work():
        x = weight
        for _ in range(5):
            x = x.sin()  # keeps its input
        x.sum().backward()
        weight.grad = None

    with torch.no_grad():
        without = peak_bytes(CPU, lambda: weight.sin().sin().sin())
    assert without == 2 * 4 * MIB
    assert 5 * 4 * MIB <= peak_bytes(CPU, work) <= 8 * 4 * MIB


@pytest.mark.parametrize("learning", [False, True])
def test_the_peak_of_a_network_grows_with_what_goes_through_it(tiny_segmenter, learning) -> None:
    segmenter = tiny_segmenter("hp")

    def work(count, side):
        with torch.set_grad_enabled(learning):
            logits = segmenter(torch.rand(count, 1, side, side))
            if learning:
                logits.square().mean().backward()
                segmenter.zero_grad(set_to_none=True)

    one = peak_bytes(CPU, partial(work, 1, 64))
    four = peak_bytes(CPU, partial(work, 4, 64))
    large = peak_bytes(CPU, partial(work, 1, 128))
    assert 2.2 * one < four < 4.4 * one
    assert large == pytest.approx(four, rel=0.35)
    gc.collect()
    assert peak_bytes(CPU, partial(work, 1, 64)) == one


def test_the_largest_batch_that_fits_is_taken(monkeypatch) -> None:
    one = 448 * 448 * 100 * 1.6
    found = plan(monkeypatch, int(3.5 * one))
    assert (found.side_px, found.at_once, found.fits, found.notice) == (448, 3, True, None)
    assert found.needed_bytes == pytest.approx(3 * one, abs=3)
    assert "3 tiles of 448 px at a time, about 0.10 GB of the 0.1 GB" in found.sentence
    assert plan(monkeypatch, 10**12).at_once == 8


def test_what_is_held_besides_is_taken_off(monkeypatch) -> None:
    one = 448 * 448 * 100 * 1.6
    assert plan(monkeypatch, int(3.5 * one), held=int(2 * one)).at_once == 1


def test_a_smaller_side_is_taken_where_not_one_fits(monkeypatch) -> None:
    found = plan(monkeypatch, 448 * 448 * 100)
    assert (found.side_px, found.at_once) == (224, 2)
    assert found.notice is not None
    assert "tiles of 224 px are taken" in found.notice


def test_the_smallest_is_tried_where_nothing_should_fit(monkeypatch) -> None:
    found = plan(monkeypatch, 0)
    assert (found.side_px, found.at_once, found.fits) == (128, 1, False)
    assert "more than the 0.00 GB" in found.sentence
    assert "tried all the same" in found.sentence


def test_without_a_measurement_one_of_the_wanted_side_is_tried(monkeypatch) -> None:
    found = plan(monkeypatch, 10**12, per_pixel=None)
    assert (found.side_px, found.at_once, found.notice) == (448, 1, None)
    assert "1 tile of 448 px at a time; 1000.0 GB" in found.sentence


def test_the_program_stays_below_its_share_of_the_main_memory(monkeypatch) -> None:
    total, own = psutil.virtual_memory().total, psutil.Process().memory_info().rss
    monkeypatch.setenv(SHARE_VARIABLE, "1")
    whole = usable_memory(CPU)
    assert 0 < whole <= total - own + 100 * MIB
    monkeypatch.setenv(SHARE_VARIABLE, str((own + 428 * MIB) / total))
    assert usable_memory(CPU) == pytest.approx(
        300 * MIB, abs=100 * MIB
    )  # the rest is for what is loaded later
    monkeypatch.setenv(SHARE_VARIABLE, str(own / total / 2))
    assert usable_memory(CPU) == 0


@pytest.mark.parametrize(
    ("group", "file"),
    [
        (None, "memory.max"),  # not Linux's own file system, as in some containers
        ("0::/", "memory.max"),  # a container
        ("0::/slurm/job_7/step_0", "memory.max"),
        ("0::/slurm/job_7/step_0", "slurm/job_7/memory.max"),
        (
            "3:cpu:/\n4:cpuset,memory:/slurm/job_7/step_0",
            "memory/slurm/job_7/memory.limit_in_bytes",
        ),
        ("4:memory:/docker/7", "memory/memory.limit_in_bytes"),  # seen from within
    ],
)
def test_the_limit_of_a_container_or_a_job_is_kept(monkeypatch, tmp_path, group, file) -> None:
    own = psutil.Process().memory_info().rss
    groups, limit = tmp_path / "cgroup", tmp_path / file
    if group is not None:
        groups.write_text(f"{group}\n")
    limit.parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN_GROUPS", groups)
    monkeypatch.setenv(SHARE_VARIABLE, "0.5")
    without = usable_memory(CPU)
    limit.write_text("max\n")
    assert usable_memory(CPU) == pytest.approx(without, abs=100 * MIB)
    limit.write_text(f"{2 * own + 656 * MIB}\n")
    assert usable_memory(CPU) == pytest.approx(200 * MIB, abs=100 * MIB)


@pytest.mark.parametrize("text", ["0", "1.2", "-1", "half", "nan"])
def test_a_share_that_is_none_is_refused(monkeypatch, text) -> None:
    monkeypatch.setenv(SHARE_VARIABLE, text)
    with pytest.raises(ValueError, match=r"number above 0 and up to 1, such as 0\.8, got"):
        memory_share()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_counts_for_itself() -> None:
    device = torch.device("cuda", 0)
    assert usable_memory(device) > 0
    peak = peak_bytes(device, lambda: torch.zeros(MIB, device=device) + 1)
    assert 8 * MIB <= peak <= 16 * MIB
    assert attempt(device, lambda: torch.empty(2**50, dtype=torch.uint8, device=device)) is None
