"""Ctrl-C as a request to end well."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["stop_requests"]


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collect interrupts instead of raising them; the second one is raised as usual."""
    requests: list[int] = []

    def ask(number: int, frame: object) -> None:
        if requests:
            raise KeyboardInterrupt
        requests.append(number)

    watched = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, ask) for number in watched]
    try:
        yield requests
    finally:
        for number, handler in zip(watched, before, strict=True):
            signal.signal(number, handler)
