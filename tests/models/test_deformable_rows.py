from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torchvision.ops import deform_conv2d

from napari_sam2_adapters.models.deformable import deformable_convolution_portable
from napari_sam2_adapters.models.deformable_rows import deformable_convolution_by_rows


def inputs(dtype: torch.dtype, reach: float) -> list[Tensor]:
    """Image 7×5 with 6 channels, shifts with a standard deviation of ``reach`` px, mask, weight and bias."""
    g = torch.Generator().manual_seed(0)
    shapes = [(2, 6, 7, 5), (2, 18, 7, 5), (2, 9, 7, 5), (4, 6, 3, 3), (4,)]
    tensors = [torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes]
    tensors[1] *= reach
    tensors[2] = 2 * tensors[2].sigmoid()
    return [t.to(dtype).requires_grad_() for t in tensors]


def torchvisions(x: Tensor, offsets: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    result: Tensor = deform_conv2d(x, offsets, weight, bias, padding=1, mask=mask)
    return result


REACHES = pytest.mark.parametrize(
    "reach", [0.3, 2.0, 8.0], ids=["within", "over the edge", "mostly outside"]
)
MEMORY = pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])


@REACHES
@MEMORY
def test_without_gradients_it_equals_torchvision(reach: float, memory: torch.memory_format) -> None:
    *maps, bias = inputs(torch.float64, reach)
    given = [t.detach().contiguous(memory_format=memory) for t in maps]
    with torch.no_grad():
        got = deformable_convolution_by_rows(*given, bias)
    torch.testing.assert_close(got, torchvisions(*maps, bias), rtol=0, atol=1e-10)


@REACHES
@MEMORY
def test_values_and_gradients_equal_torchvisions(reach: float, memory: torch.memory_format) -> None:
    ours, theirs = inputs(torch.float64, reach), inputs(torch.float64, reach)
    *maps, bias = ours
    got = deformable_convolution_by_rows(*(t.contiguous(memory_format=memory) for t in maps), bias)
    wanted = torchvisions(*theirs)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10)

    towards = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1)).double()
    got.backward(towards)
    wanted.backward(towards)
    for name, a, b in zip(("x", "offsets", "mask", "weight", "bias"), ours, theirs, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert b.grad.abs().max() > 0, name
        torch.testing.assert_close(
            a.grad, b.grad, rtol=0, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_float32_gradients_are_within_rounding_of_the_portable_form() -> None:
    ours, theirs = inputs(torch.float32, 2.0), inputs(torch.float32, 2.0)
    deformable_convolution_by_rows(*ours).square().sum().backward()
    deformable_convolution_portable(*theirs).square().sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-4 * float(b.grad.abs().max()))


def test_the_gradient_is_the_same_each_time() -> None:
    def gradients() -> list[Tensor]:
        given = inputs(torch.float32, 2.0)
        deformable_convolution_by_rows(*given).square().sum().backward()
        return [t.grad for t in given if t.grad is not None]

    for a, b in zip(gradients(), gradients(), strict=True):
        assert torch.equal(a, b)


def test_only_what_learns_gets_a_gradient() -> None:
    x, offsets, mask, weight, bias = inputs(torch.float32, 0.3)
    frozen = [t.detach() for t in (offsets, mask, weight, bias)]
    deformable_convolution_by_rows(x, *frozen).sum().backward()
    assert x.grad is not None
    assert all(t.grad is None for t in frozen)


def test_a_position_that_is_no_number_spoils_its_pixel_alone() -> None:
    x, offsets, mask, weight, bias = (t.detach() for t in inputs(torch.float32, 2.0))
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
