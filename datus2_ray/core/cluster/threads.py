"""Work on chunks in as many threads as OpenMP would use: one in Ray's workers, all processors elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def in_threads(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Return the results of a function that lets other threads work meanwhile, in the order of the items."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    count = int(given) if given.isdigit() else os.cpu_count() or 1
    return map(function, items) if count < 2 else _threads(count).map(function, items)


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "chunks")
