"""A clock that only goes forward, so that the newest copy stays the newest."""

from __future__ import annotations

import threading
import time

__all__ = ["forward_time"]

_STEP_S = 1e-3


class _ForwardClock:
    def __init__(self) -> None:
        self._last = 0.0
        self._telling = threading.Lock()

    def tell(self) -> float:
        with self._telling:
            self._last = max(time.time(), self._last + _STEP_S)
            return self._last


_CLOCK = _ForwardClock()


def forward_time() -> float:
    """Seconds since 1970, later than all that this process was told before, also when the computer's clock was set back meanwhile."""
    return _CLOCK.tell()
