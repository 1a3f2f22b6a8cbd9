from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d

from napari_sam2_adapters.models.deformable import (
    deformable_convolution,
    deformable_convolution_portable,
)

Inputs = Callable[..., list[Tensor]]


@pytest.mark.parametrize("gather", [False, True], ids=["grid_sample", "gather"])
@pytest.mark.parametrize(
    "reach", [0.3, 2.0, 8.0], ids=["within", "over the edge", "mostly outside"]
)
def test_portable_equals_torchvision_in_values_and_gradients(
    equals_torchvision: Callable[..., None], reach: float, gather: bool
) -> None:
    equals_torchvision(partial(deformable_convolution_portable, gather=gather), reach)


@pytest.mark.parametrize("gather", [False, True], ids=["grid_sample", "gather"])
def test_portable_is_within_float32_rounding(deformable_inputs: Inputs, gather: bool) -> None:
    x, offsets, mask, weight, bias = deformable_inputs(torch.float32, 2.0)
    got = deformable_convolution_portable(x, offsets, mask, weight, bias, gather=gather)
    wanted = deform_conv2d(x, offsets, weight, bias, padding=1, mask=mask)
    torch.testing.assert_close(got, wanted, rtol=0, atol=2e-4)


def test_the_cpu_samples_no_grid_but_what_is_compiled_does(
    deformable_inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled = []
    sample = F.grid_sample
    monkeypatch.setattr(F, "grid_sample", lambda *a, **k: (sampled.append(a), sample(*a, **k))[1])
    usual = deformable_convolution(*deformable_inputs(torch.float64, 2.0))
    assert not sampled
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(
        deformable_convolution(*deformable_inputs(torch.float64, 2.0)), usual
    )
    assert sampled


@pytest.mark.parametrize("gather", [False, True], ids=["grid_sample", "gather"])
@pytest.mark.parametrize("shift", [100, -100, 1e12])
def test_samples_that_lie_wholly_outside_are_zero(
    deformable_inputs: Inputs, gather: bool, shift: float
) -> None:
    x, offsets, mask, weight, bias = deformable_inputs(torch.float64, 0.0)
    got = deformable_convolution_portable(x, offsets + shift, mask, weight, bias, gather=gather)
    torch.testing.assert_close(got, bias.view(1, -1, 1, 1).expand_as(got))


def test_without_shifts_it_is_a_plain_convolution(deformable_inputs: Inputs) -> None:
    x, _, _, weight, bias = deformable_inputs(torch.float64, 0.0)
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


def test_the_form_without_grid_sample_uses_none(
    deformable_inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apple's GPUs have no backward of it."""
    monkeypatch.setattr(F, "grid_sample", lambda *_, **__: pytest.fail("grid_sample was called"))
    deformable_convolution_portable(
        *deformable_inputs(torch.float32, 2.0), gather=True
    ).sum().backward()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU")
def test_apples_gpu_equals_portable_with_a_backward(deformable_inputs: Inputs) -> None:
    ours, wanted = (
        deformable_inputs(torch.float32, 2.0, "mps"),
        deformable_inputs(torch.float32, 2.0),
    )
    got = deformable_convolution(*ours)
    torch.testing.assert_close(
        got.cpu(), deformable_convolution_portable(*wanted), rtol=0, atol=2e-3
    )
    got.sum().backward()
    assert all(t.grad is not None for t in ours)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_portable(deformable_inputs: Inputs) -> None:
    got = deformable_convolution(*deformable_inputs(torch.float32, 2.0, "cuda"))
    wanted = deformable_convolution_portable(*deformable_inputs(torch.float32, 2.0))
    torch.testing.assert_close(got.cpu(), wanted, rtol=0, atol=2e-3)
