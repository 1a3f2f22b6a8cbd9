"""Loading PyTorch beside a window that is already drawn."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from importlib.util import find_spec

__all__ = ["load_torch", "loading_modules"]

_LOCK, _LOADED = threading.Lock(), threading.Event()


def load_torch() -> None:
    """Load PyTorch so that it gets on with the window's graphics driver; call it first in every worker.

    Mesa's software and AMD drivers bring LLVM into the process, and so does Triton, which torchvision imports on Linux. Triton
    then calls Mesa's LLVM, which is of another version, and the program dies. Bound to its own symbols it does not.
    """
    with _LOCK, nullcontext() if _LOADED.is_set() else loading_modules():
        if sys.platform == "linux" and "triton" not in sys.modules and find_spec("triton"):
            flags = sys.getdlopenflags()
            sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
            try:
                with suppress(ImportError):  # PyTorch does without a Triton that cannot be loaded
                    import_module("triton")
            finally:
                sys.setdlopenflags(flags)
        import torch  # noqa: F401

        _LOADED.set()


@contextmanager
def loading_modules() -> Iterator[None]:
    """Keep Python's garbage collector out of a part that loads many modules.

    A full collection holds up all threads, the window's too, and takes half a second with PyTorch loaded on a slow machine. Modules that
    are loaded bring it on again and again, though they hold no garbage: they join the oldest objects here without being gone through.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # else somebody froze objects to keep them so
            gc.freeze()
            gc.unfreeze()
        if collecting:
            gc.enable()
