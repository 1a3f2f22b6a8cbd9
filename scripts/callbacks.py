"""How long calls of ours hold the GUI thread, by the clock: one is what Qt or napari calls until it returns."""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from inspect import CO_GENERATOR
from types import FunctionType, ModuleType
from typing import Any

CLOCKED = "napari_sam2_adapters.widgets"
NOTED_FROM_MS = 20.0


@dataclass(frozen=True)
class Callback:
    """A call from outside: the function, milliseconds, and how many of them the GUI thread computed."""

    name: str
    ms: float
    computed_ms: float


class CallbackClock(MetaPathFinder):
    """Clocks the outermost calls of functions and methods of the widgets, on the thread that makes the clock.

    A profiler slows what it watches, napari above all. Here only functions of ours are wrapped, when their modules are loaded; so make the
    clock before any of them is. What is nested in a function, such as a lambda, is clocked from the first of our functions that it calls.
    """

    def __init__(self) -> None:
        loaded = [name for name in sys.modules if name.startswith(CLOCKED)]
        if loaded:
            raise RuntimeError(f"Make the clock before {loaded[0]} is imported.")
        self.callbacks: list[Callback] = []
        self.running = False
        self._thread = threading.current_thread()
        self._inside = False
        sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module of ours, to be wrapped as soon as it is loaded."""
        if not name.startswith(CLOCKED):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _WrappingLoader(spec.loader, self._wrap)
        return spec

    def report(self) -> str:
        """The longest call of each function, the five longest of them."""
        longest: dict[str, Callback] = {}
        for call in sorted(self.callbacks, key=lambda call: call.ms):
            longest[call.name] = call
        return "\n".join(
            f"  callback: {call.ms:.0f} ms, {call.computed_ms:.0f} of them computing, {call.name}"
            for call in sorted(longest.values(), key=lambda call: -call.ms)[:5]
        )

    def longest_ms(self) -> float:
        """Of all calls that took at least 20 ms; 0 when none did."""
        return max((call.ms for call in self.callbacks), default=0.0)

    def _wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def clocked(*arguments: Any, **options: Any) -> Any:
            inner = self._inside or threading.current_thread() is not self._thread
            if inner or not self.running:
                return function(*arguments, **options)
            self._inside = True
            begun, computed = time.perf_counter(), time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                self._inside = False
                ms = (time.perf_counter() - begun) * 1000
                if ms >= NOTED_FROM_MS:
                    name = (
                        f"{function.__module__.removeprefix(CLOCKED + '.')}:{function.__qualname__}"
                    )
                    self.callbacks.append(
                        Callback(name, ms, (time.thread_time() - computed) * 1000)
                    )

        return clocked


class _WrappingLoader(Loader):
    """Loads a module as its own loader does, then wraps its functions and the methods of its classes."""

    def __init__(self, loader: Loader, wrap: Callable[[Callable[..., Any]], Any]) -> None:
        self._loader, self._wrap = loader, wrap

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        own = [value for value in vars(module).values() if _is_of(value, module)]
        for owner in (module, *(value for value in own if isinstance(value, type))):
            for name, value in list(vars(owner).items()):
                if _is_plain(value) and _is_of(value, module):
                    setattr(owner, name, self._wrap(value))


def _is_plain(value: object) -> bool:
    """Whether it is a function that is done when it returns, as one with ``yield`` is not."""
    return isinstance(value, FunctionType) and not value.__code__.co_flags & CO_GENERATOR


def _is_of(value: object, module: ModuleType) -> bool:
    return getattr(value, "__module__", None) == module.__name__
