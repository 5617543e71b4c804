"""One batch ahead: a GPU computes the next while the processor reads what it computed before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def one_ahead(batches: Iterable[T]) -> Iterator[T]:
    """Give every item once the next one has been made, the last at the end.

    What makes an item on a GPU only queues work; to read one waits for it. So while one is read, the next is at work.
    On a CPU an item is made whole, and nothing is gained or lost.

    Parameters
    ----------
    batches : iterable
        Makes items when asked for the next.

    Yields
    ------
    T
        The same items in the same order.
    """
    made: list[T] = []
    for item in batches:
        made.append(item)
        if len(made) == 2:
            yield made.pop(0)
    yield from made
