"""The next parts are read while the last ones are computed, and computed on a GPU while the last ones are written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["read_ahead"]

_Item = TypeVar("_Item")


def read_ahead(items: Iterable[_Item], ahead: int = 1) -> Iterator[_Item]:
    """The same items in the same order, up to ``ahead`` of which are made ahead in a thread.

    Errors come where the item would have come. Left at a yield and closed, it waits for the item in hand; no thread is left behind.
    """
    source, end = iter(items), object()
    reader = ThreadPoolExecutor(1, thread_name_prefix="sam2-adapters-reading")
    try:
        coming = deque(reader.submit(next, source, end) for _ in range(ahead))
        while (item := coming.popleft().result()) is not end:
            coming.append(reader.submit(next, source, end))
            yield item  # type: ignore[misc]
    finally:
        reader.shutdown(cancel_futures=True)
