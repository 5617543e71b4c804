"""Keys of many names as 64-bit hashes: eight bytes each, where a dict of texts takes some hundred.

Two of a million different keys have one hash once in thirty million sets. Of very many hashes only those are in memory
that a table with a byte per slot, of at most 64 MB, has not ruled out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.int64]

#: Yields hashes, some at a time, as often as it is called.
Read = Callable[[], Iterator[Hashes]]

#: Max bits of a hash that choose its slot: a table of 64 MB, for more than ten million hashes.
MAX_BITS = 26


def hashes(keys: Iterable[Hashable]) -> Hashes:
    """Return the hash of each key."""
    return np.fromiter(map(hash, keys), np.int64)


def repeated(read: Read, count: int) -> Hashes:
    """Return which of `count` hashes occur more than once: each of them once, in order."""
    met = _slots(count)
    for some in read():
        slots, times = np.unique(some & (len(met) - 1), return_counts=True)
        met[slots] = np.minimum(met[slots] + times, 2)
    several = [some[met[some & (len(met) - 1)] > 1] for some in read()]
    ordered = np.sort(np.concatenate([np.empty(0, np.int64), *several]))
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def may_occur(read: Read, count: int) -> Callable[[Hashes], NDArray[np.bool_]]:
    """Return a test of membership among `count` hashes, as a Bloom filter of one hash is: with few false positives."""
    met = _slots(count)
    for some in read():
        met[some & (len(met) - 1)] = 1
    return lambda wanted: met[wanted & (len(met) - 1)] > 0


def among(ordered: Hashes, some: Hashes) -> NDArray[np.bool_]:
    """Return which of some hashes are among others, which are in order."""
    return _found(ordered, some)[1] if len(ordered) else np.zeros(len(some), np.bool_)


def _slots(count: int) -> NDArray[np.uint8]:
    """Return an empty table with several slots for each of `count` hashes, as long as these are not too many."""
    return np.zeros(1 << min(MAX_BITS, (4 * count).bit_length()), np.uint8)


class Index:
    """Finds the positions of keys by their hashes."""

    def __init__(self, values: Hashes) -> None:
        self._order = np.argsort(values, kind="stable")
        self._values = values[self._order]

    def first(self, wanted: Hashes) -> NDArray[np.int64]:
        """Return the first position of each of some hashes; -1 where there is none."""
        if not len(self._values):
            return np.full(len(wanted), -1)
        at, there = _found(self._values, wanted)
        return np.where(there, self._order[at], -1)

    def pairs(self, wanted: Hashes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the number of a wanted hash and a position of it, for every such pair, in the order of both."""
        low = np.searchsorted(self._values, wanted, "left")
        counts = np.searchsorted(self._values, wanted, "right") - low
        numbers = np.repeat(np.arange(len(wanted)), counts)
        within = np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)
        return numbers, self._order[np.repeat(low, counts) + within]


def _found(ordered: Hashes, wanted: Hashes) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return where in sorted hashes, which are not empty, others would be, and whether they are there."""
    at = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return at, ordered[at] == wanted
