"""Loading PyTorch beside a window that is already drawn."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from napari_sam2_adapters.heap import use_huge_pages

__all__ = ["load_torch", "loading_modules"]

_LOCK, _LOADED = threading.Lock(), threading.Event()


def load_torch() -> None:
    """Load PyTorch so that it gets on with the window's graphics driver; call it first in every worker.

    Mesa's software and AMD drivers bring LLVM into the process, and so does Triton, which torchvision imports on Linux. Triton
    then calls Mesa's LLVM, which is of another version, and the program dies. Bound to its own symbols it does not.
    """
    with _LOCK, nullcontext() if _LOADED.is_set() else loading_modules():
        use_huge_pages()
        if sys.platform == "linux":
            _load_triton()
            _load_libraries_of_torch()
        import torch  # noqa: F401

        _LOADED.set()


def _load_triton() -> None:
    folder = _folder("triton")
    if folder is None:
        return
    flags = sys.getdlopenflags()
    _load_library(folder / "_C" / "libtriton.so", flags | os.RTLD_DEEPBIND)
    sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
    try:
        with suppress(ImportError):  # PyTorch does without a Triton that cannot be loaded
            import_module("triton")
    finally:
        sys.setdlopenflags(flags)


def _load_libraries_of_torch() -> None:
    """Load PyTorch's shared libraries while the window goes on.

    Python keeps its lock while it loads an extension module, so the window stood still for a second, and for three when nothing was in
    memory yet. They are loaded by name here, in the order and with the scopes that PyTorch gives them, and Python finds them there.
    """
    folder = _folder("torch")
    if folder is not None:
        _load_library(folder / "lib" / "libtorch_global_deps.so", os.RTLD_LAZY | os.RTLD_GLOBAL)
        _load_library(folder / "lib" / "libtorch.so", os.RTLD_LAZY)


def _folder(package: str) -> Path | None:
    """Where a package that is not imported yet lies; None when it is imported or not there."""
    spec = None if package in sys.modules else find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _load_library(path: Path, flags: int) -> None:
    """Load a shared library without Python's lock, which a call of a C function gives back; the import after it tells what is wrong with it."""
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = [ctypes.c_char_p, ctypes.c_int], ctypes.c_void_p
    dlopen(os.fsencode(path), flags)


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
