"""One batch ahead: a GPU computes the next batch while the processor reads the one before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def one_ahead(batches: Iterable[T]) -> Iterator[T]:
    """Yield every item once the next one has been computed, in order, the last at the end.

    To compute an item on a GPU only queues work; to read one waits for it. So while one is read, the next is at work.
    On a CPU an item is computed at once, and nothing is gained or lost.
    """
    pending: list[T] = []
    for item in batches:
        pending.append(item)
        if len(pending) == 2:
            yield pending.pop(0)
    yield from pending
