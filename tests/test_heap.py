"""What glibc keeps of freed memory, seen from processes of their own."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other libraries keep what they like"
)


def run(script: str, *arguments: str, **variables: str) -> str:
    """What a script prints with these variables and none besides that concern the heap."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_", "THP_"))
    }
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(
        command, env=environment | variables, capture_output=True, encoding="utf-8", check=True
    ).stdout


def test_freed_memory_is_there_for_the_next_pass() -> None:
    script = """
import resource, torch
from napari_sam2_adapters.heap import keep_freed_memory
keep_freed_memory()
def fill():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    large = [torch.ones(4_000_000) for _ in range(3)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(*[fill() for _ in range(8)])
"""
    first, *again = (int(number) for number in run(script).split())
    assert first > 10_000  # 4 kB each
    # After a warm-up; the system takes a page now and then when others need it.
    assert min(again) < 100


THREADS = """
import sys, threading
import numpy as np, psutil
from napari_sam2_adapters.heap import keep_freed_memory, share_one_heap
if sys.argv[1] == "one":
    share_one_heap()
keep_freed_memory()
begin, end = (threading.Barrier(5) for _ in range(2))
def work(turn):
    begin.wait()
    for number in range(4):
        if number == turn:
            np.ones(2**24, np.uint8)
        end.wait()
before = psutil.Process().memory_info().rss
threads = [threading.Thread(target=work, args=(turn,)) for turn in range(4)]
for thread in threads:
    thread.start()
begin.wait()
for _ in threads:
    end.wait()
print((psutil.Process().memory_info().rss - before) / 2**20)
for thread in threads:
    thread.join()
"""


def test_threads_leave_freed_memory_to_each_other() -> None:
    """Four of them fill 16 MiB each, one after the other."""
    assert float(run(THREADS, "own")) > 56
    assert float(run(THREADS, "one")) < 24
    assert float(run(THREADS, "one", MALLOC_ARENA_MAX="8")) > 56, "the user's own number stays"


HUGE = """
import sys, torch
from pathlib import Path
from napari_sam2_adapters.heap import use_huge_pages
if sys.argv[1] == "huge":
    use_huge_pages()
large = torch.ones(2**24)
told = Path("/proc/self/smaps_rollup").read_text().splitlines()
print(next(line.split()[1] for line in told if line.startswith("AnonHugePages")))
"""


def test_large_arrays_lie_in_huge_pages() -> None:
    """64 MiB of one array, less what lies before and behind its first and last whole page."""
    said = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not said.is_file() or "[madvise]" not in said.read_text():
        pytest.skip("this kernel gives huge pages to all or to none")
    assert int(run(HUGE, "huge", THP_MEM_ALLOC_ENABLE="0")) == 0, "the user's own choice stays"
    assert int(run(HUGE, "plain")) == 0
    assert int(run(HUGE, "huge")) > 48 * 1024
