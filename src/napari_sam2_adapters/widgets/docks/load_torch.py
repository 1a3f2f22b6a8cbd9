"""Loading PyTorch beside a window that is already drawn."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec

__all__ = ["load_torch"]

_LOCK = threading.Lock()


def load_torch() -> None:
    """Load PyTorch so that it gets on with the window's graphics driver; call it first in every worker.

    Mesa's software and AMD drivers bring LLVM into the process, and so does Triton, which torchvision imports on Linux. Triton
    then calls Mesa's LLVM, which is of another version, and the program dies. Bound to its own symbols it does not.
    """
    with _LOCK:
        if sys.platform == "linux" and "triton" not in sys.modules and find_spec("triton"):
            flags = sys.getdlopenflags()
            sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
            try:
                with suppress(ImportError):  # PyTorch does without a Triton that cannot be loaded
                    import_module("triton")
            finally:
                sys.setdlopenflags(flags)
        import torch  # noqa: F401
