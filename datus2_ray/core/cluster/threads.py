"""Work in several threads, but for Ray's workers, to whom Ray gives one each (``OMP_NUM_THREADS``)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain
from typing import TypeVar

import numpy  # noqa: F401 # its BLAS must be loaded before it is looked for
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped, unused-ignore]

# Two threads on products as small as one chunk's are 3 times slower than one where cores are shared with other work.
BLAS = ThreadpoolController().select(user_api="blas")

#: More threads wait for each other on chunks that take a tenth of a millisecond.
MOST = 8

#: Shares of the chunks that each thread works on, one after the other: to hand over every chunk by itself takes half as
#: long as to compare it with six centroids.
SHARES = 3

#: Long calls at a time: each may hold a sample of the rows in float64, of up to 256 MB.
AT_ONCE = 4

S = TypeVar("S")
T = TypeVar("T")

_THREAD = threading.local()


def in_threads(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Return the results of a function that releases the GIL, in the order of the items."""
    count = _count()
    if count < 2:
        return map(function, items)
    chunks = list(items)
    size = -(-len(chunks) // (SHARES * count)) or 1
    shares = [chunks[start : start + size] for start in range(0, len(chunks), size)]
    return chain.from_iterable(_threads(count).map(lambda share: [function(chunk) for chunk in share], shares))


def side_by_side(function: Callable[[S], T], items: Sequence[S], given_up: threading.Event) -> list[T]:
    """Return the results of a function that takes long, part of it with the GIL, in the order of the items.

    Calls in it may use :func:`in_threads`, and limit the threads of BLAS: this function holds them at one, because a
    call that ends first would lift the limit of the others. Calls of this function in it run one after the other.

    `given_up` is set from when a call fails, or the user interrupts, until the calls that run have ended, which they
    should do soon then.
    """
    count = min(_count(), AT_ONCE, len(items))
    if count < 2 or getattr(_THREAD, "long", False):
        return [function(item) for item in items]
    # Threads of its own: those of the chunks would wait for themselves.
    threads = ThreadPoolExecutor(count, "side by side", initializer=lambda: setattr(_THREAD, "long", True))
    with BLAS.limit(limits=1):
        try:
            return list(threads.map(function, items))
        except BaseException:
            given_up.set()
            raise
        finally:
            threads.shutdown(cancel_futures=True)
            given_up.clear()


def _count() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if given.isdigit():
        return int(given)
    # macOS has no affinity.
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(processors, MOST)


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "chunks")
