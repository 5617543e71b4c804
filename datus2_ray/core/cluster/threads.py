"""Work on chunks in several threads, but for Ray's workers, to whom Ray gives one each (``OMP_NUM_THREADS``)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain
from typing import TypeVar

#: More threads wait for each other on chunks that take a tenth of a millisecond.
MOST = 8

#: Shares of the chunks that each thread works on, one after the other: to hand over every chunk by itself takes half as
#: long as to compare it with six centroids.
SHARES = 3

S = TypeVar("S")
T = TypeVar("T")


def in_threads(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Return the results of a function that releases the GIL, in the order of the items."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    count = int(given) if given.isdigit() else min(_processors(), MOST)
    if count < 2:
        return map(function, items)
    chunks = list(items)
    size = -(-len(chunks) // (SHARES * count)) or 1
    shares = [chunks[start : start + size] for start in range(0, len(chunks), size)]
    return chain.from_iterable(_threads(count).map(lambda share: [function(chunk) for chunk in share], shares))


def _processors() -> int:
    # macOS has no affinity.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "chunks")
