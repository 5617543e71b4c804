"""Work on chunks in several threads, but for Ray's workers, to whom Ray gives one each (``OMP_NUM_THREADS``)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

#: More threads wait for each other on chunks that take a tenth of a millisecond.
MOST = 8

S = TypeVar("S")
T = TypeVar("T")


def in_threads(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Return the results of a function that releases the GIL, in the order of the items."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    count = int(given) if given.isdigit() else min(_processors(), MOST)
    return map(function, items) if count < 2 else _threads(count).map(function, items)


def _processors() -> int:
    # macOS has no affinity.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "chunks")
