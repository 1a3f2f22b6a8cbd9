"""The next part is read while the last one is computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["read_ahead"]

_Item = TypeVar("_Item")


def read_ahead(items: Iterable[_Item]) -> Iterator[_Item]:
    """The same items in the same order, one of which is made ahead in a thread.

    Errors come where the item would have come. Left at a yield and closed, it waits for the item in hand; no thread is left behind.
    """
    source, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="sam2-adapters-reading") as reader:
        coming = reader.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = reader.submit(next, source, end)
            yield item  # type: ignore[misc]
