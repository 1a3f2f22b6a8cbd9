"""Numbers as people say them."""

from __future__ import annotations

__all__ = ["duration", "file_size"]


def duration(seconds: float) -> str:
    """A time span such as ``8 s``, ``3 min`` or ``2 h 5 min``."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def file_size(n_bytes: float) -> str:
    """A size such as ``640 kB``, ``1.2 MB`` or ``48 GB``; 1 kB is 1000 bytes."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            number = n_bytes / factor
            return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"
    return f"{n_bytes:.0f} bytes"
