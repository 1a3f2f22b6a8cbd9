"""How long the window does not answer, and whose code it waits for."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
import psutil
from qtpy.QtCore import QTimer

TICK_MS = 5
SAMPLED_AFTER_MS = 20
PACKAGE = "napari_sam2_adapters"


@dataclass(frozen=True)
class Gap:
    """A time without an answer: milliseconds, how many of them the GUI thread computed, in which function, and how many a callback of ours took.

    The function is one of ours if one was on the stack. Where the GUI thread computed much less than it took, it waited: for Python's
    lock, for a file, or for other programs on this machine. A gap is longer than our callback in it by what Qt and napari do before they
    look at the clock again: draw what has changed, above all.
    """

    ms: float
    computed_ms: float
    culprit: str
    ours_ms: float

    @property
    def ours(self) -> bool:
        """Whether a callback of ours ran in it."""
        return self.ours_ms > 0


class GapWatch:
    """Counts the gaps between turns of the event loop, and looks at the GUI thread while one lasts."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self._main = threading.main_thread().ident
        self._last, self._computed = time.perf_counter(), time.thread_time()
        self._seen: Counter[tuple[str, bool]] = Counter()
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._running = False
        self._begun, self._others = (0.0, 0.0, 0.0), 0.0

    def start(self) -> None:
        """Begin anew."""
        self.gaps.clear()
        self._running = True
        self._begun = _clocks()
        self.skip()
        self._timer.start(TICK_MS)
        threading.Thread(target=self._look, daemon=True).start()

    def skip(self) -> None:
        """Do not count what has passed since the last turn."""
        self._last, self._computed = time.perf_counter(), time.thread_time()
        self._seen = Counter()

    def stop(self) -> None:
        """Stop looking."""
        self._running = False
        self._others = _since(self._begun)
        self._timer.stop()

    def report(self) -> str:
        """95 % and worst of all gaps, and the worst of ours by name."""
        if not self.gaps:
            return "the event loop was not watched"
        lengths = np.array([gap.ms for gap in self.gaps])
        lines = [
            f"event loop: 95 % of {len(lengths)} gaps ≤ {np.percentile(lengths, 95):.0f} ms, worst {lengths.max():.0f} ms",
            f"  meanwhile other programs, the X server among them, kept {self._others:.0%} of the processors busy",
        ]
        worst: dict[str, Gap] = {}
        for gap in sorted(self.gaps, key=lambda gap: (gap.ours_ms, gap.ms)):
            if gap.culprit:
                worst[gap.culprit] = gap
        for ours, title in ((True, "slowest of ours"), (False, "slowest of others")):
            named = sorted(
                (g for g in worst.values() if g.ours is ours),
                key=lambda gap: (-gap.ours_ms, -gap.ms),
            )
            lines += [
                f"  {title}: {gap.ms:.0f} ms, {gap.computed_ms:.0f} of them computing, {gap.ours_ms:.0f} in a callback of ours, {gap.culprit}"
                for gap in named[:5]
            ]
        return "\n".join(lines)

    def worst_of_ours_ms(self) -> float:
        """The longest time that a callback of ours held the GUI thread, by samples of its stack."""
        return max((gap.ours_ms for gap in self.gaps), default=0.0)

    def percentile_ms(self, share: float) -> float:
        """Length that this share of the gaps does not exceed, in per cent."""
        return float(np.percentile([gap.ms for gap in self.gaps], share))

    def _tick(self) -> None:
        now = time.perf_counter()
        gap = (now - self._last) * 1000
        seen, self._seen, self._last = self._seen, Counter(), now
        of_ours = Counter({name: times for (name, ours), times in seen.items() if ours})
        culprits = of_ours or Counter({name: times for (name, _), times in seen.items()})
        share = of_ours.total() / max(1, seen.total())
        computed = time.thread_time()
        name = culprits.most_common(1)[0][0] if culprits else ""
        self.gaps.append(Gap(gap, (computed - self._computed) * 1000, name, share * gap))
        self._computed = computed

    def _look(self) -> None:
        """Note, from a thread of its own, where the GUI thread is while it does not answer."""
        while self._running:
            time.sleep(TICK_MS / 1000)
            if (time.perf_counter() - self._last) * 1000 < SAMPLED_AFTER_MS:
                continue
            frame = sys._current_frames().get(self._main)
            if frame is not None:
                self._seen[_culprit(frame)] += 1


def _clocks() -> tuple[float, float, float]:
    """Seconds of the clock, seconds that all processors were busy, and seconds that this program took of them."""
    every, own = psutil.cpu_times(), psutil.Process().cpu_times()
    busy = sum(every) - every.idle - getattr(every, "iowait", 0.0)
    return time.perf_counter(), busy, own.user + own.system


def _since(begun: tuple[float, float, float]) -> float:
    """Share of the processors, 0 to 1, that others had since then."""
    clock, busy, own = (now - then for now, then in zip(_clocks(), begun, strict=True))
    return max(0.0, busy - own) / (clock * (psutil.cpu_count() or 1))


def _culprit(frame: FrameType | None) -> tuple[str, bool]:
    """The innermost function of ours on a stack, else the innermost function."""
    innermost = frame
    while frame is not None:
        if PACKAGE in Path(frame.f_code.co_filename).parts:
            return f"{_named(frame)}, line {frame.f_lineno}", True
        frame = frame.f_back
    return (_named(innermost), False) if innermost else ("", False)


def _named(frame: FrameType) -> str:
    code = frame.f_code
    return f"{Path(code.co_filename).name}:{code.co_qualname}"
