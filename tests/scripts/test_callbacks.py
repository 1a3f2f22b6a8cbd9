"""The clock around functions of the widgets counts a call from outside once, and only on its thread."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import threading
import callbacks

callbacks.NOTED_FROM_MS = 0.0
clock = callbacks.CallbackClock()
from napari_sam2_adapters.widgets.docks import arrays, words

words.duration(5)
clock.running = True
made = arrays.new_label_array((4, 4), "uint8")  # calls others of ours
assert made.shape == (4, 4)
assert words.file_size(2e6) == "2.0 MB"
other = threading.Thread(target=words.duration, args=(5,))
other.start()
other.join()
clock.running = False
words.duration(5)
print([call.name for call in clock.callbacks])
print(clock.longest_ms() == max(call.ms for call in clock.callbacks))
print(clock.report().count("callback:"))
try:
    callbacks.CallbackClock()
except RuntimeError as error:
    print(error)
"""


def test_calls_from_outside_are_clocked_once() -> None:
    scripts = Path(__file__).parents[2] / "scripts"
    paths = [str(scripts), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )
    names, longest, reported, refused = done.stdout.splitlines() or [done.stderr] * 4
    assert names == "['docks.arrays:new_label_array', 'docks.words:file_size']"
    assert (longest, reported) == ("True", "2")
    assert refused.startswith("Make the clock before napari_sam2_adapters.widgets")
