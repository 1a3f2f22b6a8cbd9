"""Modules are loaded without stopping all threads for a search of garbage."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref

import pytest

from napari_sam2_adapters.widgets.docks.load_torch import load_torch, loading_modules


class Ring:
    """Holds itself, so that only the collector frees it."""

    def __init__(self) -> None:
        self.own = self


def test_nothing_is_searched_for_garbage_while_modules_are_loaded() -> None:
    searched = []

    def note(phase: str, info: dict[str, int]) -> None:
        searched.append(info["generation"])

    gc.callbacks.append(note)
    try:
        with loading_modules():
            with loading_modules():
                kept = [[number] for number in range(100_000)]
            assert not gc.isenabled()
        assert searched == []
    finally:
        gc.callbacks.remove(note)
    assert gc.isenabled()
    assert any(one is kept for one in gc.get_objects(generation=2))


def test_what_is_garbage_afterwards_is_still_found() -> None:
    with loading_modules():
        ring = Ring()
    gone = weakref.ref(ring)
    del ring
    gc.collect()
    assert gone() is None
    assert gc.get_freeze_count() == 0


def test_threads_that_load_at_once_leave_the_collector_on() -> None:
    threads = [threading.Thread(target=load_torch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gc.isenabled()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Python's import loads them")
def test_libraries_are_loaded_before_python_keeps_its_lock_for_them() -> None:
    script = """
import sys
from pathlib import Path
from napari_sam2_adapters.widgets.docks.load_torch import load_torch

class Watch:
    loaded = None
    def find_spec(self, name, path=None, target=None):
        if name == "torch._C":
            self.loaded = Path("/proc/self/maps").read_text()

watch = Watch()
sys.meta_path.insert(0, watch)
load_torch()
import torch
assert "libtorch_cpu.so" in watch.loaded, "loaded by the import"
assert torch.ones(2).sum() == 2
print("PyTorch works")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.split() == ["PyTorch", "works"], done.stderr
