from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from napari_sam2_adapters.models.deformable import deformable_convolution_portable
from napari_sam2_adapters.models.deformable_rows import deformable_convolution_by_rows

Inputs = Callable[..., list[Tensor]]


REACHES = pytest.mark.parametrize(
    "reach", [0.3, 2.0, 8.0], ids=["within", "over the edge", "mostly outside"]
)
MEMORY = pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])


@REACHES
@MEMORY
def test_without_gradients_it_is_the_same(
    deformable_inputs: Inputs, reach: float, memory: torch.memory_format
) -> None:
    *maps, bias = deformable_inputs(torch.float64, reach)
    given = [t.detach().contiguous(memory_format=memory) for t in maps]
    with torch.no_grad():
        got = deformable_convolution_by_rows(*given, bias)
    torch.testing.assert_close(got, deformable_convolution_by_rows(*maps, bias), rtol=0, atol=1e-10)


@REACHES
@MEMORY
def test_values_and_gradients_equal_torchvisions(
    equals_torchvision: Callable[..., None], reach: float, memory: torch.memory_format
) -> None:
    def convolution(*given: Tensor) -> Tensor:
        *maps, bias = given
        return deformable_convolution_by_rows(
            *(t.contiguous(memory_format=memory) for t in maps), bias
        )

    equals_torchvision(convolution, reach)


def test_float32_gradients_are_within_rounding_of_the_portable_form(
    deformable_inputs: Inputs,
) -> None:
    ours, theirs = deformable_inputs(torch.float32, 2.0), deformable_inputs(torch.float32, 2.0)
    deformable_convolution_by_rows(*ours).square().sum().backward()
    deformable_convolution_portable(*theirs).square().sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-4 * float(b.grad.abs().max()))


def test_the_gradient_is_the_same_each_time(deformable_inputs: Inputs) -> None:
    def gradients() -> list[Tensor]:
        given = deformable_inputs(torch.float32, 2.0)
        deformable_convolution_by_rows(*given).square().sum().backward()
        return [t.grad for t in given if t.grad is not None]

    for a, b in zip(gradients(), gradients(), strict=True):
        assert torch.equal(a, b)


def test_only_what_learns_gets_a_gradient(deformable_inputs: Inputs) -> None:
    x, offsets, mask, weight, bias = deformable_inputs(torch.float32, 0.3)
    frozen = [t.detach() for t in (offsets, mask, weight, bias)]
    deformable_convolution_by_rows(x, *frozen).sum().backward()
    assert x.grad is not None
    assert all(t.grad is None for t in frozen)


def test_a_position_that_is_no_number_spoils_its_pixel_alone(deformable_inputs: Inputs) -> None:
    x, offsets, mask, weight, bias = (t.detach() for t in deformable_inputs(torch.float32, 2.0))
    wanted = deformable_convolution_by_rows(x, offsets, mask, weight, bias)
    offsets[1, 3, 2, 2] = torch.nan
    got = deformable_convolution_by_rows(x, offsets, mask, weight, bias)
    assert got[1, :, 2, 2].isnan().all()
    got[1, :, 2, 2] = wanted[1, :, 2, 2]
    torch.testing.assert_close(got, wanted)


def test_training_says_nothing_of_betas() -> None:
    """PyTorch tells of its sparse matrices once a process, so it takes a new one."""
    code = (
        "import torch\n"
        "from napari_sam2_adapters.models.deformable_rows import deformable_convolution_by_rows as c\n"
        "x = torch.rand(1, 2, 4, 4, requires_grad=True)\n"
        "zeros = [torch.zeros(1, n, 4, 4) for n in (18, 9)]\n"
        "c(x, *zeros, torch.rand(2, 2, 3, 3), torch.zeros(2)).sum().backward()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert not done.stderr
