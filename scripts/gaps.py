"""How long the window does not answer."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import psutil
from qtpy.QtCore import QTimer

TICK_MS = 5


@dataclass(frozen=True)
class Gap:
    """A time without an answer: milliseconds, and how many of them the GUI thread computed.

    Where it computed much less than it took, it waited: for Python's lock, for a file, or for other programs on this machine. A gap is
    longer than our callback in it by what Qt and napari do before they look at the clock again: draw what has changed, above all. How
    long callbacks take tells ``callbacks.py``.
    """

    ms: float
    computed_ms: float


class GapWatch:
    """Measures the gaps between turns of the event loop."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self._last, self._computed = time.perf_counter(), time.thread_time()
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._begun, self._others = (0.0, 0.0, 0.0), 0.0

    def start(self) -> None:
        """Begin anew."""
        self.gaps.clear()
        self._begun = _clocks()
        self.skip()
        self._timer.start(TICK_MS)

    def skip(self) -> None:
        """Do not count what has passed since the last turn."""
        self._last, self._computed = time.perf_counter(), time.thread_time()

    def stop(self) -> None:
        """Stop looking."""
        self._others = _since(self._begun)
        self._timer.stop()

    def report(self) -> str:
        """95 % and worst of all gaps, and how busy others kept this machine."""
        if not self.gaps:
            return "the event loop was not watched"
        worst = max(self.gaps, key=lambda gap: gap.ms)
        return (
            f"event loop: 95 % of {len(self.gaps)} gaps ≤ {self.percentile_ms(95):.0f} ms, "
            f"worst {worst.ms:.0f} ms, {worst.computed_ms:.0f} of them computing\n"
            f"  meanwhile other programs, the X server among them, kept {self._others:.0%} of the processors busy"
        )

    def percentile_ms(self, share: float) -> float:
        """Length that this share of the gaps does not exceed, in per cent."""
        return float(np.percentile([gap.ms for gap in self.gaps], share))

    def _tick(self) -> None:
        now, computed = time.perf_counter(), time.thread_time()
        self.gaps.append(Gap((now - self._last) * 1000, (computed - self._computed) * 1000))
        self._last, self._computed = now, computed


def _clocks() -> tuple[float, float, float]:
    """Seconds of the clock, seconds that all processors were busy, and seconds that this program took of them."""
    every, own = psutil.cpu_times(), psutil.Process().cpu_times()
    busy = sum(every) - every.idle - getattr(every, "iowait", 0.0)
    return time.perf_counter(), busy, own.user + own.system


def _since(begun: tuple[float, float, float]) -> float:
    """Share of the processors, 0 to 1, that others had since then."""
    clock, busy, own = (now - then for now, then in zip(_clocks(), begun, strict=True))
    return max(0.0, busy - own) / (clock * (psutil.cpu_count() or 1))
