"""A graphics card that is simulated: tensors that say ``cuda:0`` and refuse to be mixed with others, computed by the CPU.

With it everything that moves between devices runs on machines without a card, and what a card computes can be compared with what the CPU does. It says
nothing of speed, streams or CUDA's own kernels. Memory is that of `FREE_BYTES`; what is full raises `torch.OutOfMemoryError` where a test says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["CARD", "FREE_BYTES", "CardTensor", "simulated_card"]

CARD = torch.device("cuda", 0)
FREE_BYTES, TOTAL_BYTES = 64 << 30, 80 << 30

_aten = torch.ops.aten
_MAY_MIX = {
    _aten.copy_.default,
    _aten._to_copy.default,
    _aten.index.Tensor,
    _aten.index_put_.default,
    _aten.index_put.default,
    _aten._index_put_impl_.default,
}
"""What CUDA takes tensors of both devices for."""


class _Calls(threading.local):
    depth = 0


_within = _Calls()
"""How many functions of torch with tensors of the card are being computed: what they make inside is on the card."""


class CardTensor(torch.Tensor):
    """A tensor on the simulated card.

    To torch's own C++ it is one of the CPU, for autograd wants CUDA's driver otherwise; in Python it is on the card.
    """

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> CardTensor:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device="cpu",
        )

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    device = property(lambda _: CARD)
    is_cuda = property(lambda _: True)
    is_cpu = property(lambda _: False)

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is torch.Tensor.to and not isinstance(args[0], CardTensor):  # x.to(another)
            return args[0].to(CARD, args[1].dtype, *args[2:], **(kwargs or {}))
        _within.depth += 1
        try:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        finally:
            _within.depth -= 1

    @classmethod
    def __torch_dispatch__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _compute(func, args, kwargs or {})

    def to(self, *args: Any, copy: bool = False, **kwargs: Any) -> torch.Tensor:
        """Stay here with another dtype or order in memory, or come to the CPU."""
        if args and isinstance(args[0], torch.Tensor):
            args = (args[0].device, args[0].dtype, *args[1:])
        device, dtype, _, memory_format = torch._C._nn._parse_to(*args, **kwargs)
        more = {} if memory_format is None else {"memory_format": memory_format}
        if device is None or device.type == "cuda":
            return super().to(dtype=dtype or self.dtype, copy=copy, **more)
        if self.requires_grad and torch.is_grad_enabled():
            raise NotImplementedError("The simulated card does not differentiate what is fetched.")
        return self.detach().inner.to(dtype=dtype, copy=True, **more)

    def cpu(self) -> torch.Tensor:
        """Come to the CPU."""
        return self.to("cpu")

    def new_tensor(self, data: Any, *, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Make one here."""
        return torch.tensor(data, dtype=dtype or self.dtype).to(CARD)

    def numpy(self, **_: Any) -> Any:
        """As CUDA's tensors: not at all."""
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def __repr__(self) -> str:
        return f"CardTensor({self.inner})"


def _compute(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation, by the CPU, on the device that its arguments say."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    here = [tensor for tensor in tensors if isinstance(tensor, CardTensor)]
    # numbers, which have no axes, may come from the CPU
    others = [t for t in tensors if not isinstance(t, CardTensor) and t.dim()]
    if here and others and func not in _MAY_MIX:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! ({func})"
        )
    wanted = kwargs.get("device")
    if func is _aten.copy_.default:
        on_card = isinstance(args[0], CardTensor)
    elif not tensors and _within.depth:
        on_card = True
    else:
        on_card = bool(here) or (wanted is not None and torch.device(wanted).type == "cuda")
    if wanted is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    plain_args, plain_kwargs = tree_map(_plain, (args, kwargs))
    result = func(*plain_args, **plain_kwargs)
    if not on_card:
        return result
    result = tree_map(_on_card, result)
    return return_and_correct_aliasing(func, args, kwargs, result) if here else result


def _plain(value: Any) -> Any:
    return value.inner if isinstance(value, CardTensor) else value


def _on_card(value: Any) -> Any:
    return CardTensor(value) if isinstance(value, torch.Tensor) else value


class _Card(TorchDispatchMode):
    """Takes what is uploaded to the card or made on it; each thread needs its own."""

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _compute(func, args, kwargs or {})


class _Generator(torch.Generator):
    def __new__(cls, device: Any = "cpu") -> _Generator:
        return super().__new__(cls, "cpu")


def _by_cpu(device_type: str) -> str:
    return "cpu" if device_type == "cuda" else device_type


class _Autocast(torch.autocast):
    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(_by_cpu(device_type), *args, **kwargs)


def _no_gradients(mode: bool = True) -> AbstractContextManager[Any]:
    return torch.no_grad() if mode else nullcontext()


_CUDA: dict[str, Callable[..., Any]] = {
    "_lazy_init": lambda: None,
    "current_device": lambda: 0,
    "device": lambda *_: nullcontext(),
    "device_count": lambda: 1,
    "empty_cache": lambda: None,
    "get_device_name": lambda *_: "a simulated card",
    "get_rng_state": lambda *_: torch.zeros(8, dtype=torch.uint8),
    "is_available": lambda: True,
    "is_bf16_supported": lambda *_, **__: True,
    "is_current_stream_capturing": lambda: False,
    "manual_seed": lambda _: None,
    "max_memory_allocated": lambda *_: 100 << 20,
    "mem_get_info": lambda *_: (FREE_BYTES, TOTAL_BYTES),
    "memory_allocated": lambda *_: 0,
    "memory_reserved": lambda *_: 0,
    "reset_peak_memory_stats": lambda *_: None,
    "set_rng_state": lambda *_: None,
    "synchronize": lambda *_: None,
}


@contextmanager
def simulated_card() -> Iterator[torch.device]:
    """Have a card as long as the context lasts; gives its device."""
    run_thread, autocast_is_enabled = threading.Thread.run, torch.is_autocast_enabled

    def run_with_card(thread: threading.Thread) -> None:
        with _Card():
            run_thread(thread)

    capturing_nothing = mock.Mock(is_capturing=lambda: False)
    places: list[tuple[Any, str, Any]] = [
        *((torch.cuda, name, stand_in) for name, stand_in in _CUDA.items()),
        (torch, "Generator", _Generator),
        (torch, "autocast", _Autocast),
        (torch, "inference_mode", _no_gradients),  # whose tensors no subclass can have views of
        (torch, "is_autocast_enabled", lambda *d: autocast_is_enabled(*map(_by_cpu, d))),
        (torch.accelerator, "current_stream", lambda *_: capturing_nothing),
        (threading.Thread, "run", run_with_card),
    ]
    future = torch.__future__
    with ExitStack() as stack:
        for owner, name, stand_in in places:
            stack.enter_context(mock.patch.object(owner, name, stand_in))
        # a parameter stays the same object when it is moved, as those of real devices do
        before = future.get_swap_module_params_on_conversion()
        future.set_swap_module_params_on_conversion(True)
        stack.callback(future.set_swap_module_params_on_conversion, before)
        stack.enter_context(_Card())
        yield CARD
