"""Keys of many names as 64-bit hashes: eight bytes each, where a dict of texts takes some hundred.

Two of a million different keys have one hash once in thirty million sets.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.int64]


def hashes(keys: Iterable[Hashable]) -> Hashes:
    """Return the hash of each key."""
    return np.fromiter(map(hash, keys), np.int64)


def repeated(values: Hashes) -> NDArray[np.bool_]:
    """Return which of some hashes occur more than once."""
    ordered = np.sort(values)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(twice):
        return np.zeros(len(values), np.bool_)
    return _found(twice, values)[1]


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
