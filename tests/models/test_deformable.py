from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d

from napari_sam2_adapters.models.deformable import (
    deformable_convolution,
    deformable_convolution_portable,
)


def inputs(dtype: torch.dtype, reach: float, device: str = "cpu") -> list[Tensor]:
    """Image 7×5 with 6 channels, shifts with a standard deviation of ``reach`` px, mask, weight and bias."""
    g = torch.Generator().manual_seed(0)
    shapes = [(2, 6, 7, 5), (2, 18, 7, 5), (2, 9, 7, 5), (4, 6, 3, 3), (4,)]
    tensors = [torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes]
    tensors[1] *= reach
    tensors[2] = 2 * tensors[2].sigmoid()
    return [t.to(device, dtype).requires_grad_() for t in tensors]


def torchvisions(x: Tensor, offsets: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    result: Tensor = deform_conv2d(x, offsets, weight, bias, padding=1, mask=mask)
    return result


@pytest.mark.parametrize("gather", [False, True], ids=["grid_sample", "gather"])
@pytest.mark.parametrize(
    "reach", [0.3, 2.0, 8.0], ids=["within", "over the edge", "mostly outside"]
)
def test_portable_equals_torchvision_in_values_and_gradients(reach: float, gather: bool) -> None:
    ours, theirs = inputs(torch.float64, reach), inputs(torch.float64, reach)
    got = deformable_convolution_portable(*ours, gather=gather)
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


@pytest.mark.parametrize("gather", [False, True], ids=["grid_sample", "gather"])
def test_portable_is_within_float32_rounding(gather: bool) -> None:
    got = deformable_convolution_portable(*inputs(torch.float32, 2.0), gather=gather)
    torch.testing.assert_close(got, torchvisions(*inputs(torch.float32, 2.0)), rtol=0, atol=2e-4)


def test_the_cpu_samples_no_grid_but_what_is_compiled_does(monkeypatch: pytest.MonkeyPatch) -> None:
    sampled = []
    sample = F.grid_sample
    monkeypatch.setattr(F, "grid_sample", lambda *a, **k: (sampled.append(a), sample(*a, **k))[1])
    usual = deformable_convolution(*inputs(torch.float64, 2.0))
    assert not sampled
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(deformable_convolution(*inputs(torch.float64, 2.0)), usual)
    assert sampled


@pytest.mark.parametrize("gather", [False, True], ids=["grid_sample", "gather"])
@pytest.mark.parametrize("shift", [100, -100, 1e12])
def test_samples_that_lie_wholly_outside_are_zero(gather: bool, shift: float) -> None:
    x, offsets, mask, weight, bias = inputs(torch.float64, 0.0)
    got = deformable_convolution_portable(x, offsets + shift, mask, weight, bias, gather=gather)
    torch.testing.assert_close(got, bias.view(1, -1, 1, 1).expand_as(got))


def test_without_shifts_it_is_a_plain_convolution() -> None:
    x, _, _, weight, bias = inputs(torch.float64, 0.0)
    got = deformable_convolution(
        x, torch.zeros(2, 18, 7, 5).double(), torch.ones(2, 9, 7, 5).double(), weight, bias
    )
    torch.testing.assert_close(got, F.conv2d(x, weight, bias, padding=1))


def test_the_first_of_a_pair_of_shifts_points_down() -> None:
    x = torch.arange(35.0).view(1, 1, 7, 5)
    offsets = torch.zeros(1, 18, 7, 5)
    offsets[:, 8] = 1  # the centre tap (number 4), one pixel down
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1
    got = deformable_convolution(x, offsets, torch.ones(1, 9, 7, 5), weight, torch.zeros(1))
    torch.testing.assert_close(got[:, :, :-1], x[:, :, 1:])
    assert got[:, :, -1].abs().max() == 0


def test_the_form_without_grid_sample_uses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apple's GPUs have no backward of it."""
    monkeypatch.setattr(F, "grid_sample", lambda *_, **__: pytest.fail("grid_sample was called"))
    deformable_convolution_portable(*inputs(torch.float32, 2.0), gather=True).sum().backward()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU")
def test_apples_gpu_equals_portable_with_a_backward() -> None:
    ours, wanted = inputs(torch.float32, 2.0, "mps"), inputs(torch.float32, 2.0)
    got = deformable_convolution(*ours)
    torch.testing.assert_close(
        got.cpu(), deformable_convolution_portable(*wanted), rtol=0, atol=2e-3
    )
    got.sum().backward()
    assert all(t.grad is not None for t in ours)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_portable() -> None:
    got = deformable_convolution(*inputs(torch.float32, 2.0, "cuda"))
    wanted = deformable_convolution_portable(*inputs(torch.float32, 2.0))
    torch.testing.assert_close(got.cpu(), wanted, rtol=0, atol=2e-3)
